"""Sharpening of a map: detector correction, weights from the FSC, B-factor, Guinier plot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.engine.filters import b_factor, scale_frequencies, shell_of, shell_sums

EMPTY_SHELL = -99.0  # log amplitude of a shell without signal, as RELION writes it
LEAST_MTF = 1e-10
LEAST_WEIGHTED_FSC = 1e-4


@dataclass(frozen=True)
class GuinierFit:
    """Straight line through a Guinier plot: ln amplitude = intercept + slope / d^2."""

    slope_A2: float
    intercept: float
    determination: float  # r^2; what RELION writes as the correlation of the fit

    @property
    def b_factor_A2(self) -> float:
        """B of the map's amplitudes, negative where they fall; multiplying by exp(-B s^2 / 4) levels them."""
        return 4 * self.slope_A2


def log_amplitudes(ft: np.ndarray, shape: tuple[int, ...], equal_pairs: bool = False) -> np.ndarray:
    """Logarithm of the mean amplitude in each shell.

    Parameters
    ----------
    ft : half transform of a map of ``shape``, divided by its number of voxels

    Returns
    -------
    (n//2 + 1,) float64              -99 for a shell of zeros

    Source: docs/equations.md#guinier
    """
    stack = ft.reshape(-1, *ft.shape[-2:])
    total, count = shell_sums(shape, lambda i: (np.abs(stack[i]),), equal_pairs)
    mean = total / np.maximum(count, 1)
    return np.where(mean > 0, np.log(np.where(mean > 0, mean, 1)), EMPTY_SHELL)


def fit_guinier(log_amplitude: np.ndarray, n: int, pixel_size_A: float, low_A: float, high_A: float) -> GuinierFit:
    """Least-squares line through the shells between two resolutions.

    Parameters
    ----------
    log_amplitude : (n//2 + 1,) of ``log_amplitudes``; empty shells are passed over
    low_A, high_A : coarsest and finest resolution that count; high_A 0 = Nyquist

    Raises  ValueError: fewer than two shells lie between.
    """
    shell = np.arange(1, len(log_amplitude))
    resolution_A = n * pixel_size_A / shell
    values = log_amplitude[1:]
    finest_A = max(high_A, 2 * pixel_size_A * (1 - 1e-9))
    used = (resolution_A <= low_A) & (resolution_A >= finest_A) & (values > EMPTY_SHELL)
    if used.sum() < 2:
        raise ValueError(
            f"{used.sum()} shells with signal lie between {low_A:g} and {finest_A:.4g} A, expected at least 2"
        )
    x, y = resolution_A[used] ** -2.0, values[used]
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy) / (dx @ dx)
    spread = (dx @ dx) * (dy @ dy)
    return GuinierFit(
        float(slope), float(y.mean() - slope * x.mean()), float((dx @ dy) ** 2 / spread) if spread else 1.0
    )


def divide_by_mtf(ft: np.ndarray, shape: tuple[int, ...], frequency: np.ndarray, mtf: np.ndarray) -> np.ndarray:
    """Undo a detector's modulation transfer up to the Nyquist frequency, in place.

    Parameters
    ----------
    ft : half transform of a map of ``shape``; changed
    frequency, mtf : (n,) table; frequency in cycles per pixel of the map, rising; linear between, constant beyond
    """
    return scale_frequencies(ft, shape, lambda u: np.where(u < 0.5, 1 / np.interp(u, frequency, mtf), 1.0))


def fsc_weights(curve: np.ndarray) -> np.ndarray:
    """sqrt(2 FSC / (1 + FSC)) per shell, 0 from the first shell below 0.0001 on (Rosenthal & Henderson 2003).

    Source: docs/equations.md#fsc
    """
    curve = np.asarray(curve, float)
    below = np.flatnonzero(curve < LEAST_WEIGHTED_FSC)
    end = below[0] if len(below) else len(curve)
    out = np.zeros(len(curve))
    out[:end] = np.sqrt(2 * curve[:end] / (1 + curve[:end]))
    return out


def weight_shells(ft: np.ndarray, shape: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    """Multiply each shell by its weight and everything beyond the last one by 0, in place."""
    n, table = max(shape), np.append(weights, 0.0)

    def gain(u):
        return table[np.minimum(shell_of(u * u, n), len(weights))]

    return scale_frequencies(ft, shape, gain)


def apply_b_factor(ft: np.ndarray, shape: tuple[int, ...], b_A2: float, pixel_size_A: float) -> np.ndarray:
    """Multiply by exp(-B s^2 / 4), 0 beyond Nyquist, in place; B = 0 changes nothing."""
    return ft if b_A2 == 0 else scale_frequencies(ft, shape, b_factor(b_A2, pixel_size_A))
