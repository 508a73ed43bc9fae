"""Picking by templates: figures of merit from the correlation with every reference at every angle.

A figure of merit is the likelihood ratio of "this particle and noise" against "noise", with one mask area counted as one
observation, on a scale where 1 is what a perfect particle is expected to give. Source:
docs/programs/autopick.md#templates
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.engine.pick_bank import Bank
from vitreous.engine.pick_references import References, centre_of_inverse, transform_at
from vitreous.engine.pick_size import WorkSize, crop, frequencies, round_half_away
from vitreous.kernels_pick import half_shape, inverse_columns, inverse_maps, inverse_rows, pick_best

TILE_BYTES = 6 << 20  # of correlation maps at a time: they stay in the cache until they are reduced
ROWS = 32  # that inverse_rows transforms at a time
LEAST_VARIANCE, LEAST_EXPECTED, LARGEST_EXPONENT = 1e-10, 1e-6, 80.0


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Mean and standard deviation around every pixel, in the ring outside the template's circle; (work, work) float32."""

    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True, eq=False)
class Expected:
    """What a perfect particle gives, for one reference in one micrograph.

    Parameters
    ----------
    mean, power : S1 and S2: sums of the template and of its square inside the circle, over n_inside + 1
    ratio : likelihood ratio of a perfect particle
    """

    mean: float
    power: float
    ratio: float


def surroundings_kernel(references: References, size: WorkSize) -> tuple[np.ndarray, int]:
    """Conjugate transform (work, work//2 + 1) of what lies outside the circle in a template's box, and its pixels."""
    ky = np.arange(size.work)
    ky = np.where(ky <= size.work // 2, ky, ky - size.work)
    ring = (~references.inside).astype(np.float32)
    return transform_at(ring, ky, np.arange(size.work // 2 + 1), size.full, size.full).conj(), int(ring.sum())


def highpass_gain(size: WorkSize, highpass_A: float, pixel_size_A: float) -> np.ndarray:
    """(full, full//2 + 1) float32 filter of the square that takes out what is coarser; its edge is two shells wide."""
    ky, kx = frequencies(size.full)
    middle = round_half_away(size.full * pixel_size_A / highpass_A)
    depth = np.clip((np.sqrt(ky**2 + kx**2) - (middle - 1)) / 2, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * depth)).astype(np.float32)


def surroundings(be, fts: np.ndarray, kernel: np.ndarray, n_outside: int, size: WorkSize) -> Surroundings:
    """Local mean and standard deviation.

    Parameters
    ----------
    fts : (2, work, work//2 + 1) transforms of the micrograph and of its square
    kernel, n_outside : from ``surroundings_kernel``
    """
    scale = np.float32(size.full**2 / n_outside)
    one = np.ones((1, *kernel.shape), np.float32)
    mean, squares = (inverse_maps(be, ft * kernel, one, size.work)[0] for ft in fts)
    mean *= scale
    variance = squares * scale - mean**2
    return Surroundings(mean, np.sqrt(np.where(variance > LEAST_VARIANCE, variance, np.float32(1))))


def expected(
    first: np.ndarray, ctf: np.ndarray | None, references: References, size: WorkSize, rng=None
) -> list[Expected]:
    """What each reference expects, from its template at angle 0.

    Parameters
    ----------
    first : (n_ref, band, band//2 + 1) complex64
    ctf : (band, band//2 + 1) float32 or None
    rng : adds unit noise to the expected particle, as RELION does; None: the ratio's value without it
    """
    out = []
    box = min(2 * references.radius_px + 2, references.box)
    start = references.box // 2 - box // 2
    inside = references.inside[start : start + box, start : start + box]
    for image in centre_of_inverse(first if ctf is None else first * ctf, box, size.full):
        values = image[inside]
        n = len(values) + 1
        mean, power = float(values.sum() / n), float((values**2).sum() / n)
        noise = 0.0 if rng is None else float((2 * values * rng.standard_normal(len(values))).sum() / n)
        ratio = float(np.exp(min((power + noise) / 2, LARGEST_EXPONENT)))
        out.append(Expected(mean, power, max(ratio, 1 + LEAST_EXPECTED)))
    return out


def half_buffer(be, bank: Bank, size: WorkSize) -> np.ndarray:
    """Room for the half-transformed basis maps, to be used for one micrograph after the other."""
    return be.empty(half_shape(be, len(bank.basis), bank.basis.shape[2], size.work), np.float32)


def correlate(
    be, bank: Bank, ft: np.ndarray, size: WorkSize, n_inside: int, half: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Largest correlation with the templates of each reference, and the template that gives it.

    Parameters
    ----------
    ft : (h, h//2 + 1) complex64 the micrograph's transform times the CTF, h as in the bank
    half : from ``half_buffer``, or None; it is written over

    Returns
    -------
    best : (n_ref, work, work) float32
    which : (n_ref, work, work) int32       template, counted from 0 within the reference; in ``bank.angles_deg``
    """
    n_ref, work = len(bank.start) - 1, size.work
    half = half_buffer(be, bank, size) if half is None else half
    inverse_columns(be, ft * np.float32(size.full**2 / n_inside), bank.basis, work, bank.n_even, half)
    best, which = np.empty((n_ref, work, work), np.float32), np.empty((n_ref, work, work), np.int32)
    step = max(TILE_BYTES // (4 * len(half) * work) // ROWS * ROWS, ROWS)
    room = np.empty((len(half), step, work), np.float32)
    for y in range(0, work, step):
        rows = min(step, work - y)
        maps = inverse_rows(be, half, ft.shape[1], work, y, rows, room if rows == step else None)
        found = pick_best(be, maps.reshape(len(maps), -1), bank.coefficients, bank.start,
                          bank.n_even if bank.turns else None)  # fmt: skip
        best[:, y : y + rows], which[:, y : y + rows] = (a.reshape(n_ref, -1, work) for a in found)
    turned, which = np.divmod(which, len(bank.coefficients))
    return best, which - bank.start[:-1, None, None] + turned * len(bank.psi_deg)


def figure_of_merit(best: np.ndarray, around: Surroundings, expect: Expected) -> np.ndarray:
    """(work, work) float32 figures of merit of one reference from its largest correlations."""
    delta = (np.float32(2 * expect.mean) * around.mean - 2 * best) / around.sd + np.float32(expect.power)
    np.clip(delta * np.float32(-0.5), None, LARGEST_EXPONENT, out=delta)
    return (np.exp(delta, out=delta) - 1) / np.float32(expect.ratio - 1)


def for_bank(ft: np.ndarray, ctf: np.ndarray | None, size: WorkSize) -> np.ndarray:
    """The micrograph's transform as ``correlate`` takes it: the lowest frequencies, times the CTF (band, band//2 + 1)."""
    n = min(size.band, size.work)
    return crop(ft, n) if ctf is None else crop(ft, n) * crop(ctf, n)
