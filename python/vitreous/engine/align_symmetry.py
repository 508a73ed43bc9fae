"""The axes of a point group in a map of any orientation and centre, and the map turned so that they stand in place.

A map V has the group where V(Q^T R Q x + c) is the same for all its rotations R: Q turns the axes to their places, c is
the centre. All orientations are searched with spherical harmonics, where the correlation of a map with its symmetric
copies is a sum of small matrix products; the best few are refined in real space together with the centre.
Source: docs/equations.md#align-symmetry
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

from vitreous.engine import harmonics, masks3d
from vitreous.engine.filters import cutoff_shell, filtered, low_pass
from vitreous.engine.image_ops import resized
from vitreous.engine.turn_map import turned
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry

# Without --maxres: the detail that is compared is a seventh of the diameter, which leaves some 20 degrees of harmonics,
# but neither finer than the working map nor coarser than 20 A, where first models are still right.
DETAILS_ACROSS, COARSEST_A = 7.0, 20.0
N_REFINED = 4  # best orientations that are refined
# A group's weakest copy must agree at least so well: in asymmetric maps the best axes stay below 0.2. In noise true axes
# agree less, but stand out: those of icosahedra whose copies agree to 0.1 were right within a degree at 11 deviations.
LEAST_AGREEMENT, STANDS_OUT_SD = 0.5, 6.0
LEAST_TELLING = 3  # degree from which a harmonic tells a symmetry from the shape of any body
DIRECTIONS_AT_ONCE = 256  # some 30 MB of matrices
N_ROUNDS = 3  # searches, each about the centre that the last one found
UNIT_OF = {"D2": "O"}  # D2 has the axes of O's fourfold axes, other Dn those of D2n: less is to be searched


@dataclass(frozen=True, eq=False)
class WorkingMap:
    """A map as it is searched: on a coarse grid, low-passed, its mean in the ball taken off.

    Attributes
    ----------
    volume : (n, n, n) float32
    pixel_size_A : A
    centre_px : (3,) x, y, z of the molecule from voxel n//2
    radius_px : of the ball about it that holds the molecule
    limit_A : finest detail
    """

    volume: np.ndarray
    pixel_size_A: float
    centre_px: np.ndarray
    radius_px: float
    limit_A: float

    @property
    def degree(self) -> int:
        """Highest degree of harmonics that detail of the limit makes at the rim."""
        turns = 2 * np.pi * self.radius_px * self.pixel_size_A / self.limit_A
        return int(np.clip(np.ceil(turns), 4, harmonics.MOST_DEGREES))


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a group's axes are in a map.

    Attributes
    ----------
    symmetry : name of the group
    rotation : (3, 3) float64, proper: point x of the map goes to rotation (x + shift)
    shift_A : (3,) x, y, z; what to apply to the map so that the centre of the group is voxel n//2
    score : mean correlation of the map, without its spherical average, with its other symmetric copies: 1 is perfect
    weakest : such a correlation of the copies about axes of one kind that agree least, of what is not alike all around
        the axis, nor in every body
    random_mean, random_sd : of the scores of all orientations about this centre
    rival : best score of an orientation elsewhere
    limit_A : finest detail that was compared
    radius_A : of the ball that was compared
    volume : the map turned and moved, averaged over the group where that was asked; None where it was not
    """

    symmetry: str
    rotation: np.ndarray
    shift_A: np.ndarray
    score: float
    weakest: float
    random_mean: float
    random_sd: float
    rival: float
    limit_A: float
    radius_A: float
    volume: np.ndarray | None = None

    @property
    def significance(self) -> float:
        """Standard deviations by which the score is above that of any orientation."""
        return (self.score - self.random_mean) / max(self.random_sd, 1e-6)

    @property
    def is_shown(self) -> bool:
        """Whether the map shows the group: all copies agree, or noise hides that but the orientation stands out."""
        stands_out = self.significance > STANDS_OUT_SD and self.score > 2 * self.rival
        return self.weakest >= LEAST_AGREEMENT or stands_out


