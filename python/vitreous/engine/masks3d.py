"""Masks of a map: threshold, extension, soft edge, shells; distances are exact, in voxels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from vitreous.engine.filters import cutoff_shell, filtered, low_pass

# Automatic threshold: detail of this size is kept, so that the mask follows the molecule and not its noise.
AUTO_LOW_PASS_A = 15.0
# Pieces below this share of the largest one are dust: noise that rises above the threshold.
DUST_SHARE = 0.1
# Squared distances are whole numbers; scipy returns their roots.
ROUNDING = 1e-6


def combine(first: np.ndarray, second: np.ndarray, how: str) -> np.ndarray:
    """Two binary masks as one: ``and``, ``or``, ``and_not`` or ``or_not`` (the second one is negated)."""
    second = ~second if how.endswith("not") else second
    return first & second if how.startswith("and") else first | second


def _around(inside: np.ndarray, margin_px: float) -> tuple[slice, ...]:
    """The part of the box that holds a binary mask with a margin, as far as the box goes."""
    margin = int(np.ceil(margin_px)) + 1
    found = []
    for axis, n in enumerate(inside.shape):
        others = tuple(i for i in range(inside.ndim) if i != axis)
        where = np.flatnonzero(inside.any(axis=others))
        found.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, n)))
    return tuple(found)


def extend(inside: np.ndarray, by_px: float) -> np.ndarray:
    """Grow a binary mask, or shrink it where ``by_px`` is negative.

    Parameters
    ----------
    inside : (nz, ny, nx) bool
    by_px : a voxel joins when one of the mask is nearer than this; it leaves when one outside is

    Returns
    -------
    (nz, ny, nx) bool

    Source: docs/equations.md#mask3d     Cost: one distance transform of the part of the box around the mask
    """
    if by_px == 0 or inside.all() or not inside.any():
        return inside
    far = by_px * by_px - ROUNDING
    part = _around(inside, abs(by_px))
    near, out = inside[part], inside.copy()
    if by_px > 0:
        out[part] = np.square(ndimage.distance_transform_edt(~near)) < far
    elif not near.all():
        out[part] = ~(np.square(ndimage.distance_transform_edt(near)) < far)
    return out


def soft_edge(inside: np.ndarray, width_px: float) -> np.ndarray:
    """A binary mask with a raised-cosine edge outside of it.

    Returns
    -------
    (nz, ny, nx) float32             1/2 + 1/2 cos(pi d / width) at the distance d < width, else 0

    Source: docs/equations.md#mask3d
    """
    out = inside.astype(np.float32)
    if width_px <= 0 or inside.all() or not inside.any():
        return out
    part = _around(inside, width_px)
    depth = ndimage.distance_transform_edt(~inside[part])
    np.minimum(depth, width_px, out=depth)
    depth *= np.pi / width_px
    out[part] = 0.5 + 0.5 * np.cos(depth)
    return out


def central_part(n_z: int, fraction: float, width_px: float) -> np.ndarray:
    """(n_z, 1, 1) float64: 1 in the central fraction of the z axis, with a raised-cosine edge outside of it."""
    if not width_px > 0:
        raise ValueError(f"central_part: the width of the edge is {width_px} px, expected more than 0")
    beyond = np.abs(np.arange(n_z) - n_z // 2) - fraction * n_z / 2
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(beyond / width_px, 0, 1)))[:, None, None]


def shell_mask(
    box: int, inner_px: float, outer_px: float, width_px: float = 0.0, centre_px: tuple[float, float, float] = (0, 0, 0)
) -> np.ndarray:
    """A ball or a hollow ball with soft edges on both sides.

    Parameters
    ----------
    box : side of the cube, px
    inner_px, outer_px : radii between which the mask is 1
    width_px : of the raised cosines inside the inner and outside the outer radius
    centre_px : x, y, z from the box centre

    Returns
    -------
    (box, box, box) float32
    """
    x, y, z = (np.arange(box) - box // 2 - float(c) for c in centre_px)
    out = np.empty((box, box, box), np.float32)
    for i, height in enumerate(z):
        r = np.sqrt(height * height + y[:, None] ** 2 + x**2)
        outside = np.maximum(r - outer_px, inner_px - r)
        if width_px > 0:
            out[i] = 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / width_px, 0, 1))
        else:
            out[i] = (r < outer_px) & (r >= inner_px)
    return out


def smoothed(volume: np.ndarray, pixel_size_A: float, resolution_A: float) -> np.ndarray:
    """A map low-passed with an edge of two shells."""
    n = max(volume.shape)
    return filtered(volume, low_pass(cutoff_shell(n, pixel_size_A, resolution_A), n))


def automatic_threshold(volume: np.ndarray) -> float:
    """The grey value that parts the molecule from the solvent, by Otsu's criterion.

    Of all thresholds this one makes the variance between the two sides the largest. Only voxels in the ball that the
    box holds count: beyond it many programs write zeros. Low-pass the map first.

    Parameters
    ----------
    volume : (nz, ny, nx) float32    white on dark; one section is an image

    Returns
    -------
    float                            NaN where all voxels are alike
    """
    z, y, x = (np.arange(n) - n // 2 for n in volume.shape)
    reach = min(n for n in volume.shape if n > 1) / 2 if max(volume.shape) > 1 else 1
    values = volume[(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) < reach * reach]
    counts, edges = np.histogram(values.astype(np.float64), bins=512)
    if not edges[-1] > edges[0] or np.ptp(values) == 0:
        return float("nan")
    middles = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sum_below = np.cumsum(counts * middles)[:-1]
    total = (counts * middles).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * np.square(sum_below / below - (total - sum_below) / above)
    best = np.flatnonzero(between >= np.nanmax(between) * (1 - 1e-9))  # several where bins are empty: their middle
    return float(0.5 * (edges[1 + best[0]] + edges[1 + best[-1]]))


def without_dust(inside: np.ndarray, share: float = DUST_SHARE) -> np.ndarray:
    """A binary mask without pieces that hold less than ``share`` of the voxels of the largest one."""
    pieces, n_pieces = ndimage.label(inside, np.ones((3, 3, 3), int))
    if n_pieces < 2:
        return inside
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes >= share * sizes.max())[pieces]


def automatic_mask(
    volume: np.ndarray,
    pixel_size_A: float,
    extend_px: float = 3,
    width_px: float = 6,
    threshold: float | None = None,
) -> tuple[np.ndarray, float]:
    """A mask around the molecule for an FSC: low-passed to 15 A (or 4 px), thresholded, cleaned, extended, softened.

    Parameters
    ----------
    threshold : on the low-passed map; None = ``automatic_threshold``

    Returns
    -------
    (nz, ny, nx) float32             the mask
    float                            the threshold; NaN where the map is constant
    """
    smooth = smoothed(volume, pixel_size_A, max(AUTO_LOW_PASS_A, 4 * pixel_size_A))
    threshold = automatic_threshold(smooth) if threshold is None else threshold
    inside = without_dust(smooth >= threshold)
    return soft_edge(extend(inside, extend_px), width_px), threshold
