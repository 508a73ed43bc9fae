"""Grids of in-plane angles and shifts, their finer children, the random offset of a grid, and random orientations.

Plain arrays in degrees and in the unit of the step (pixels or A); directions are in healpix.py.
"""

from __future__ import annotations

import itertools

import numpy as np

from vitreous.model.rotation import euler_to_matrix, matrix_to_euler, wrap_deg

# Second word of the random key. Other uses of a seed put small numbers or an iteration there; this stays apart.
USE_PERTURBATION = 1 << 40


def adjusted_step_deg(step_deg: float) -> float:
    """The step that divides 360 into the least number of equal steps no larger than ``step_deg``."""
    if not 0 < step_deg <= 360:
        raise ValueError(f"psi step is {step_deg} degrees, expected more than 0 and at most 360")
    return 360.0 / np.ceil(360.0 / step_deg * (1 - 1e-12))  # 360/n as step must give n, whatever its rounding


def psi_grid(step_deg: float) -> np.ndarray:
    """In-plane angles 0, s, 2 s, ... below 360 with s = ``adjusted_step_deg(step_deg)``.

    Returns
    -------
    (n,) float64                     degrees
    """
    step = adjusted_step_deg(step_deg)
    return np.arange(round(360.0 / step)) * step


def psi_children(psi_deg, step_deg: float, order: int) -> np.ndarray:
    """The 2^order equal parts of each step, at their centres; the parent is its own child only for order 0.

    Parameters
    ----------
    psi_deg : (m,) float             parents
    step_deg : their distance, after adjustment

    Returns
    -------
    (m, 2^order) float64             degrees
    """
    return np.asarray(psi_deg, float)[:, None] + _parts(step_deg, order)


def shift_grid(radius: float, step: float, n_axes: int = 2) -> np.ndarray:
    """Multiples of ``step`` along x, y[, z] within ``radius`` of the origin, x in the outer loop.

    Parameters
    ----------
    radius, step : in the same unit; radius 0 gives the origin alone
    n_axes : 2 or 3

    Returns
    -------
    (n, n_axes) float64

    Raises  ValueError: step is not positive or radius is negative.
    """
    if not (step > 0 and radius >= 0):
        raise ValueError(f"shift grid: range is {radius} and step {step}, expected a range >= 0 and a step > 0")
    n = int(np.ceil(radius / step))
    points = step * np.array(list(itertools.product(range(-n, n + 1), repeat=n_axes)), float)
    return points[(points**2).sum(1) < radius**2 + 0.001]  # keeps the points on the rim, whatever their rounding


def shift_children(shifts, step: float, order: int) -> np.ndarray:
    """The 2^order equal parts of each step per axis, at their centres, x in the outer loop.

    Parameters
    ----------
    shifts : (m, n_axes) float       parents, unit of ``step``

    Returns
    -------
    (m, 2^(order n_axes), n_axes) float64
    """
    shifts = np.asarray(shifts, float)
    parts = np.array(list(itertools.product(_parts(step, order), repeat=shifts.shape[1])))
    return shifts[:, None, :] + parts


def perturbation(seed: int, iteration: int, factor: float) -> float:
    """Random offset of the sampling grids in an iteration, in steps; a pure function of its arguments.

    Each iteration adds a number from [factor/2, factor) to the last one's offset and keeps it in [-factor, factor], so
    that successive grids differ by about half a step or more; iteration 0 has none. Nothing needs to be stored for a
    run to continue with the same offsets.

    Parameters
    ----------
    seed : 0 or more
    iteration : 0 or more
    factor : 0 = no perturbation
    """
    offset = 0.0
    for word in np.random.Philox(key=[seed, USE_PERTURBATION]).random_raw(iteration):
        offset += factor * (0.5 + 0.5 * (int(word) >> 11) / 2**53)
        offset -= 2 * factor if offset > factor else 0.0
    return offset


def perturb_psi(psi_deg, offset: float, step_deg: float) -> np.ndarray:
    """In-plane angles turned by offset steps.

    Returns
    -------
    shape of psi_deg, float64        degrees in (-180, 180]
    """
    return wrap_deg(np.asarray(psi_deg, float) + offset * step_deg)


def perturb_orientations(euler_deg, offset: float, step_deg: float) -> np.ndarray:
    """Orientations A R(q, q, q), q = offset x step: the reference is turned before the projection.

    Parameters
    ----------
    euler_deg : (..., 3) float       rot, tilt, psi

    Returns
    -------
    (..., 3) float64
    """
    q = offset * step_deg
    return matrix_to_euler(euler_to_matrix(euler_deg) @ euler_to_matrix([q, q, q]))


def perturb_shifts(shifts, offset: float, step: float) -> np.ndarray:
    """Shifts moved by offset steps along every axis."""
    return np.asarray(shifts, float) + offset * step


def random_orientations(rows, seed: int, use: int) -> np.ndarray:
    """Orientations even over all rotations; a function of each row, the seed and the use.

    Parameters
    ----------
    rows : (n,) int                  particles, 0 or more
    seed : 0 or more
    use : second word of the random key, another for every use of a seed

    Returns
    -------
    (n, 3) float64                   rot in [0, 360), tilt in [0, 180], psi in [0, 360), degrees
    """
    rows = np.asarray(rows, int)
    draws = np.random.Generator(np.random.Philox(key=[seed, use])).random((int(rows.max(initial=-1)) + 1, 3))[rows]
    return np.column_stack([360 * draws[:, 0], np.degrees(np.arccos(1 - 2 * draws[:, 1])), 360 * draws[:, 2]])


def _parts(step, order):
    """Centres of the 2^order parts of the interval [-step/2, step/2]; 0 alone for order 0."""
    if order < 0:
        raise ValueError(f"oversampling order is {order}, expected 0 or more")
    return -0.5 * step + (np.arange(2**order) + 0.5) * step / 2**order