def align(
    volume: np.ndarray,
    pixel_size_A: float,
    symmetry: str | Symmetry,
    *,
    box_size: int = 64,
    limit_A: float | None = None,
    keep_centre: bool = False,
    only_rot: bool = False,
    apply_symmetry: bool = False,
    order: int = 3,
    n_threads: int = 1,
) -> Alignment:
    """Find a group's axes in a map and turn the map so that they stand in their places.

    Parameters
    ----------
    volume : (n, n, n) float32, white on dark
    pixel_size_A : A
    symmetry : Cn, Dn, T, O, I1 to I4
    box_size : side of the map that is searched, px; larger maps are brought there
    limit_A : finest detail to compare; None: by the molecule's diameter
    keep_centre : the group's centre is voxel n//2, not searched
    only_rot : turn the map about z alone
    apply_symmetry : average the turned map over the group
    order : of the spline that the map is interpolated with; 0 takes the nearest voxel

    Returns
    -------
    Alignment, of the rotations that the group allows the smallest

    Raises  ValueError: the map is no cube, or constant.
    Source: docs/equations.md#align-symmetry
    """
    group = Symmetry.parse(symmetry) if isinstance(symmetry, str) else symmetry
    working = prepare(volume, pixel_size_A, box_size, limit_A, keep_centre)
    found = find(working, group, keep_centre, only_rot)
    made = turned(
        volume, found.rotation, found.shift_A / pixel_size_A, group if apply_symmetry else None, order, n_threads
    )
    return replace(found, volume=made)


