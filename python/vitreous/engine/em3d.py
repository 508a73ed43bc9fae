"""Expectation with 3D references: sums over posteriors of orientations.

Source: docs/equations.md#sums
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vitreous import kernels_volume
from vitreous.engine import em, search3d
from vitreous.engine.plan3d import Plan3D
from vitreous.model.rotation import angular_distance_deg, euler_to_matrix


@dataclass
class Accumulator3D(em.Accumulator):
    """As in 2D; the sums are volumes."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))  # (K, ny, ny, nx, 3)
    directions: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (K, n_dir) weights of coarse directions

    @classmethod
    def empty(cls, plan: Plan3D) -> Accumulator3D:
        k = plan.model.n_classes
        return cls(
            np.zeros(0),
            np.zeros(0),
            *em.empty_spectra(plan.model),
            sums=np.zeros((k, *plan.lattice.shape, 3), np.float32),
            directions=np.zeros((k, plan.coarse.n_dir)),
        )


@dataclass
class Rows3D(em.Rows):
    """As in 2D, with three angles."""

    euler_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


def expect(be, plan: Plan3D, batch: em.Batch, acc: Accumulator3D, euler_deg) -> Rows3D:
    """Posterior of a batch; its sums go into the accumulator.

    Parameters
    ----------
    euler_deg : (n, 3) float64      present orientations of the batch's particles
    """
    data = em.prepare(be, plan, batch)
    own = euler_to_matrix(euler_deg)
    bests, residuals = [], []
    for found in search3d.search(be, plan, batch, data, own, euler_deg):
        residuals.append(add_sums(be, plan, found, acc))
        bests.append(found.best)
    best = search3d.Best(*map(np.concatenate, zip(*bests)))
    out = new_rows(plan, batch, data, euler_deg, best, np.concatenate(residuals))
    em.add_statistics(batch, out, acc)
    turned_deg = angular_distance_deg(own, euler_to_matrix(out.euler_deg), plan.symmetry.rotations)[best.found]
    in_plane_deg = np.abs((out.psi_deg - batch.psi_deg + 180) % 360 - 180)[best.found]  # what the statistics of 2D count
    acc.changes[0] += turned_deg.sum() - in_plane_deg.sum()
    return out


def new_rows(plan: Plan3D, batch: em.Batch, data: em.Prepared, euler_deg, best: search3d.Best, residual) -> Rows3D:
    """New values of a batch's particles from their best points; those whose search failed keep the old ones."""
    used = best.found
    euler_deg = np.where(used[:, None], best.euler_deg, euler_deg)
    shift_A = np.where(used[:, None], batch.shift_A + plan.fine.shifts_A[np.maximum(best.i_shift, 0)], batch.shift_A)
    norm = batch.norm
    if plan.settings.norm and not plan.correlation:
        norm = np.where(
            used, batch.norm / plan.model.average_norm * np.sqrt(2 * np.maximum(residual.sum(1), 0)), batch.norm
        )
    likelihood = best.log_evidence
    if not plan.correlation:
        likelihood = likelihood + em.log_likelihood_constant(plan, batch, data)
    return Rows3D(
        batch.index,
        euler_deg[:, 2],
        shift_A,
        np.where(used, best.i_class + 1, batch.class_number).astype(np.int32),
        norm,
        np.where(used, likelihood, 0),
        best.p_max.astype(float),
        best.n_significant.astype(np.int32),
        ~used,
        euler_deg=euler_deg,
    )


def add_sums(be, plan: Plan3D, found: search3d.Found, acc: Accumulator3D) -> np.ndarray:
    """Posterior sums of particles into the accumulator's volumes; (n, S) per-shell residuals."""
    together = None
    for bank, rows, posterior in found.pieces:
        sums = add_piece(be, plan, found, bank, rows, posterior, acc)
        together = sums if together is None else tuple(a + b for a, b in zip(together, sums))
        del bank  # before the next one, which takes its memory
    return em.add_image_sums(plan, found.batch, found.data, together, found.best.found, acc)


def add_piece(be, plan: Plan3D, found: search3d.Found, bank, rows, posterior, acc: Accumulator3D):
    """Posterior sums of a bank's rows into the accumulator's volumes; the sums of each image."""
    data, (n_row, _, n_k) = found.data, bank.slices.shape
    sums = be.scratch("data sums", (n_row, 2, n_k)), be.scratch("weight sums", (n_row, n_k))
    for s in sums:
        s.fill(0)
    of_images = em.sum_points(be, plan, found.batch, data, bank, posterior, sums)
    geometry = data.geometry
    kx, ky = geometry.band.k_float32()
    values, weights = em.to_insert(plan, geometry, bank, *sums)
    kernels_volume.backproject3d(be, values, weights, bank.row_class, bank.matrix, kx, ky, plan.lattice.reach, acc.sums)
    if rows is not None and len(rows):
        row_weight = np.bincount(posterior[1] % len(rows), posterior[3], len(rows))
        i_class, i_dir, _ = plan.fine.split(rows)
        np.add.at(acc.directions, (i_class, i_dir // (plan.fine.n_dir // plan.coarse.n_dir)), row_weight)
    return of_images
