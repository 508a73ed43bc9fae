"""A map turned about any point, and averaged over a point group, by splines in real space."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from vitreous.model.symmetry import Symmetry


def turned(
    volume: np.ndarray,
    rotation: np.ndarray,
    shift_px,
    group: Symmetry | None = None,
    order: int = 3,
    n_threads: int = 1,
) -> np.ndarray:
    """A map turned and moved, so that its point x comes to rotation (x + shift), and averaged over a group.

    Parameters
    ----------
    volume : (n, n, n) float32
    rotation : (3, 3) proper
    shift_px : (3,) x, y, z
    group : None: no average
    order : of the spline; 0 takes the nearest voxel

    Returns
    -------
    (n, n, n) float32                what comes from outside of the box has the mean of the box's faces

    Source: docs/equations.md#align-symmetry     Cost: one interpolation of the map per coset of the rotations that
    map the lattice onto itself
    """
    n = volume.shape[0]
    level = np.float32(np.mean([volume.take(i, axis).mean() for axis in range(3) for i in (0, -1)]))
    spline = np.asarray(volume, np.float32) - level
    if order > 1:
        spline = ndimage.spline_filter(spline, order, output=np.float32)
    shift = np.asarray(shift_px, float)
    if group is None:
        return level + _interpolated(spline, rotation, shift, n, order, n_threads)
    cosets, exact = group.cosets
    side = n + 1 - n % 2  # as many voxels to either side of the centre, so that exact rotations permute them
    mean = np.zeros((side,) * 3, np.float32)
    for coset in cosets:
        mean += _interpolated(spline, coset.T @ rotation, shift, side, order, n_threads)
    whole = np.zeros_like(mean)
    for rotation_of_lattice in exact:
        whole += permuted(mean, rotation_of_lattice)
    return level + whole[:n, :n, :n] / group.order


def permuted(volume: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """V(R x) of a map with an odd side, for a rotation that maps the lattice onto itself."""
    zyx = np.rint(np.asarray(rotation))[::-1, ::-1]
    axis_of = np.argmax(np.abs(zyx), axis=1)  # axis i of R x is this axis of x
    sign = zyx[np.arange(3), axis_of]
    flipped = volume[tuple(slice(None, None, int(s)) for s in sign)]
    return flipped.transpose(np.argsort(axis_of))


def _interpolated(spline, rotation, shift, side: int, order: int, n_threads: int) -> np.ndarray:
    """(side, side, side) float32: V(Q^T x - shift) on a lattice about the same centre."""
    n = spline.shape[0]
    back = np.asarray(rotation, float).T[::-1, ::-1]  # of z, y, x
    origin = n // 2 - shift[::-1] - back @ np.full(3, side // 2)
    out = np.empty((side,) * 3, np.float32)

    def slab(begin: int) -> None:
        part = out[begin : begin + step]
        ndimage.affine_transform(
            spline, back, origin + back[:, 0] * begin, output=part, output_shape=part.shape, order=order, prefilter=False
        )

    step = max(1, -(-side // (4 * n_threads)))
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(slab, range(0, side, step)))
    return out