def prepare(
    volume: np.ndarray, pixel_size_A: float, box_size: int = 64, limit_A: float | None = None, keep_centre: bool = False
) -> WorkingMap:
    """The map that is searched; arguments as of ``align``."""
    n = volume.shape[0]
    if volume.shape != (n,) * 3:
        raise ValueError(f"prepare: the map has shape {volume.shape}, expected a cube: give it equal sides")
    side = min(box_size, n)
    pixel_A = pixel_size_A * n / side
    coarse = resized(np.asarray(volume, np.float32), (side,) * 3)
    centre, radius = place_of_molecule(coarse, pixel_A)
    if keep_centre:
        radius, centre = radius + float(np.linalg.norm(centre)), np.zeros(3)
    radius = min(radius, side / 2 - 1)
    if limit_A is None:
        limit_A = min(2 * radius * pixel_A / DETAILS_ACROSS, COARSEST_A)
    limit_A = max(limit_A, 2 * pixel_A)
    smooth = filtered(coarse, low_pass(cutoff_shell(side, pixel_A, limit_A), side))
    z, y, x = np.ogrid[tuple(slice(-(side // 2), side - side // 2) for _ in range(3))]
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius**2
    return WorkingMap(smooth - smooth[inside].mean(), pixel_A, centre, radius, float(limit_A))


def place_of_molecule(volume: np.ndarray, pixel_size_A: float) -> tuple[np.ndarray, float]:
    """Centre of mass (x, y, z) of the density above an automatic threshold, and the radius that holds it, px."""
    smooth = masks3d.smoothed(volume, pixel_size_A, max(COARSEST_A, 4 * pixel_size_A))
    threshold = masks3d.automatic_threshold(smooth)
    if not np.isfinite(threshold):
        raise ValueError("place_of_molecule: all voxels are alike, expected a molecule on darker solvent")
    inside = masks3d.without_dust(smooth >= threshold)
    places = np.argwhere(inside)[:, ::-1] - volume.shape[0] // 2
    centre = np.average(places, axis=0, weights=smooth[inside] - min(0, smooth[inside].min()))
    distance = np.linalg.norm(places - centre, axis=1)
    # the farthest voxels of a noisy map are noise; a margin for what lies below the threshold
    return centre, float(np.percentile(distance, 99.5) + 6 / pixel_size_A)


def find(working: WorkingMap, group: Symmetry, keep_centre: bool = False, only_rot: bool = False) -> Alignment:
    """Orientation and centre of a group in a map that ``prepare`` made; without the turned map."""
    for _ in range(N_ROUNDS):
        power = AngularPower(working)
        starts = candidates(power, group, only_rot)
        refined = [refine(working, group, rotation, keep_centre, only_rot) for rotation in starts]
        _value, rotation, centre = max(refined, key=lambda r: r[0])
        moved = np.linalg.norm(centre - working.centre_px)
        working = replace(working, centre_px=centre)
        if moved * working.pixel_size_A < working.limit_A / 4:
            break
    rotation = nearest_to_input(group, rotation, only_rot)
    return describe(working, group, rotation)


def describe(working: WorkingMap, group: Symmetry, rotation: np.ndarray) -> Alignment:
    """The alignment of a known orientation about the map's centre, with its score and those of all others."""
    power = AngularPower(working)
    rotations, scores, weights = scan(power, group)
    mean = float(np.average(scores, weights=weights))
    sd = float(np.sqrt(np.average((scores - mean) ** 2, weights=weights)))
    far = distance_deg(group, rotations, rotation) > 2 * power.width_deg
    pixel_A = working.pixel_size_A
    return Alignment(
        group.name, rotation, -working.centre_px * pixel_A, float(power.scores(group, rotation[None])[0]),
        power.weakest(group, rotation), mean, sd, float(scores[far].max(initial=0.0)), working.limit_A, working.radius_px * pixel_A,
    )  # fmt: skip


# ---- all orientations ------------------------------------------------------------------------------------------------


class AngularPower:
    """How a map correlates with itself turned: for each degree l > 0 the matrix of its orders, summed over the spheres.

    Attributes
    ----------
    matrices : degree -> (2 l + 1, 2 l + 1) complex128; their traces sum to 1
    """

    def __init__(self, working: WorkingMap):
        radii = np.arange(1, int(working.radius_px) + 1)
        coefficients = harmonics.expand(working.volume, working.centre_px, radii, working.degree)
        of_sphere = [(f * radii[:, None]).T for f in coefficients]  # volume of a sphere's shell
        found = {l: f @ f.conj().T for l, f in enumerate(of_sphere) if l}
        total = sum(np.trace(m).real for m in found.values())
        self.matrices = {l: m / max(total, 1e-30) for l, m in found.items()}
        self.degree = working.degree

    @property
    def width_deg(self) -> float:
        """Angle within which scores of neighbours are alike."""
        return 180.0 / self.degree

    def scores(self, group: Symmetry, rotations: np.ndarray) -> np.ndarray:
        """(n,) mean correlation with the other copies, of orientations (n, 3, 3)."""
        share = np.zeros(len(rotations))
        for l, basis in invariants(group.name, self.degree).items():
            seen = harmonics.seen_by(basis.conj().T, rotations)
            share += np.einsum("nkm,nkm->n", seen @ self.matrices[l], seen.conj()).real
        return of_other_copies(share, group)

    def weakest(self, group: Symmetry, rotation: np.ndarray) -> float:
        """Correlation of the map with its copies about axes of one kind, of those that agree least; 1 for C1.

        What is alike all around an axis agrees with a copy of every angle about it, and the ellipsoid of inertia
        (l <= 2), which every body has, with D2: neither is counted.
        """
        elements = rotation.T @ group.rotations[1:] @ rotation
        if not len(elements):
            return 1.0
        # of a rotation by an angle about an axis: sum over m of the power of order m about the axis times cos(m angle)
        axes = np.array([np.linalg.eigh(element + element.T)[1][:, -1] for element in elements])
        angle = np.arccos(np.clip((np.trace(elements, axis1=1, axis2=2) - 1) / 2, -1, 1))
        rot, tilt = np.arctan2(axes[:, 1], axes[:, 0]), np.arccos(np.clip(axes[:, 2], -1, 1))
        zeros = np.zeros_like(rot)
        to_axis = np.swapaxes(euler_to_matrix(np.rad2deg(np.stack([rot, tilt, zeros], -1))), -1, -2)
        agreeing, total = np.zeros(len(elements)), np.full(len(elements), 1e-6)
        for l, matrix in self.matrices.items():
            if l >= LEAST_TELLING:
                about_axis = harmonics.rotation_matrices(l, to_axis)
                order = np.arange(-l, l + 1)
                seen = np.einsum("ij,njm->nim", matrix, about_axis)
                power = np.einsum("nim,nim->nm", about_axis.conj(), seen).real
                power[:, l] = 0.0
                agreeing += (power * np.cos(order * angle[:, None])).sum(1)
                total += power.sum(1)
        # copies about axes of one kind are equals: their mean has less noise than the least of them
        kinds = [group.classes[1:] == kind for kind in np.unique(group.classes[1:])]
        return float(min(agreeing[kind].sum() / total[kind].sum() for kind in kinds))

    def psi_scores(self, group: Symmetry, rot_deg: np.ndarray, tilt_deg: np.ndarray, n_psi: int) -> np.ndarray:
        """(n, n_psi) the same for Rz(rot) Ry(tilt) Rz(psi), at psi in even steps over a turn."""
        terms = np.zeros((len(rot_deg), n_psi), complex)
        for l, basis in invariants(group.name, self.degree).items():
            seen = harmonics.seen_by_euler(basis.conj().T, rot_deg, tilt_deg, np.zeros_like(tilt_deg))
            product = np.einsum("nkm,nkp->nmp", seen.conj(), seen) * self.matrices[l].T
            terms[:, np.arange(-2 * l, 2 * l + 1) % n_psi] += diagonal_sums(product)
        return of_other_copies(np.fft.ifft(terms, axis=1).real * n_psi, group)


@lru_cache(maxsize=64)
def invariants(name: str, degree: int) -> dict[int, np.ndarray]:
    """Degree -> (2 l + 1, k) orthonormal functions that a group leaves alone, where there are any."""
    found = {}
    for l in range(1, degree + 1):
        values, vectors = np.linalg.eigh(harmonics.rotation_matrices(l, Symmetry(name).rotations).mean(0))
        if values[-1] > 0.5:
            found[l] = vectors[:, values > 0.5]
    return found


def diagonal_sums(matrices: np.ndarray) -> np.ndarray:
    """(n, 2 m - 1) sums over the diagonals of matrices (n, m, m): those below the main one first."""
    n, m, _ = matrices.shape
    skewed = np.zeros((n, m, 2 * m), matrices.dtype)
    skewed[..., :m] = matrices[..., ::-1]  # in rows one shorter, what has one difference of indices has one column
    return skewed.reshape(n, -1)[:, : m * (2 * m - 1)].reshape(n, m, 2 * m - 1).sum(1)


def of_other_copies(share, group: Symmetry):
    """Mean correlation with the copies but the map itself, from the share of power that the group's average keeps."""
    return (group.order * share - 1) / max(group.order - 1, 1)


def scan(power: AngularPower, group: Symmetry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of all orientations that differ for a group.

    Returns
    -------
    (n, 3, 3) rotations, (n,) scores, (n,) weights: the share of all orientations that each stands for
    """
    step_deg = power.width_deg / 2
    rot, tilt, weight = directions(group, step_deg)
    n_psi = max(4 * power.degree + 2, int(np.ceil(360 / step_deg)))
    psi = 360 / n_psi * np.arange(n_psi)
    parts = np.array_split(np.arange(len(rot)), -(-len(rot) // DIRECTIONS_AT_ONCE))
    scores = np.concatenate([power.psi_scores(group, rot[part], tilt[part], n_psi) for part in parts])
    euler = np.stack(np.broadcast_arrays(rot[:, None], tilt[:, None], psi), -1).reshape(-1, 3)
    return np.swapaxes(euler_to_matrix(euler), -1, -2), scores.ravel(), np.repeat(weight, n_psi)


def directions(group: Symmetry, step_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rot and tilt, deg, of the third column of a group's orientations that differ, and their weights."""
    if group.name[0] == "C":  # turning the axes about z changes nothing, turning them over neither
        tilt = np.arange(0, 90 + step_deg / 2, step_deg)
        return np.zeros_like(tilt), tilt, np.sin(np.deg2rad(np.maximum(tilt, step_deg / 4)))
    n = int(np.ceil(4 * np.pi / np.deg2rad(step_deg) ** 2))
    height = 1 - (2 * np.arange(n) + 1) / n
    rot = np.rad2deg(np.pi * (3 - np.sqrt(5)) * np.arange(n) + 1e-3) % 360 - 180  # a spiral by the golden angle
    tilt = np.rad2deg(np.arccos(height))
    unit = UNIT_OF.get(group.name) or (f"D{2 * int(group.name[1:])}" if group.name[0] == "D" else group.name)
    kept = Symmetry.parse(unit).asymmetric_unit(rot, tilt)
    return rot[kept], tilt[kept], np.ones(len(kept))


def distance_deg(group: Symmetry, rotations: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(n,) angle of the rotation between orientations (n, 3, 3) and another, least over what the group cannot tell."""
    if group.name[0] == "C":
        return np.rad2deg(np.arccos(np.clip(np.abs(rotations[:, 2] @ rotation[2]), 0, 1)))
    mates = group.normaliser @ rotation
    trace = np.einsum("nij,gij->ng", rotations, mates).max(1)
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def candidates(power: AngularPower, group: Symmetry, only_rot: bool) -> list[np.ndarray]:
    """Orientations to refine, the best first, none near another."""
    if only_rot:
        rot = np.arange(0, 360 / int(group.name[1:] or 1) if group.name[0] in "CD" else 360, power.width_deg / 2)
        zeros = np.zeros_like(rot)
        rotations = np.swapaxes(euler_to_matrix(np.stack([rot, zeros, zeros], -1)), -1, -2)
        scores = power.scores(group, rotations)
    else:
        rotations, scores, _ = scan(power, group)
    found: list[np.ndarray] = []
    left = np.argsort(-scores)
    while len(left) and len(found) < N_REFINED:
        found.append(rotations[left[0]])
        left = left[distance_deg(group, rotations[left], found[-1]) > 2 * power.width_deg]
    return found


# ---- one orientation and the centre ----------------------------------------------------------------------------------


def refine(
    working: WorkingMap, group: Symmetry, rotation: np.ndarray, keep_centre: bool = False, only_rot: bool = False
) -> tuple[float, np.ndarray, np.ndarray]:
    """Orientation and centre where the group's average keeps most of the map's variance.

    Returns
    -------
    share of the variance, (3, 3) rotation, (3,) centre x, y, z in px

    Source: docs/equations.md#align-symmetry     Cost: as many samples as the ball has, whatever the group
    """
    points = points_of_unit(working, group)
    copies = np.einsum("gij,jn->gin", group.rotations, points)  # places in the turned map
    gradient = [g.astype(np.float32) for g in np.gradient(working.volume)[::-1]]
    free = np.diag(np.array([not only_rot] * 2 + [True] + [not keep_centre] * 3, float))
    if group.name[0] == "C":  # a move along the axis changes nothing but what the ball holds
        free[3:, 3:] -= np.outer(rotation[2], rotation[2]) * (not keep_centre)

    def loss(parameters):
        turn = Rotation.from_rotvec(parameters[:3] / working.radius_px).as_matrix() @ rotation
        places = np.einsum("ji,gjn->ign", turn, copies) + (working.centre_px + parameters[3:])[:, None, None]
        values = harmonics.sample(working.volume, places).astype(float)
        slopes = np.array([harmonics.sample(g, places) for g in gradient], float)
        mean, total = values.mean(0), max(np.square(values).mean(0).sum(), 1e-30)
        share = float(np.square(mean).sum() / total)
        pull = (mean - share * values) * (2 / (total * len(copies)))  # of the share by each value
        of_turn = np.cross(copies, np.einsum("ij,jgn->gin", turn, slopes), axis=1)
        slope = np.concatenate([-np.einsum("gn,gin->i", pull, of_turn) / working.radius_px,
                                np.einsum("gn,ign->i", pull, slopes)])  # fmt: skip
        return -share, -free @ slope

    # a voxel at the rim is one unit; steps below a hundredth of it are of no use
    done = optimize.minimize(loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 1e-7})
    turn = Rotation.from_rotvec(done.x[:3] / working.radius_px).as_matrix()
    return -float(done.fun), turn @ rotation, working.centre_px + done.x[3:]


def points_of_unit(working: WorkingMap, group: Symmetry) -> np.ndarray:
    """(3, n) points x, y, z of a lattice in the ball, of the group's asymmetric unit alone."""
    step = max(1.0, working.limit_A / working.pixel_size_A / 3)
    reach = np.arange(step / 2, working.radius_px, step)
    line = np.concatenate([-reach[::-1], reach])  # the axes themselves lie between the points
    points = np.stack(np.meshgrid(line, line, line), -1).reshape(-1, 3)
    distance = np.linalg.norm(points, axis=1)
    points, distance = points[distance < working.radius_px], distance[distance < working.radius_px]
    rot, tilt = np.arctan2(points[:, 1], points[:, 0]), np.arccos(points[:, 2] / distance)
    return points[group.is_asymmetric(np.rad2deg(rot), np.rad2deg(tilt))].T


def nearest_to_input(group: Symmetry, rotation: np.ndarray, only_rot: bool = False) -> np.ndarray:
    """Of the orientations that show a group's axes in place, the one that turns the map least."""
    if group.name[0] == "C":
        return np.eye(3) if only_rot else _axis_to_z(rotation[2])
    mates = group.normaliser
    if only_rot:
        mates = mates[np.abs(mates[:, 2, 2] - 1) < 1e-6]
    mates = mates @ rotation
    return mates[np.argmax(np.trace(mates, axis1=1, axis2=2))]


def _axis_to_z(axis: np.ndarray) -> np.ndarray:
    """The smallest rotation that brings an axis, either way up, to z."""
    axis = axis if axis[2] >= 0 else -axis
    across = np.cross(axis, (0, 0, 1))
    sine = np.linalg.norm(across)
    if sine < 1e-12:
        return np.eye(3)
    return Rotation.from_rotvec(across / sine * np.arctan2(sine, axis[2])).as_matrix()


