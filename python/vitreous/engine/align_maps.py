"""One map brought onto another: the rotation, the shift and the hand with which they correlate best.

All orientations of both hands are compared with spherical harmonics about the two centres of mass, where the
correlation of a turned map with another is a sum of small matrix products. The best ones get their shift from a
cross-correlation and are refined in real space on a coarse grid; the best of these is refined at full size.
Source: docs/equations.md#align-maps
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, optimize
from scipy.spatial.transform import Rotation

from vitreous.engine import harmonics
from vitreous.engine.align_symmetry import WorkingMap, prepare
from vitreous.engine.filters import cutoff_shell, filtered, low_pass
from vitreous.engine.image_ops import other_hand
from vitreous.engine.turn_map import turned
from vitreous.model.rotation import euler_to_matrix

COARSE_BOX = 32  # px
N_REFINED = 10  # best orientations that are refined
MOST_DEGREES = 12  # of the search: 15 degrees from a crest to the next trough, which refinement bridges
FINEST_PX = 3.0  # detail that is compared at full size: finer detail has little weight and is noise in most maps


@dataclass(frozen=True, eq=False)
class Placement:
    """How a map comes onto another one.

    Attributes
    ----------
    rotation : (3, 3) float64, proper: point x of the map, or of its mirror image, goes to rotation (x + shift)
    shift_px : (3,) x, y, z
    is_mirrored : the map is mirrored along x about voxel n//2 before it is turned
    correlation : of the two in a ball about the molecule, low-passed
    """

    rotation: np.ndarray
    shift_px: np.ndarray
    is_mirrored: bool
    correlation: float

    def applied(self, volume: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """(n, n, n) float32: the map where the other one is."""
        return turned(other_hand(volume) if self.is_mirrored else volume, self.rotation, self.shift_px, n_threads=n_threads)


@dataclass(frozen=True, eq=False)
class _Start:
    """An orientation to refine: parameters as in ``Placement``, on a grid of its own."""

    rotation: np.ndarray
    shift_px: np.ndarray
    is_mirrored: bool
    correlation: float


def place(volume: np.ndarray, onto: np.ndarray, pixel_size_A: float) -> Placement:
    """Find how a map comes onto another one.

    Parameters
    ----------
    volume : (n, n, n) float32, the map that moves, white on dark
    onto : (n, n, n) float32, the map that stays
    pixel_size_A : of both, A

    Raises  ValueError: a map is no cube or constant, or the maps differ in size.
    Source: docs/equations.md#align-maps
    """
    if volume.shape != onto.shape:
        raise ValueError(f"place: the maps have shapes {volume.shape} and {onto.shape}, expected the same: resize one of them")
    fixed = prepare(onto, pixel_size_A, COARSE_BOX)
    starts = []
    for is_mirrored in (False, True):
        moving = prepare(other_hand(volume) if is_mirrored else volume, pixel_size_A, COARSE_BOX, fixed.limit_A)
        found = [_centred(moving, fixed, rotation, is_mirrored) for rotation in orientations(moving, fixed)]
        starts += [_refined(moving.volume, fixed.volume, fixed, start) for start in found]
    best = max(starts, key=lambda start: start.correlation)
    scale = volume.shape[0] / fixed.volume.shape[0]
    n = volume.shape[0]
    smooth = low_pass(cutoff_shell(n, 1.0, FINEST_PX), n)
    pair = [filtered(np.asarray(one, np.float32), smooth) for one in (other_hand(volume) if best.is_mirrored else volume, onto)]
    full = _Start(best.rotation, best.shift_px * scale, best.is_mirrored, best.correlation)
    found = _refined(*pair, WorkingMap(pair[1], pixel_size_A, fixed.centre_px * scale, fixed.radius_px * scale, fixed.limit_A), full)
    return Placement(found.rotation, found.shift_px, found.is_mirrored, found.correlation)


def orientations(moving: WorkingMap, fixed: WorkingMap) -> list[np.ndarray]:
    """Rotations about the centres with which the maps correlate best, the best first, none near another."""
    degree = min(fixed.degree, MOST_DEGREES)
    radii = np.arange(1, int(max(fixed.radius_px, moving.radius_px)) + 1)
    parts = [harmonics.expand(one.volume, one.centre_px, radii, degree) for one in (moving, fixed)]
    step_deg = 90.0 / degree
    n = int(np.ceil(4 * np.pi / np.deg2rad(step_deg) ** 2))
    rot = np.rad2deg(np.pi * (3 - np.sqrt(5)) * np.arange(n)) % 360 - 180  # a spiral by the golden angle
    tilt = np.rad2deg(np.arccos(1 - (2 * np.arange(n) + 1) / n))
    n_psi = 4 * degree
    terms = np.zeros((n, n_psi), complex)
    for l, (f, g) in enumerate(zip(*parts)):
        crossed = (g.conj() * radii[:, None] ** 2).T @ f  # D_ij of the rotation times this, summed, is the correlation
        turn = harmonics.seen_by_euler(np.eye(2 * l + 1), rot, tilt, np.zeros(n))
        terms[:, np.arange(-l, l + 1) % n_psi] += np.einsum("nij,ij->nj", turn, crossed)
    scores = np.fft.fft(terms, axis=1).real.ravel()
    psi = 360 / n_psi * np.arange(n_psi)
    euler = np.stack(np.broadcast_arrays(rot[:, None], tilt[:, None], psi), -1).reshape(-1, 3)
    rotations = np.swapaxes(euler_to_matrix(euler), -1, -2)
    found: list[np.ndarray] = []
    left = np.argsort(-scores)
    while len(left) and len(found) < N_REFINED:
        found.append(rotations[left[0]])
        trace = np.einsum("nij,ij->n", rotations[left], found[-1])
        left = left[np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1))) > 2 * step_deg]
    return found


def _centred(moving: WorkingMap, fixed: WorkingMap, rotation: np.ndarray, is_mirrored: bool) -> _Start:
    """The shift with which an orientation correlates best, to a voxel."""
    about = rotation.T @ fixed.centre_px - moving.centre_px  # the centres of mass on each other
    image = turned(moving.volume, rotation, about, order=1)
    crossed = fft.irfftn(fft.rfftn(fixed.volume) * fft.rfftn(image).conj(), image.shape)
    n = image.shape[0]
    peak = np.array(np.unravel_index(np.argmax(crossed), crossed.shape))[::-1]
    peak = np.where(peak > n // 2, peak - n, peak)
    return _Start(rotation, about + rotation.T @ peak, is_mirrored, 0.0)


def _refined(moving: np.ndarray, fixed: np.ndarray, ball: WorkingMap, start: _Start) -> _Start:
    """Rotation and shift with the highest correlation in the ball.

    Source: docs/equations.md#align-maps     Cost: four samples of every voxel in the ball per step
    """
    n = fixed.shape[0]
    z, y, x = (axis.astype(np.float32) for axis in np.ogrid[tuple(slice(-(n // 2), n - n // 2) for _ in range(3))])
    cx, cy, cz = ball.centre_px
    inside = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= ball.radius_px**2
    points = (np.argwhere(inside)[:, ::-1] - n // 2).T.astype(float)
    centre = ball.centre_px[:, None]
    target = fixed[inside] - fixed[inside].mean()
    target /= max(np.linalg.norm(target), 1e-30)
    gradient = [g.astype(np.float32) for g in np.gradient(moving)[::-1]]

    def loss(parameters):
        # turned about the ball's centre, so that turn and shift are as independent as they can be
        turn = Rotation.from_rotvec(parameters[:3] / ball.radius_px).as_matrix() @ start.rotation
        arm = turn.T @ (points - centre)
        places = arm + (start.rotation.T @ ball.centre_px - start.shift_px + parameters[3:])[:, None]
        values = harmonics.sample(moving, places).astype(float)
        slopes = np.array([harmonics.sample(g, places) for g in gradient], float)
        values -= values.mean()
        size = max(np.linalg.norm(values), 1e-30)
        correlation = float(values @ target) / size
        pull = (target - correlation * values / size) / size
        # d (turn^T a) for a small turn w is turn^T (a x w): the slope is (turn slopes) x a, with the sign of -w
        of_turn = np.cross(turn @ slopes, points - centre, axis=0)
        return -correlation, -np.concatenate([of_turn @ pull / ball.radius_px, slopes @ pull])

    done = optimize.minimize(loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 1e-7})
    rotation = Rotation.from_rotvec(done.x[:3] / ball.radius_px).as_matrix() @ start.rotation
    shift = rotation.T @ ball.centre_px - (start.rotation.T @ ball.centre_px - start.shift_px + done.x[3:])
    return _Start(rotation, shift, start.is_mirrored, -float(done.fun))
