"""Resolution from place to place: the FSC inside soft balls on a grid of points, and a map filtered accordingly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft

from vitreous.engine import filters, fsc
from vitreous.engine.masks3d import shell_mask

# Side of the window that is transformed, in radii of the ball's support. Two hold the ball; the third samples its
# transform finely enough that a curve's fall is seen between shells.
WINDOW_RADII = 3.0


@dataclass(frozen=True, eq=False)
class LocalResolution:
    """Attributes
    ----------
    points_px : (n_points, 3) int64           x, y, z from the centre voxel
    resolution_A : (n_points,) float64        where the corrected FSC falls below 0.143, at most ``least_A``
    curves : (n_points, window//2 + 1) float64   corrected FSC
    window_px : side of the windows; shell i of a curve is at window * pixel / i
    """

    points_px: np.ndarray
    resolution_A: np.ndarray
    curves: np.ndarray
    window_px: int


def grid_points(shape: tuple[int, ...], step_px: int, radius_px: float) -> np.ndarray:
    """Points of a cubic grid about the centre voxel whose balls lie inside the ball that the box holds.

    Returns
    -------
    (n, 3) int64                     x, y, z from the centre voxel
    """
    reach = min(shape) / 2 - radius_px
    most = int(max(reach, 0) // step_px)
    axis = step_px * np.arange(-most, most + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    return points[np.sum(points**2, axis=1) <= max(reach, 0) ** 2]


def window_size(n: int, radius_px: float, edge_px: float) -> int:
    """Side of the windows: even, and quick to transform."""
    side = int(np.ceil(WINDOW_RADII * (radius_px + edge_px)))
    while side < n and (side % 2 or fft.next_fast_len(side, real=True) != side):
        side += 1
    return min(side, n)


def window_at(volume: np.ndarray, point_px, side: int) -> np.ndarray:
    """(side, side, side) of a map around a point (x, y, z from the centre voxel), with zeros beyond the box."""
    out = np.zeros((side,) * 3, volume.dtype)
    source, target = [], []
    for n, at in zip(volume.shape, np.asarray(point_px)[::-1]):
        start = n // 2 + int(at) - side // 2
        source.append(slice(max(start, 0), max(min(start + side, n), 0)))
        target.append(slice(max(-start, 0), max(-start, 0) + max(min(start + side, n) - max(start, 0), 0)))
    out[tuple(target)] = volume[tuple(source)]
    return out


def local_resolution(
    halves: tuple[np.ndarray, np.ndarray],
    pixel_size_A: float,
    step_px: int,
    radius_px: float,
    edge_px: float,
    *,
    first_random: int,
    least_A: float,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> LocalResolution:
    """FSC of two half maps inside a soft ball at each point of a grid, corrected for the ball.

    Parameters
    ----------
    halves : two (nz, ny, nx) float32, neither masked nor filtered
    step_px : spacing of the points
    radius_px, edge_px : of the ball and its raised-cosine edge
    first_random : shell of the box from which phases are randomised, once for the whole maps
    least_A : no resolution is worse than this
    advance : called after each point

    Source: docs/equations.md#fsc     Cost: 4 transforms of a window a point
    """
    points = grid_points(halves[0].shape, step_px, radius_px)
    n = max(halves[0].shape)
    side = window_size(n, radius_px, edge_px)
    ball = shell_mask(side, 0, radius_px, edge_px)
    random = fsc.randomised_halves(halves, first_random, seed)
    first = max(int(np.ceil(first_random * side / n)), 1)
    curves = np.empty((len(points), side // 2 + 1))
    for i, point in enumerate(points):
        masked, randomised = (
            fsc.fourier_shell_correlation(*(window_at(x, point, side) * ball for x in pair), equal_pairs=True)
            for pair in (halves, random)
        )
        curves[i] = fsc.correct_for_mask(masked, randomised, first)
        advance()
    shells = np.array([fsc.crossing_shell(curve) for curve in curves])
    resolution_A = np.minimum(fsc.shell_resolution_A(shells, side, pixel_size_A), least_A)
    return LocalResolution(points, resolution_A, curves, side)


def resolution_map(
    shape: tuple[int, ...], found: LocalResolution, radius_px: float, edge_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Local resolution at every voxel: the mean spatial frequency of the balls over it, weighted by their masks.

    Returns
    -------
    (nz, ny, nx) float32             A; 0 where no ball reaches
    (nz, ny, nx) bool                where a ball reaches
    """
    frequency, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    side = found.window_px
    ball = shell_mask(side, 0, radius_px, edge_px)
    for point, resolution_A in zip(found.points_px, found.resolution_A):
        place, part = [], []
        for n, at in zip(shape, point[::-1]):
            start = n // 2 + int(at) - side // 2
            place.append(slice(max(start, 0), min(start + side, n)))
            part.append(slice(max(-start, 0), max(-start, 0) + min(start + side, n) - max(start, 0)))
        weight[tuple(place)] += ball[tuple(part)]
        frequency[tuple(place)] += ball[tuple(part)] / np.float32(resolution_A)
    reached = weight > 1e-6
    return np.divide(weight, frequency, out=np.zeros(shape, np.float32), where=reached), reached


def locally_filtered(
    volume: np.ndarray, pixel_size_A: float, resolution_A: np.ndarray, edge_shells: float = 2
) -> np.ndarray:
    """A map low-passed at each voxel to the resolution there: between the low-passes of the two nearest whole shells.

    Parameters
    ----------
    resolution_A : like volume; 0 where nothing is known, there the result is 0

    Cost: one transform for each whole shell between the worst and the best resolution
    """
    n, known = max(volume.shape), resolution_A > 0
    shell = np.zeros(volume.shape, np.float32)
    shell[known] = np.minimum(n * pixel_size_A / resolution_A[known], n / 2)
    out = np.zeros(volume.shape, np.float32)
    if not known.any():
        return out
    ft = filters.forward(volume)
    for s in range(int(np.floor(shell[known].min())), int(np.ceil(shell[known].max())) + 1):
        share = np.maximum(1 - np.abs(shell - s), 0) * known
        if share.any():
            passed = filters.scale_frequencies(ft.copy(), volume.shape, filters.low_pass(s, n, edge_shells))
            out += share * filters.inverse(passed, volume.shape).astype(np.float32)
    return out
