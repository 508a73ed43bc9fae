"""Orientation grids of a 3D search: poses by number, their children on the finer grid, and windows for local searches.

A pose is a class, a view direction and an in-plane angle. Poses p < n_row are the rows with the first half of the
in-plane angles; p >= n_row is row p - n_row turned by 180 degrees in the plane, whose slice is the complex conjugate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from vitreous.model import healpix
from vitreous.model import sampling as grids
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry, view_directions

# Views may be this share of a step away from the nearest mate of a direction; in a grid over the whole sphere 0.8 are.
FARTHEST = 0.85
# Views to try are those of a grid this fine or finer, so that the smallest unit, that of I, holds some.
LEAST_PROBE_ORDER = 3


@dataclass(frozen=True, eq=False)
class OrientationGrid:
    """Directions times in-plane angles, for every class.

    Attributes
    ----------
    directions_deg : (n_dir, 2) rot, tilt before the perturbation
    psi_deg : (n_psi,) in-plane angles, n_psi even, the second half the first plus 180
    perturb_deg : q, the reference is turned by R(q, q, q) before the projection
    shifts_A : (n_shift, 2)
    """

    n_classes: int
    directions_deg: np.ndarray
    psi_deg: np.ndarray
    perturb_deg: float
    shifts_A: np.ndarray

    @property
    def n_dir(self) -> int:
        return len(self.directions_deg)

    @property
    def n_half(self) -> int:
        return len(self.psi_deg) // 2

    @property
    def n_row(self) -> int:
        return self.n_classes * self.n_dir * self.n_half

    def split(self, pose):
        """Class, direction and in-plane index of pose numbers."""
        turned, row = np.divmod(pose, self.n_row)
        rest, i_psi = np.divmod(row, self.n_half)
        i_class, i_dir = np.divmod(rest, self.n_dir)
        return i_class, i_dir, i_psi + turned * self.n_half

    def pose(self, i_class, i_dir, i_psi):
        """Pose numbers of classes, directions and in-plane indices."""
        turned, i_psi = np.divmod(i_psi, self.n_half)
        return turned * self.n_row + (i_class * self.n_dir + i_dir) * self.n_half + i_psi

    @cached_property
    def perturbation(self) -> np.ndarray:
        return euler_to_matrix([self.perturb_deg] * 3)

    def matrices(self, pose) -> np.ndarray:
        """(n, 3, 3) float64: reference to image, perturbed, of pose numbers."""
        _, i_dir, i_psi = self.split(np.asarray(pose))
        return euler_to_matrix(np.column_stack([self.directions_deg[i_dir], self.psi_deg[i_psi]])) @ self.perturbation


def coarse_and_fine(be, sampling, symmetry: Symmetry, n_classes: int) -> tuple[OrientationGrid, OrientationGrid]:
    """The two grids of an iteration, on an asymmetric unit of directions."""
    order, over = sampling.healpix_order, sampling.oversampling
    everything = healpix.directions(be, order)
    pixels = unit_pixels(be, order, symmetry)
    step = grids.adjusted_step_deg(sampling.psi_step_deg)
    psi = grids.psi_grid(step)
    shifts = grids.shift_grid(sampling.offset_range_A, sampling.offset_step_A)
    move = sampling.perturb * sampling.offset_step_A
    q = sampling.perturb * healpix.step_deg(order)
    fine_directions = healpix.directions(be, order + over)[healpix.children(pixels, over).ravel()]
    fine_psi = grids.psi_children(psi, step, over).ravel()
    fine_shifts = grids.shift_children(shifts, sampling.offset_step_A, over).reshape(-1, 2)
    return (
        OrientationGrid(n_classes, everything[pixels], psi, q, shifts + move),
        OrientationGrid(n_classes, fine_directions, fine_psi, q, fine_shifts + move),
    )


@lru_cache(maxsize=8)
def unit_pixels(be, order: int, symmetry: Symmetry) -> np.ndarray:
    """Pixels of an asymmetric unit, and as many more as leave no view far from every mate of one.

    The pixels whose centres lie in the unit do not suffice: the four around the pole have none in the narrow unit of
    C7, whose top views would be a step and a half from any sample, and the unit of I2 has none at all below order 2.

    Returns
    -------
    (n_dir,) int64 nested numbers, ascending; not to be changed, as it is kept for the next call

    Cost: about a second at order 6, and five at order 8
    """
    everything = healpix.directions(be, order)
    seam = 0.5 * healpix.step_deg(order) / 2 if order <= 3 else 0.0
    pixels = symmetry.asymmetric_unit(*everything.T, seam_deg=seam)
    if symmetry.order == 1:
        return pixels
    probe_order = min(max(order + 1, LEAST_PROBE_ORDER), healpix.MAX_ORDER)
    angles = healpix.directions(be, probe_order)
    probe = np.flatnonzero(symmetry.is_asymmetric(*angles.T))
    axes = Rotation.from_matrix(symmetry.rotations[1:]).as_rotvec()
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)  # the corners of the unit, where pixels may be too wide for it
    views = np.concatenate([view_directions(*angles[probe].T), axes, -axes])
    nearest_pixel = (views[len(probe) :] @ view_directions(*everything.T).T).argmax(1)
    pixel_of_view = np.concatenate([probe >> 2 * (probe_order - order), nearest_pixel])
    mates = lambda some: (view_directions(*everything[some].T) @ symmetry.rotations).reshape(-1, 3)
    distance = cKDTree(mates(pixels)).query(views)[0] if len(pixels) else np.full(len(views), 2.0)
    farthest, added = 2 * np.sin(np.radians(FARTHEST * healpix.step_deg(order)) / 2), []
    while distance.max() > farthest:
        i_view = distance.argmax()
        added.append(pixel_of_view[i_view])
        distance[i_view] = 0
        distance = np.minimum(distance, np.linalg.norm(views[:, None] - mates(added[-1:]), axis=2).min(1))
    return np.unique(np.concatenate([pixels, np.array(added, np.int64)]))


def children(coarse: OrientationGrid, fine: OrientationGrid, pose) -> np.ndarray:
    """(n, n_child) fine poses of coarse poses."""
    per_dir, per_psi = fine.n_dir // coarse.n_dir, len(fine.psi_deg) // len(coarse.psi_deg)
    i_class, i_dir, i_psi = coarse.split(np.asarray(pose))
    fine_dir = i_dir[:, None, None] * per_dir + np.arange(per_dir)[:, None]
    fine_psi = i_psi[:, None, None] * per_psi + np.arange(per_psi)
    return fine.pose(i_class[:, None, None], fine_dir, fine_psi).reshape(len(i_class), per_dir * per_psi)


def window(coarse: OrientationGrid, own, sigma_deg: float, symmetry: Symmetry):
    """Coarse poses near given orientations, with the log of a Gaussian prior in the rotation between them.

    A sample of the grid counts where it is less than 3 sigma from the orientation or a symmetry mate of it; the nearest
    one counts alone where none is. The whole rotation decides, so a turn about the view that goes with a nod near the
    pole stays in the window. All classes are given.

    Parameters
    ----------
    own : (n, 3, 3) float64      orientations, reference to image

    Returns
    -------
    start : (n + 1,) int64, pose : (m,) int32 in ascending order per particle, log_prior : (m,) float32

    Source: docs/equations.md#local
    """
    plain = euler_to_matrix(np.column_stack([coarse.directions_deg, np.zeros(coarse.n_dir)]))
    start, poses, priors = [0], [], []
    for matrix in own:
        i_dir, i_psi, angle = _near(plain, len(coarse.psi_deg), matrix @ symmetry.rotations, np.radians(3 * sigma_deg))
        prior = -0.5 * (angle / np.radians(sigma_deg)) ** 2
        prior -= np.log(np.exp(prior - prior.max()).sum()) + prior.max()
        pose = coarse.pose(np.arange(coarse.n_classes)[:, None], i_dir, i_psi).ravel()
        order = np.argsort(pose)
        poses.append(pose[order])
        priors.append(np.tile(prior, coarse.n_classes)[order])
        start.append(start[-1] + len(pose))
    return np.array(start, np.int64), np.concatenate(poses).astype(np.int32), np.concatenate(priors).astype(np.float32)


def window_size(coarse: OrientationGrid, sigma_deg: float, symmetry: Symmetry) -> float:
    """Samples that ``window`` gives an orientation on average: the share of all rotations that is within 3 sigma."""
    limit = min(np.radians(3 * sigma_deg), np.pi)
    return 2 * coarse.n_row * min(symmetry.order * (limit - np.sin(limit)) / np.pi, 1.0)


def _near(plain, n_psi: int, mates, limit: float):
    """Samples of the grid within ``limit`` radians of any of some mates, or the nearest: direction, psi, angle."""
    along = plain[:, 2] @ mates[:, 2].T
    i_dir, i_mate = np.nonzero(along > np.cos(min(limit, np.pi)))
    i_psi, angle = _turns(plain[i_dir], mates[i_mate], n_psi, limit)
    inside = angle < limit
    if not inside.any():  # a turn is no less than the angle between the views, so no farther view can be the nearest
        nearest = tuple(np.array([i]) for i in np.unravel_index(along.argmax(), along.shape))
        bound = _turns(plain[nearest[0]], mates[nearest[1]], n_psi, 0.0)[1].min()
        i_dir, i_mate = np.nonzero(along >= min(np.cos(bound), along.max()))
        i_psi, angle = _turns(plain[i_dir], mates[i_mate], n_psi, 0.0)
        inside = np.zeros(angle.shape, bool)
        inside.flat[angle.argmin()] = True
    key = (i_dir[:, None] * n_psi + i_psi % n_psi)[inside]
    angle = angle[inside]
    order = np.lexsort((angle, key))  # two mates may reach one sample: the nearer counts
    key, angle = key[order], angle[order]
    first = np.concatenate([[True], key[1:] != key[:-1]])
    return key[first] // n_psi, key[first] % n_psi, angle[first]


def _turns(plain, mates, n_psi: int, limit: float):
    """In-plane indices within ``limit`` of the best one of pairs of directions and orientations, and the angles there.

    Returns
    -------
    (n, m) int, (n, m) float64 radians
    """
    relative = np.einsum("pij,pkj->pik", plain, mates)  # trace(Rz(psi) relative) = a cos psi - b sin psi + c
    a, b = relative[:, 0, 0] + relative[:, 1, 1], relative[:, 0, 1] - relative[:, 1, 0]
    half_width = int(np.ceil(limit / (2 * np.pi / n_psi)))
    best = np.rint(np.arctan2(-b, a) * n_psi / (2 * np.pi)).astype(int)
    i_psi = best[:, None] + np.arange(-half_width, half_width + 1)
    psi = 2 * np.pi * i_psi / n_psi
    cosine = (np.cos(psi) * a[:, None] - np.sin(psi) * b[:, None] + relative[:, 2, 2, None] - 1) / 2
    return i_psi, np.arccos(np.clip(cosine, -1, 1))
