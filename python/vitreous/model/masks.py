"""Masks in real space."""

from __future__ import annotations

import numpy as np


def soft_circle(box: int, radius_px: float, edge_px: float = 5.0) -> np.ndarray:
    """Disc with a raised-cosine edge outside its radius.

    1 for r < radius, 0 beyond radius + edge, 0.5 + 0.5 cos(pi (r - radius) / edge) between; r is the distance from
    the centre pixel box//2.

    Parameters
    ----------
    box : side, px
    radius_px : at least 0
    edge_px : width of the edge, at least 0

    Returns
    -------
    (box, box) float32

    Raises  ValueError: radius or edge is negative or not a number.     Source: docs/equations.md#mask
    """
    if not (radius_px >= 0 and edge_px >= 0):
        raise ValueError(
            f"soft_circle: radius is {radius_px} px and edge {edge_px} px, expected both at least 0; "
            "check the particle diameter and the pixel size"
        )
    x = np.arange(box) - box // 2
    r = np.hypot(x[:, None], x[None, :])
    depth = np.clip((r - radius_px) / edge_px, 0, 1) if edge_px > 0 else (r > radius_px).astype(float)
    return (0.5 + 0.5 * np.cos(np.pi * depth)).astype(np.float32)


def soft_sphere(box: int, radius_px: float, edge_px: float = 5.0) -> np.ndarray:
    """Ball with a raised-cosine edge outside its radius, as ``soft_circle`` in three dimensions.

    Returns
    -------
    (box, box, box) float32
    """
    if not (radius_px >= 0 and edge_px >= 0):
        raise ValueError(
            f"soft_sphere: radius is {radius_px} px and edge {edge_px} px, expected both at least 0; "
            "check the particle diameter and the pixel size"
        )
    x = np.arange(box) - box // 2
    in_plane, out = x[:, None] ** 2 + x**2, np.empty((box,) * 3, np.float32)
    for plane, z2 in zip(out, x**2):  # one by one: a box of 512 would take gigabytes in double precision
        r = np.sqrt(z2 + in_plane)
        depth = np.clip((r - radius_px) / edge_px, 0, 1) if edge_px > 0 else (r > radius_px).astype(float)
        plane[:] = 0.5 + 0.5 * np.cos(np.pi * depth)
    return out
