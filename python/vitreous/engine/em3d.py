"""Expectation with 3D references: global search with shared slices, local search in windows.

Source: docs/equations.md#score, #local
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from vitreous import kernels, kernels_volume
from vitreous.engine import em, orientations
from vitreous.engine.orientations import OrientationGrid
from vitreous.engine.plan import Bank, Geometry, Plan, log_class_prior
from vitreous.engine.reconstruct3d import reference_transform
from vitreous.engine.schedule import coarse_size, current_size
from vitreous.engine.settings import Settings
from vitreous.model.rotation import angular_distance_deg, euler_to_matrix, matrix_to_euler
from vitreous.model.state import Model, Progress, Sampling
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice

# Memory for the slices that are cut at once; those of the fine pass have sums, which take half as much again. A global search
# shares many slices, so large chunks pay; each particle of a local search has its own.
SLICES_BYTES, SLICES_BYTES_LOCAL = 400 << 20, 64 << 20


def slices_bytes(local: bool, lattice: VolumeLattice) -> int:
    """Memory for the slices that are cut at once: more where the maps take much anyway."""
    return max(SLICES_BYTES_LOCAL if local else SLICES_BYTES, 8 * lattice.n_samples)


@dataclass
class Plan3D(Plan):
    """One iteration's plan for one half-set (or all particles): as in 2D, with orientation grids and volumes."""

    symmetry: Symmetry = field(default_factory=lambda: Symmetry("C1"))
    direction_weight: np.ndarray | None = None  # (K, n_dir) prior of class and direction in a global search

    @property
    def local(self) -> bool:
        return self.sampling.sigma_deg > 0

    def slice_matrices(self, matrices, geometry: Geometry) -> np.ndarray:
        """(n, 3, 2) float32: image frequency -> padded samples of the reference, A^-1 M scaled, of orientations."""
        scale = geometry.ratio * self.lattice.ratio
        return np.ascontiguousarray(
            scale * np.swapaxes(matrices, 1, 2)[:, :, :2] @ np.array(geometry.optics.magnification), np.float32
        )


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


def make_plan(
    be,
    model: Model,
    sampling: Sampling,
    progress: Progress,
    settings: Settings,
    symmetry: Symmetry,
    direction_weight=None,
    size: int | None = None,
) -> Plan3D:
    """Plan of the iteration ``progress.iteration``; ``size`` overrides the Fourier box (the last, joined iteration)."""
    size = current_size(model, progress) if size is None else size
    coarse_px = coarse_size_3d(model, sampling, settings, size)
    coarse, fine = orientations.coarse_and_fine(be, sampling, symmetry, model.n_classes)
    lattice = VolumeLattice(model.box, model.padding, size / 2)
    low_cut_px = settings.low_cut_px(model.box * model.pixel_size_A)
    parts = [reference_transform(v, lattice, be.n_threads, low_cut_px=low_cut_px) for v in model.references]
    if direction_weight is None or direction_weight.shape != (model.n_classes, coarse.n_dir):
        direction_weight = np.repeat(model.class_weight[:, None] / coarse.n_dir, coarse.n_dir, 1)
    return Plan3D(
        model,
        sampling,
        settings,
        progress.iteration,
        size,
        coarse_px,
        coarse,
        fine,
        len(fine.psi_deg) // len(coarse.psi_deg),
        len(fine.shifts_A) // len(coarse.shifts_A),
        lattice,
        np.stack([ft for ft, _ in parts]),
        np.stack([power for _, power in parts]),
        symmetry=symmetry,
        direction_weight=direction_weight,
    )


def resampled(be, plan: Plan3D, sampling: Sampling) -> Plan3D:
    """The plan with another sampling, and the size of the coarse pass that this one can resolve."""
    coarse, fine = orientations.coarse_and_fine(be, sampling, plan.symmetry, plan.model.n_classes)
    direction_weight = plan.direction_weight
    if direction_weight.shape[1] != coarse.n_dir:
        direction_weight = np.repeat(plan.model.class_weight[:, None] / coarse.n_dir, coarse.n_dir, 1)
    return replace(
        plan,
        sampling=sampling,
        coarse=coarse,
        fine=fine,
        n_child_psi=len(fine.psi_deg) // len(coarse.psi_deg),
        n_child_shift=len(fine.shifts_A) // len(coarse.shifts_A),
        direction_weight=direction_weight,
        coarse_size=coarse_size_3d(plan.model, sampling, plan.settings, plan.size),
        geometries={},
        banks={},
        phases={},
    )


