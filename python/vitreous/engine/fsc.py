"""Fourier shell correlation of two half maps, and what a mask does to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from vitreous.engine.filters import forward, inverse, planes, shell_sums

GOLD_STANDARD = 0.143
# Protein: 0.81 Da per A^3 (a partial specific volume of 0.74 ml/g). A compact particle fills 0.476 of a mask around it
# in the convention of the part-volume FSC below.
DA_PER_A3 = 0.81
FILLED_SHARE = 0.476


def shell_correlation(
    a_ft: np.ndarray, b_ft: np.ndarray, shape: tuple[int, ...], equal_pairs: bool = False
) -> np.ndarray:
    """Correlation of two half transforms in each shell.

    Parameters
    ----------
    a_ft, b_ft : half transforms of images or maps of ``shape``
    equal_pairs : see ``filters.pair_weights``

    Returns
    -------
    (n//2 + 1,) float64              n the longest side; 1 in shell 0 where the means are not of one sign; 0 in a shell
        without power

    Source: docs/equations.md#fsc     Cost: one pass over both transforms
    """
    a, b = (ft.reshape(-1, *ft.shape[-2:]) for ft in (a_ft, b_ft))

    def products(i):
        return (a[i] * b[i].conj()).real, _power(a[i]), _power(b[i])

    cross, power_a, power_b, _ = shell_sums(shape, products, equal_pairs)
    norm = np.sqrt(power_a * power_b)
    out = np.divide(cross, norm, out=np.zeros_like(cross), where=norm > 0)
    out[0] = out[0] if out[0] > 0 else 1.0
    return out


def _power(ft):
    return np.square(ft.real, dtype=np.float64) + np.square(ft.imag, dtype=np.float64)


def fourier_shell_correlation(a: np.ndarray, b: np.ndarray, equal_pairs: bool = False) -> np.ndarray:
    """``shell_correlation`` of two images or maps."""
    return shell_correlation(forward(a), forward(b), a.shape, equal_pairs)


def randomise_phases(
    ft: np.ndarray, shape: tuple[int, ...], first_shell: float, seed: int, stream: int = 0
) -> np.ndarray:
    """A half transform with its amplitudes and, from a radius outwards, random phases.

    The phases are those of white noise, so that the coefficients of a Friedel pair stay conjugate, and are a function
    of (seed, stream, size) alone.

    Parameters
    ----------
    ft : half transform of an image of ``shape``
    first_shell : radius in Fourier pixels of the longest side; |k| >= radius is changed, without rounding
    seed, stream : two streams of one seed are independent; the half maps have streams of their own

    Returns
    -------
    like ft
    """
    noise = np.random.Generator(np.random.Philox(key=[seed % 2**64, stream])).standard_normal(shape, np.float32)
    random = fft.rfftn(noise)
    out = ft.copy()
    into, phases = (x.reshape(-1, *ft.shape[-2:]) for x in (out, random))
    # a half of rounding below the radius, so that whole shells are not split by the last bit
    least = (first_shell / max(shape)) ** 2 * (1 - 1e-12)
    for i, squared in planes(shape):
        far = squared >= least
        into[i][far] = np.abs(into[i][far]) * np.exp(1j * np.angle(phases[i][far]))
    return out


def correct_for_mask(masked: np.ndarray, randomised: np.ndarray, first_shell: int, clamp: bool = False) -> np.ndarray:
    """FSC of the masked maps without what the mask itself adds (Chen et al. 2013).

    Parameters
    ----------
    masked : (n,) FSC of the masked maps
    randomised : (n,) the same after the phases were randomised from ``first_shell`` outwards, before masking
    clamp : 0 instead of a negative value where the randomised maps correlate better, as a refinement wants it

    Returns
    -------
    (n,) float64                     (m - r) / (1 - r) from shell ``first_shell`` + 2 on, masked before that

    Source: docs/equations.md#fsc
    """
    out = np.array(masked, float)
    far = np.arange(len(out)) >= first_shell + 2
    rest = 1 - randomised[far]
    excess = masked[far] - randomised[far]
    out[far] = np.divide(excess, rest, out=np.zeros_like(rest), where=rest > 0)
    if clamp:
        out[far] = np.where(excess < 0, 0, out[far])
    return out


def masked_correlation(
    halves: tuple[np.ndarray, np.ndarray], mask: Callable[[np.ndarray], np.ndarray], equal_pairs: bool = False
) -> np.ndarray:
    """FSC of two maps after ``mask`` was applied to each."""
    a, b = (forward(mask(half)) for half in halves)
    return shell_correlation(a, b, halves[0].shape, equal_pairs)


def randomised_halves(halves: tuple[np.ndarray, np.ndarray], first_shell: float, seed: int) -> tuple[np.ndarray, ...]:
    """The two maps with random phases from ``first_shell`` outwards, each with its own."""
    return tuple(
        inverse(randomise_phases(forward(half), half.shape, first_shell, seed, i), half.shape).astype(half.dtype)
        for i, half in enumerate(halves)
    )


def first_below(curve: np.ndarray, threshold: float) -> int | None:
    """First shell after the origin where a curve is below a threshold; None where it stays above."""
    found = np.flatnonzero(np.asarray(curve)[1:] < threshold)
    return int(found[0]) + 1 if len(found) else None


def resolution_shell(curve: np.ndarray, threshold: float = GOLD_STANDARD) -> int:
    """Last shell before a curve first falls below a threshold: a later rise is noise."""
    below = first_below(curve, threshold)
    return len(curve) - 1 if below is None else below - 1


def last_shell_above(curve: np.ndarray, threshold: float = GOLD_STANDARD) -> int:
    """Last shell at or above a threshold, whatever lies between."""
    return int(np.flatnonzero(np.asarray(curve) >= threshold)[-1])


def crossing_shell(curve: np.ndarray, threshold: float = GOLD_STANDARD) -> float:
    """Where the straight line between two shells crosses a threshold, in shells."""
    last = resolution_shell(curve, threshold)
    if last == len(curve) - 1:
        return float(last)
    above, below = curve[last], curve[last + 1]
    return last + float((above - threshold) / (above - below))


def shell_resolution_A(shell, n: int, pixel_size_A: float):
    """Resolution of a shell, A: n a / shell; infinite at the origin."""
    with np.errstate(divide="ignore"):
        return n * pixel_size_A / np.asarray(shell, float)


def part_volume(curve: np.ndarray, factor: float) -> np.ndarray:
    """FSC of the particle alone from that of a box whose solvent holds noise only (Sindelar & Grigorieff 2012).

    Parameters
    ----------
    curve : (n,) FSC of the unmasked maps
    factor : of ``factor_of_mask`` or ``factor_of_mass``

    Source: docs/equations.md#fsc
    """
    return factor * curve / (1 + (factor - 1) * curve)


def mask_occupancy(mask: np.ndarray) -> float:
    """Share of the voxels where a mask is above one half."""
    return float(np.count_nonzero(mask > 0.5) / mask.size)


def factor_of_mask(mask: np.ndarray) -> float:
    """The part-volume factor of a mask."""
    return FILLED_SHARE / max(mask_occupancy(mask), 1.0 / mask.size)


def mass_in_mask_kDa(mask: np.ndarray, pixel_size_A: float) -> float:
    """Mass of a protein that fills a mask."""
    return mask_occupancy(mask) * mask.size * pixel_size_A**3 * DA_PER_A3 / 1000


def factor_of_mass(mass_kDa: float, n_voxels: int, pixel_size_A: float) -> float:
    """The part-volume factor of a protein of known mass."""
    return FILLED_SHARE * n_voxels * pixel_size_A**3 * DA_PER_A3 / (1000 * mass_kDa)
