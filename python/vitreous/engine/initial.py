"""The state before iteration 1: noise spectra, and references from random orientations. 2D. Source: docs/equations.md#noise, #initial"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft

from vitreous import kernels_image
from vitreous.engine.em import Accumulator, Batch, insert_rows, prepare
from vitreous.engine.maximise import class_statistics, filled
from vitreous.engine.plan import Bank, Plan, coarse_and_fine, slice_matrices
from vitreous.engine.reconstruct import Lattice, add_friedel_mates, low_pass, reference_transform, wiener
from vitreous.engine.settings import Settings
from vitreous.model.masks import soft_circle, soft_sphere
from vitreous.model.state import Model, Sampling

__all__ = [
    "NoiseSum",
    "add_random_views",
    "averages",
    "blobs",
    "low_pass",
    "random_views",
    "start_plan",
    "start_priors",
    "start_size",
]

# Random averages hold only what survives a random angle; beyond this share of the sampling rate they are noise.
START_FREQUENCY = 0.07
# Blobs: RELION's numbers. 40 positive and 40 negative Gaussians whose centres scatter by a part of the diameter.
N_BLOBS, BLOB_SCATTER, BLOB_WIDTH = 40, {2: 1 / 7, 3: 1 / 6}, 10.0


def start_size(box: int, pixel_size_A: float, ini_high_A: float) -> int:
    """Fourier box of the first averages, px."""
    shell = round(START_FREQUENCY * box) if ini_high_A <= 0 else round(box * pixel_size_A / ini_high_A)
    return 2 * min(max(shell, 1), box // 2)


def start_plan(model: Model, sampling: Sampling, settings: Settings, size: int) -> Plan:
    """A plan without slices, for what happens before iteration 1, at a Fourier box of ``size`` pixels."""
    coarse, fine, n_child_psi, n_child_shift = coarse_and_fine(sampling)
    lattice = Lattice(model.box, model.padding, size / 2)
    nothing = np.zeros((model.n_classes, 0, 0), np.complex64)
    return Plan(
        model,
        sampling,
        settings,
        0,
        size,
        size,
        coarse,
        fine,
        n_child_psi,
        n_child_shift,
        lattice,
        nothing,
        np.zeros((model.n_classes, model.n_shells)),
    )


class NoiseSum:
    """Power spectra and mean images of the first particles, per optics group."""

    def __init__(self, n_optics: int, n_shells: int):
        self.power = np.zeros((n_optics, n_shells))
        self.n = np.zeros(n_optics, int)
        self.mean = [0.0] * n_optics
        self.geometry = [None] * n_optics

    def add(self, be, plan: Plan, batch: Batch) -> None:
        """Add a batch: its images as they are, or masked with their background where the run masks with it."""
        g, geometry = batch.i_optics, plan.geometry(batch.optics)
        n, box = len(batch), batch.optics.box
        mask = geometry.mask if plan.settings.zero_mask else np.ones((box, box), np.float32)
        _, masked = kernels_image.prepare_images(
            be, batch.images, np.ones(n, np.float32), np.zeros((n, 2), np.int32), mask
        )
        ft = scipy.fft.rfft2(masked, workers=be.n_threads, overwrite_x=True)
        self.power[g] += kernels_image.shell_power(be, ft, geometry.shell_of, self.power.shape[1]).sum(0)
        self.mean[g] = self.mean[g] + ft.sum(0, dtype=np.complex128) / box**2
        self.n[g] += n
        self.geometry[g] = geometry

    def spectra(self) -> np.ndarray:
        """(G, S): half the mean power less half the power of the mean; groups without particles take the mean of the others."""
        out = np.zeros_like(self.power)
        for g, geometry in enumerate(self.geometry):
            if geometry is None:
                continue
            counts, kept = np.maximum(geometry.counts, 1), geometry.shell_of >= 0
            mean2 = np.abs(self.mean[g] / self.n[g]) ** 2
            of_mean = np.bincount(geometry.shell_of[kept], mean2[kept], out.shape[1])
            out[g] = (
                filled(0.5 * (self.power[g] / self.n[g] - of_mean) / counts)
                if self.n[g] > 1
                else filled(0.5 * self.power[g] / counts)
            )
        known = np.array([g is not None for g in self.geometry])
        out[~known] = out[known].mean(0)
        return out


def add_random_views(be, plan: Plan, batch: Batch, psi_deg, i_class, acc: Accumulator) -> None:
    """Insert a batch's images at given angles into the classes' lattices, weighted by their CTF."""
    order = np.argsort(i_class, kind="stable")
    data = prepare(be, plan, batch)
    geometry = data.geometry
    rows = np.ascontiguousarray((data.unmasked * data.ctf[:, None])[order])
    weight = np.ascontiguousarray((data.ctf**2 if not batch.optics.premultiplied else data.ctf)[order])
    if batch.optics.premultiplied:
        rows = np.ascontiguousarray(data.unmasked[order])
    bank = Bank(
        rows,
        i_class[order].astype(np.int32),
        slice_matrices(psi_deg[order], geometry, plan.lattice),
        np.zeros(0, np.float32),
    )
    insert_rows(be, plan, geometry, bank, rows, weight, acc)


def random_views(rows, seed: int) -> np.ndarray:
    """(n,) in-plane angles in degrees, a function of the seed and each particle's row."""
    rows = np.asarray(rows)
    return 360 * np.random.Generator(np.random.Philox(key=[seed, 3])).random(int(rows.max(initial=-1)) + 1)[rows]