def coarse_size_3d(model: Model, sampling: Sampling, settings: Settings, size: int) -> int:
    """Box in Fourier space of the coarse pass: what the coarse step can resolve, with less margin than in 2D."""
    if settings.strict_highres_A > 0 or sampling.oversampling == 0:
        return coarse_size(model, sampling, settings, size)
    arc_A = sampling.psi_step_deg / 360 * np.pi * settings.particle_diameter_A
    coarse = 2 * int(np.ceil(model.box * model.pixel_size_A / (arc_A / 1.2)))
    return max(2, min(coarse, settings.coarse_size_px or coarse, size))


def make_bank(
    be, plan: Plan3D, geometry: Geometry, grid: OrientationGrid, rows, n_k: int, prior, *, passing: bool
) -> Bank:
    """Slices at some rows of a grid. The poses of the bank are these rows, and these rows turned.

    Parameters
    ----------
    rows : (n,) int64 rows of the grid, ascending
    prior : (2 n,) float32 log prior of the bank's poses
    passing : the next bank may take this one's memory
    """
    i_class = grid.split(rows)[0].astype(np.int32)
    matrix = plan.slice_matrices(grid.matrices(rows), geometry)
    kx, ky = (np.ascontiguousarray(k[:n_k], np.float32) for k in (geometry.band.kx, geometry.band.ky))
    out = be.scratch("slices", (len(rows), 2, n_k)) if passing else None
    slices = kernels_volume.project3d(be, plan.reference_ft, i_class, matrix, kx, ky, plan.lattice.reach, out)
    if geometry.gain != 1:
        slices *= np.float32(geometry.gain)
    return Bank(slices, i_class, matrix, prior)


def distinct(pose, n_pose: int):
    """Different ones of some pose numbers below ``n_pose``, ascending, and the place of each there, int32."""
    if len(pose) < n_pose:
        found, place = np.unique(pose, return_inverse=True)
        return found, place.astype(np.int32)
    present = np.zeros(n_pose, bool)  # flat posteriors: sorting millions of samples takes more than a table
    present[pose] = True
    place = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present), place[pose]


def gather_rows(grid: OrientationGrid, pose):
    """Distinct rows of some poses, and each pose's number in a bank of these rows."""
    turned, row = np.divmod(pose, grid.n_row)
    rows, place = np.unique(row, return_inverse=True)
    return rows, (place + turned * len(rows)).astype(np.int32)


def scoring_weights(data: em.Prepared) -> np.ndarray:
    """1 / (2 sigma^2) without the origin and beyond the limit of the fine pass."""
    weights = data.half_inv_var.copy()
    weights[0] = 0
    weights[data.geometry.n_fine :] = 0
    return weights


def coarse_global(be, plan: Plan3D, batch: em.Batch, data: em.Prepared):
    """Significant samples of the whole coarse grid."""
    geometry, grid, settings = data.geometry, plan.coarse, plan.settings
    key = (*geometry.key, "coarse")
    if key not in plan.banks:
        weight = plan.direction_weight / len(grid.psi_deg)
        prior = np.repeat(log_class_prior(weight.ravel()), grid.n_half)
        plan.banks[key] = make_bank(
            be, plan, geometry, grid, np.arange(grid.n_row), geometry.n_coarse, np.tile(prior, 2).astype(np.float32),
            passing=False,
        )
    bank = plan.banks[key]
    phases, _ = plan.shift_phases(be, geometry, "coarse")
    return kernels.score_coarse(
        be,
        bank.slices,
        bank.row_class,
        bank.pose_prior,
        em.log_shift_prior(plan, batch, grid.shifts_A),
        data.masked,
        data.model_ctf,
        scoring_weights(data)[: geometry.n_coarse],
        phases,
        batch.only_class,
        fraction=settings.adaptive_fraction,
        max_count=settings.max_significant,
        correlation=plan.correlation,
    )[:3]


