"""Directions on the sphere: HEALPix pixels in nested numbering, and the pixels within a pixel."""

from __future__ import annotations

import numpy as np

from vitreous.model.rotation import wrap_deg

MAX_ORDER = 8  # 786,432 directions, 0.23 degrees


def n_directions(order: int) -> int:
    """Number of pixels of the whole sphere."""
    return 12 * 4**order


def step_deg(order: int) -> float:
    """Distance of neighbouring directions, as the field quotes it: 360 / (6 2^order)."""
    return 60.0 / 2**order


def directions(be, order: int) -> np.ndarray:
    """Centres of all pixels.

    Parameters
    ----------
    order : 0 to 8

    Returns
    -------
    (12 4^order, 2) float64          rot in (-180, 180], tilt in [0, 180], degrees; row = nested pixel number

    Raises  ValueError: order out of range.     Source: docs/equations.md#healpix
    """
    _check_order("directions", order)
    out = np.empty((n_directions(order), 2))
    be.lib.healpix_directions(order, out)
    return np.stack([wrap_deg(np.rad2deg(out[:, 1])), np.rad2deg(np.arccos(out[:, 0]))], -1)


def children(pixels, n_levels: int) -> np.ndarray:
    """Pixels of an order finer by ``n_levels`` that lie within each pixel.

    Child (i, j) of a pixel at (x, y) of its face is at (x 2^n + i, y 2^n + j); j is the outer and i the inner loop.

    Parameters
    ----------
    pixels : (m,) int                nested numbers
    n_levels : 0 or more; 0 gives the pixels themselves

    Returns
    -------
    (m, 4^n_levels) int64            nested numbers of the finer order

    Raises  ValueError: n_levels is negative.
    """
    if n_levels < 0:
        raise ValueError(f"healpix.children: n_levels is {n_levels}, expected 0 or more")
    i = np.arange(2**n_levels)
    spread = sum(((i >> bit) & 1) << 2 * bit for bit in range(n_levels)) + 0 * i
    within = (2 * spread[:, None] + spread[None, :]).ravel()
    return (np.asarray(pixels, np.int64)[:, None] << 2 * n_levels) + within


def _check_order(name, order):
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"healpix.{name}: order is {order}, expected 0 to {MAX_ORDER}")