def averages(plan: Plan, acc: Accumulator, n_threads: int) -> np.ndarray:
    """(K, box, box) float32: unregularised maps of the accumulated views."""
    add_friedel_mates(acc.lattice_data, acc.lattice_weight)
    tau2 = np.ones((plan.model.n_classes, plan.model.n_shells))
    return wiener(acc.lattice_data, acc.lattice_weight, tau2, plan.lattice, use_prior=False, n_threads=n_threads).maps


def blobs(maps, diameter_px: float, seed: int) -> np.ndarray:
    """Each map replaced by Gaussian blobs on it: smooth, of the particle's size, and different for each class.

    40 positive Gaussians less half of 40 others; each as high as the map's absolute value at its centre; the sum has
    the standard deviation of the map that it replaces.

    Parameters
    ----------
    maps : (K, box, box) float32, or (K, box, box, box)

    Returns
    -------
    float32 of the same shape, with a soft circular mask of the diameter
    """
    box, n_dim = maps.shape[-1], maps.ndim - 1
    rng = np.random.Generator(np.random.Philox(key=[seed, 4]))
    x = np.arange(box) - box // 2
    out = np.empty_like(maps)
    for k, map_ in enumerate(maps):
        scatter = rng.normal(0, diameter_px * BLOB_SCATTER[n_dim], (2 * N_BLOBS, n_dim))
        centre = np.clip(np.rint(scatter), -(box // 2), box - box // 2 - 1)[:, ::-1]  # x is drawn first, and indexed last
        height = np.abs(map_[tuple(centre.T.astype(int) + box // 2)]).astype(float)
        height[N_BLOBS:] *= -0.5
        profiles = [np.exp(-(((x - c[:, None]) * BLOB_WIDTH / diameter_px) ** 2)) for c in centre.T]
        sum_ = np.einsum({2: "b,by,bx->yx", 3: "b,bz,by,bx->zyx"}[n_dim], height, *profiles, optimize=True)
        spread = sum_.std()
        out[k] = sum_ * (map_.std() / spread if spread > 0 else 1)
    mask = (soft_circle if n_dim == 2 else soft_sphere)(box, diameter_px / 2, 5)
    outside = np.tensordot(out, 1 - mask, n_dim) / max((1 - mask).sum(), 1e-9)
    outside = outside.reshape(-1, *(1,) * n_dim)
    return (out * mask + outside * (1 - mask)).astype(np.float32)


def start_priors(model: Model, n_particles: int) -> Model:
    """tau2 and SSNR of the first references, for the first resolution and the tables of iteration 0."""
    lattice = Lattice(model.box, model.padding, model.box / 2)
    _, power = reference_transform(model.references, lattice)
    noise = model.sigma2_noise.mean(0)
    expected = power * n_particles * model.class_weight[:, None] / noise * model.tau2_fudge
    model = replace(model, tau2=power, data_vs_prior=expected)
    return replace(model, **class_statistics(model))