def coarse_local(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own):
    """Significant samples of the coarse grid in a window around each particle's orientation, and their prior."""
    geometry, grid, n_shift = data.geometry, plan.coarse, len(plan.coarse.shifts_A)
    start, pose, prior = orientations.window(grid, own, plan.sampling.sigma_deg, plan.symmetry)
    allowed = np.repeat(batch.only_class, np.diff(start))
    kept = (allowed < 0) | (allowed == grid.split(pose)[0])
    start = np.concatenate([[0], np.cumsum(kept)])[start]
    pose, prior = pose[kept], prior[kept]
    rows, in_bank = gather_rows(grid, pose)
    bank = make_bank(be, plan, geometry, grid, rows, geometry.n_coarse, np.zeros(2 * len(rows), np.float32), passing=True)
    i_class = grid.split(pose)[0]
    prior = prior + log_class_prior(plan.model.class_weight)[i_class].astype(np.float32)
    order = np.concatenate([s + np.argsort(in_bank[s:e], kind="stable") for s, e in pairwise(start)])
    phases, _ = plan.shift_phases(be, geometry, "coarse")
    samples = (
        start * n_shift,
        np.repeat(in_bank[order], n_shift),
        np.tile(np.arange(n_shift, dtype=np.int32), len(pose)),
    )
    found = kernels.score_fine(
        be,
        bank.slices,
        bank.row_class,
        bank.pose_prior,
        em.log_shift_prior(plan, batch, grid.shifts_A),
        data.masked,
        data.model_ctf,
        scoring_weights(data)[: geometry.n_coarse],
        phases,
        np.arange(2 * len(rows), dtype=np.int32)[:, None],
        samples,
        n_per_shift=1,
        sample_prior=np.repeat(prior[order], n_shift),
        fraction=plan.settings.adaptive_fraction,
        correlation=plan.correlation,
    )
    kept_start, kept_bank, kept_shift = strongest(*found[:4], plan.settings.max_significant)
    turned, place = np.divmod(kept_bank, len(rows))
    kept_pose = rows[place] + turned * grid.n_row
    # each kept sample's own prior, found by its pose among those of its window
    particle = np.repeat(np.arange(len(own)), np.diff(kept_start))
    key = np.repeat(np.arange(len(own)), np.diff(start)) * (2 * grid.n_row) + pose
    kept_prior = prior[np.searchsorted(key, particle * (2 * grid.n_row) + kept_pose)]
    order = np.lexsort((kept_shift, kept_pose, particle))
    return (kept_start, kept_pose[order].astype(np.int32), kept_shift[order]), kept_prior[order]


def strongest(start, pose, shift, weight, max_count: int):
    """Samples of each particle without those beyond its ``max_count`` strongest; 0 = no limit."""
    if not max_count or np.diff(start).max(initial=0) <= max_count:
        return start, pose, shift
    particle = np.repeat(np.arange(len(start) - 1), np.diff(start))
    rank = np.empty(len(pose), np.int64)
    rank[np.lexsort((-weight, particle))] = np.arange(len(pose)) - start[particle]
    kept = rank < max_count
    return np.concatenate([[0], np.cumsum(kept)])[start], pose[kept], shift[kept]


def fine_pass(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, samples, sample_prior):
    """Posterior over the children of the coarse samples; returns it, the bank of its rows and these rows."""
    start, pose, shift = samples
    geometry, fine = data.geometry, plan.fine
    parents, parent_of = distinct(pose, 2 * plan.coarse.n_row)
    child = orientations.children(plan.coarse, fine, parents)
    rows, in_bank = gather_rows(fine, child.ravel())
    prior = np.full(2 * len(rows), -np.log(child.shape[1]), np.float32)  # children share their parent's prior
    if sample_prior is None:
        weight = plan.direction_weight / (fine.n_dir // plan.coarse.n_dir * len(fine.psi_deg))
        i_class, i_dir, _ = fine.split(rows)
        prior = np.tile(log_class_prior(weight[i_class, i_dir // (fine.n_dir // plan.coarse.n_dir)]), 2).astype(
            np.float32
        )
    bank = make_bank(be, plan, geometry, fine, rows, len(geometry.band), prior, passing=True)
    phases, _ = plan.shift_phases(be, geometry, "fine")
    posterior = kernels.score_fine(
        be,
        bank.slices,
        bank.row_class,
        bank.pose_prior,
        em.log_shift_prior(plan, batch, fine.shifts_A),
        data.masked,
        data.model_ctf,
        scoring_weights(data),
        phases,
        in_bank.reshape(child.shape),
        (start, parent_of, shift),
        n_per_shift=plan.n_child_shift,
        sample_prior=sample_prior,
        fraction=plan.settings.adaptive_fraction,
        correlation=plan.correlation,
    )
    return posterior, bank, rows


def own_poses(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own):
    """Posterior over classes and shifts of particles that keep their orientations; it, its bank, no rows of a grid."""
    geometry, k = data.geometry, plan.model.n_classes
    matrix = plan.slice_matrices(np.tile(own, (k, 1, 1)), geometry)
    i_class = np.repeat(np.arange(k, dtype=np.int32), len(own))
    kx, ky = (np.ascontiguousarray(x, np.float32) for x in (geometry.band.kx, geometry.band.ky))
    slices = kernels_volume.project3d(be, plan.reference_ft, i_class, matrix, kx, ky, plan.lattice.reach)
    prior = np.repeat(log_class_prior(plan.model.class_weight), len(own)).astype(np.float32)
    bank = Bank(slices * np.float32(geometry.gain), i_class, matrix, prior)
    return em.score_own_pose(be, plan, batch, data, bank)[0], bank, None


def chunks(plan: Plan3D, samples, most_rows: int) -> list[slice]:
    """Consecutive particles whose significant samples have at most so many rows of the fine grid.

    Where the first one of a chunk alone has nearly as many or more, the chunk may have a quarter more than it: flat posteriors share
    most of their rows, and slices for each particle alone would cost more than all comparisons.

    Parameters
    ----------
    samples : start (n + 1,), pose (m,), shift (m,) of the coarse pass
    """
    start, pose, _ = samples
    n, n_row = len(start) - 1, plan.coarse.n_row
    most = max(most_rows * n_row // plan.fine.n_row, 1)
    row = pose % n_row
    if n_row <= most or len(pose) <= most:
        return [slice(0, n)]
    seen, begin, n_seen, room, cuts = np.zeros(n_row, bool), 0, 0, most, []
    for i in range(n):
        own = np.unique(row[start[i] : start[i + 1]])
        n_new = np.count_nonzero(~seen[own])
        if i > begin and n_seen + n_new > room:
            cuts.append(slice(begin, i))
            seen[:], begin, n_seen, n_new = False, i, 0, len(own)
        if i == begin:
            room = max(most, int(1.25 * len(own)))
        seen[own] = True
        n_seen += n_new
    return [*cuts, slice(begin, n)]


def searches(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own):
    """The posteriors of a batch, in as many chunks of particles as memory for their slices asks for.

    Yields
    ------
    Slice of the batch, its Batch and Prepared, posterior, the bank that its poses count in, that bank's rows of the fine grid
    (None where particles keep their orientations), number of significant samples of each particle
    """
    if plan.settings.skip_align:
        posterior, bank, rows = own_poses(be, plan, batch, data, own)
        yield slice(0, len(batch)), batch, data, posterior, bank, rows, np.diff(posterior[0])
        return
    if plan.local:
        samples, sample_prior = coarse_local(be, plan, batch, data, own)
    else:
        samples, sample_prior = coarse_global(be, plan, batch, data), None
    start, pose, shift = samples
    for part in chunks(plan, samples, slices_bytes(plan.local, plan.lattice) // (8 * len(data.geometry.band))):
        some_batch, some = batch.part(part), data.part(part)
        inside = slice(start[part.start], start[part.stop])
        of_part = start[part.start : part.stop + 1] - start[part.start], pose[inside], shift[inside]
        prior = None if sample_prior is None else sample_prior[inside]
        posterior, bank, rows = fine_pass(be, plan, some_batch, some, of_part, prior)
        yield part, some_batch, some, posterior, bank, rows, np.diff(of_part[0])
        del bank  # before the next one, which may need more than its memory


def best_of(plan: Plan3D, rows, pose, n: int, euler_deg):
    """Class and orientation, (n, 3) degrees, of poses of a bank."""
    if rows is None:
        return pose // n, euler_deg
    if not len(rows):  # all failed
        return np.zeros_like(pose), euler_deg
    turned, place = np.divmod(pose, len(rows))
    pose = rows[place] + turned * plan.fine.n_row
    return plan.fine.split(pose)[0], matrix_to_euler(plan.fine.matrices(pose))


def expect(be, plan: Plan3D, batch: em.Batch, acc: Accumulator3D, euler_deg) -> Rows3D:
    """Posterior of a batch; its sums go into the accumulator.

    Parameters
    ----------
    euler_deg : (n, 3) float64      present orientations of the batch's particles
    """
    data = em.prepare(be, plan, batch)
    own = euler_to_matrix(euler_deg)
    found = []
    for part, some_batch, some, posterior, bank, rows, n_significant in searches(be, plan, batch, data, own):
        best_pose, best_shift, p_max, evidence = posterior[4:]
        i_class, new_euler = best_of(plan, rows, np.maximum(best_pose, 0), len(some_batch), euler_deg[part])
        residual = add_sums(be, plan, some_batch, some, bank, rows, posterior, acc)
        found.append((best_pose, best_shift, p_max, evidence, i_class, new_euler, residual, n_significant))
        del bank  # as in searches
    out = new_rows(plan, batch, data, euler_deg, *(np.concatenate(column) for column in zip(*found)))
    em.add_statistics(batch, out, acc)
    used, turned_deg = ~out.failed, angular_distance_deg(own, euler_to_matrix(out.euler_deg), plan.symmetry.rotations)
    acc.changes[0] += turned_deg[used].sum() - np.abs((out.psi_deg - batch.psi_deg + 180) % 360 - 180)[used].sum()
    return out


def new_rows(
    plan: Plan3D, batch: em.Batch, data: em.Prepared, euler_deg,
    best_pose, best_shift, p_max, evidence, i_class, new_euler, residual, n_significant,
) -> Rows3D:  # fmt: skip
    """New values of a batch's particles from their best points; those whose search failed keep the old ones."""
    failed = best_pose < 0
    used = ~failed
    new_euler = np.where(used[:, None], new_euler, euler_deg)
    shift_A = np.where(used[:, None], batch.shift_A + plan.fine.shifts_A[np.maximum(best_shift, 0)], batch.shift_A)
    norm = batch.norm
    if plan.settings.norm and not plan.correlation:
        norm = np.where(
            used, batch.norm / plan.model.average_norm * np.sqrt(2 * np.maximum(residual.sum(1), 0)), batch.norm
        )
    likelihood = evidence if plan.correlation else evidence + em.log_likelihood_constant(plan, batch, data)
    return Rows3D(
        batch.index,
        new_euler[:, 2],
        shift_A,
        np.where(used, i_class + 1, batch.class_number).astype(np.int32),
        norm,
        np.where(used, likelihood, 0),
        p_max.astype(float),
        n_significant.astype(np.int32),
        failed,
        euler_deg=new_euler,
    )


def add_sums(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, bank: Bank, rows, posterior, acc: Accumulator3D):
    """Posterior sums of a batch into the accumulator's volumes; (n, S) per-shell residuals."""
    n_row, _, n_k = bank.slices.shape
    sums = be.scratch("data sums", (n_row, 2, n_k)), be.scratch("weight sums", (n_row, n_k))
    for s in sums:
        s.fill(0)
    residual = em.add_statistical_sums(be, plan, batch, data, bank, posterior, sums, acc)
    geometry = data.geometry
    kx, ky = (np.ascontiguousarray(k, np.float32) for k in (geometry.band.kx, geometry.band.ky))
    values, weights = em.to_insert(plan, geometry, bank, *sums)
    kernels_volume.backproject3d(be, values, weights, bank.row_class, bank.matrix, kx, ky, plan.lattice.reach, acc.sums)
    if rows is None or not len(rows):
        return residual
    row_weight = np.bincount(posterior[1] % len(rows), posterior[3], len(rows))
    i_class, i_dir, _ = plan.fine.split(rows)
    np.add.at(acc.directions, (i_class, i_dir // (plan.fine.n_dir // plan.coarse.n_dir)), row_weight)
    return residual
