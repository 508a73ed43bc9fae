"""Point groups: their rotations, and an asymmetric unit of view directions.

The axes stand as RELION's do: the main axis of Cn, Dn and T along z, a twofold axis of Dn along x, O with fourfold axes
along x, y, z, I in the four settings I1 to I4 (I is I2). A rotation R acts on points (x, y, z) of the map, which has
equal values at v and R v; orientations A and A R are equivalent. Source: docs/equations.md#symmetry
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitreous.errors import InputError
from vitreous.model.rotation import euler_to_matrix, matrix_to_euler

X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
GOLDEN = (1 + np.sqrt(5)) / 2
# Twofold, fivefold and threefold axes of the icosahedral settings; each is normalised below.
I2_FIVEFOLD, I2_THREEFOLD = (1.0, 0.0, GOLDEN), (0.0, 1.0, GOLDEN**2)
# Angle about y between a fivefold axis and the nearest twofold one: what I3 and I4 are turned by against I2.
I3_TILT_DEG = float(np.rad2deg(np.arctan2(1.0, GOLDEN)))
SETTINGS = {"I2": (0, 0, 0), "I1": (0, 90, 0), "I3": (0, I3_TILT_DEG, 0), "I4": (0, -I3_TILT_DEG, 0)}
# Planes through the origin that bound an asymmetric unit; a direction is inside where all products are at least 0.
T_NORMALS = (
    (-np.sqrt(8) / 3, 0, 0),
    (np.sqrt(2) / 3, np.sqrt(2 / 27), np.sqrt(16 / 27)),
    (np.sqrt(2) / 3, np.sqrt(2 / 3), 0),
)
NORMALS_OF_I2 = ((0, 1, 0), (-0.5, -GOLDEN / 2, 0.5 / GOLDEN), (0.5, -GOLDEN / 2, 0.5 / GOLDEN))
# Directions this close to a boundary of the unit sphere count as on it: angles are written with six decimals.
ON_BOUNDARY = 1e-7


@dataclass(frozen=True)
class Symmetry:
    """A point group.

    Attributes
    ----------
    name : as RELION writes it: C1, D7, T, O, I2, ...
    """

    name: str

    @classmethod
    def parse(cls, text: str) -> Symmetry:
        """The group of a --sym; raises InputError for what is none, or one with mirrors."""
        name = str(text).strip().upper()
        match = re.fullmatch(r"([CD])0*([1-9]\d{0,3})|[TO]|I[1-4]?", name)
        if not match:
            raise InputError(
                f"--sym: found {text}, which is no point group of rotations, expected Cn, Dn, T, O, I or I1 to I4; molecules are "
                "chiral, so groups with mirrors (S, V, H, TH, OH, IH) are not among them"
            )
        name = match[1] + match[2] if match[1] else name
        return cls("I2" if name == "I" else name)

    @property
    def order(self) -> int:
        """Number of rotations, the identity among them."""
        return len(self.rotations)

    @cached_property
    def rotations(self) -> np.ndarray:
        """(order, 3, 3) float64: the group, the identity first."""
        return close([axis_rotation(axis, fold) for axis, fold in self._generators()])

    @property
    def copies(self) -> tuple[int, int, int, int, int]:
        """Numbers of rotations by what it takes to interpolate their copies on a cubic lattice.

        Nothing, where it maps the lattice onto itself; all axes but x, but y, or but z, which it maps onto an axis
        of the lattice; all axes.
        """
        whole = np.abs(self.rotations) == 1  # (order, 3, 3): the row is plus or minus that axis
        n_whole = whole.sum((1, 2))
        spared = [int((whole[:, :, i].any(1) & (n_whole == 1)).sum()) for i in range(3)]
        return (int((n_whole == 3).sum()), *spared, int((n_whole == 0).sum()))

    @cached_property
    def cosets(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations C (m, 3, 3) and H (n, 3, 3), the identity first in both, such that every rotation is one c h.

        H are those that map a cubic lattice onto itself: copies of H are read, only those of C are interpolated.
        """
        exact = self.rotations[(self.rotations == np.rint(self.rotations)).all((1, 2))]
        chosen, covered = [], np.zeros((0, 3, 3))
        for rotation in self.rotations:
            if not len(covered) or np.abs(covered - rotation).max((1, 2)).min() > 1e-6:
                chosen.append(rotation)
                covered = np.concatenate([covered, rotation @ exact])
        return np.array(chosen), exact

    @cached_property
    def classes(self) -> np.ndarray:
        """(order,) int64: conjugacy class of each rotation: those of one class are alike but for their axes' places."""
        turns = self.rotations
        found = np.full(len(turns), -1)
        for i, element in enumerate(turns):
            if found[i] < 0:
                mates = turns @ element @ np.swapaxes(turns, 1, 2)
                found[np.abs(turns[:, None] - mates).max((2, 3)).min(1) < 1e-6] = i
        return found

    @cached_property
    def normaliser(self) -> np.ndarray:
        """(m, 3, 3) float64: the rotations that bring the group's axes onto each other, the group among them.

        A map that has the group in place has it after any of these. For Cn, where they are all turns about z, and the
        halves that turn z over, the group alone.
        """
        if self.name == "D2":
            return Symmetry("O").rotations
        if self.name[0] == "D":
            return Symmetry(f"D{2 * int(self.name[1:])}").rotations
        if self.name == "T":
            quarters = [(axis, 4) for axis, fold in self._generators() if fold == 2]
            return close([axis_rotation(axis, fold) for axis, fold in [*self._generators(), *quarters]])
        return self.rotations

    def _generators(self) -> list[tuple]:
        kind, number = self.name[0], int(self.name[1:] or 0)
        if kind == "C":
            return [(Z, number)]
        if kind == "D":
            return [(Z, number), (X, 2)]
        if kind == "T":
            return [(Z, 3), ((0, np.sqrt(2 / 3), np.sqrt(1 / 3)), 2)]
        if kind == "O":
            return [((1, 1, 1), 3), (Z, 4)]
        turn = euler_to_matrix(SETTINGS[self.name])
        return [(turn @ np.array(axis), fold) for axis, fold in ((Z, 2), (I2_FIVEFOLD, 5), (I2_THREEFOLD, 3))]

    def is_asymmetric(self, rot_deg, tilt_deg) -> np.ndarray:
        """Whether view directions lie in the asymmetric unit, its boundary partly included.

        Parameters
        ----------
        rot_deg, tilt_deg : (n,) float

        Returns
        -------
        (n,) bool
        """
        rot, tilt = np.asarray(rot_deg, float), np.asarray(tilt_deg, float)
        kind, number = self.name[0], int(self.name[1:] or 0)
        if kind in "CD":
            centre, half = (0, 180 / number) if kind == "C" else (90, 180 / number)
            off = (rot - centre + 180) % 360 - 180
            upper = tilt <= 90 + 1e-9 if kind == "D" else True
            return (off >= -half - 1e-9) & (off < half - 1e-9) & upper
        return (view_directions(rot, tilt) @ self._normals().T >= -ON_BOUNDARY).all(1)

    def asymmetric_unit(self, rot_deg, tilt_deg, seam_deg: float = 0.0) -> np.ndarray:
        """Indices of the view directions of a grid that an asymmetric unit needs.

        Parameters
        ----------
        rot_deg, tilt_deg : (n,) float   a grid over the whole sphere
        seam_deg : a direction nearer than this to a mate of one that is kept is left out; half the radius of a pixel
            removes the pairs on the seam of the unit. Costs n^2 order / 8 for n of the unit: for coarse ones

        Returns
        -------
        (m,) int64
        """
        inside = np.flatnonzero(self.is_asymmetric(rot_deg, tilt_deg))
        if self.order == 1 or not seam_deg > 0:
            return inside
        directions = view_directions(np.asarray(rot_deg, float)[inside], np.asarray(tilt_deg, float)[inside])
        near = np.zeros((len(inside),) * 2, bool)
        for rotation in self.rotations[1:]:
            near |= directions @ rotation @ directions.T > np.cos(np.deg2rad(seam_deg))
        kept = np.ones(len(inside), bool)
        for i in range(1, len(inside)):
            kept[i] = not (near[i, :i] & kept[:i]).any()
        return inside[kept]

    def _normals(self) -> np.ndarray:
        """(3, 3) float64 inward normals of the asymmetric unit of T, O or I."""
        if self.name == "T":
            return np.array(T_NORMALS)
        if self.name == "O":
            return np.array([(0, -1, 1), (1, 1, 0), (-1, 1, 0)]) / np.sqrt(2)
        return np.array(NORMALS_OF_I2) @ euler_to_matrix(SETTINGS[self.name]).T

    def expand(self, euler_deg) -> np.ndarray:
        """All equivalent orientations.

        Parameters
        ----------
        euler_deg : (n, 3) float         rot, tilt, psi

        Returns
        -------
        (n, order, 3) float64            the first of each is the one given, unchanged
        """
        euler_deg = np.asarray(euler_deg, float)
        mates = matrix_to_euler(euler_to_matrix(euler_deg)[:, None] @ self.rotations)
        mates[:, 0] = euler_deg
        return mates


def view_directions(rot_deg, tilt_deg) -> np.ndarray:
    """(n, 3) float64 unit vectors: the third row of the matrix of rot and tilt."""
    rot, tilt = np.deg2rad(np.asarray(rot_deg, float)), np.deg2rad(np.asarray(tilt_deg, float))
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], -1)


def axis_rotation(axis, fold: int) -> np.ndarray:
    """(3, 3) rotation by 1/fold of a turn about an axis of any length."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    angle = 2 * np.pi / fold
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def close(generators) -> np.ndarray:
    """(order, 3, 3) all products of some rotations, the identity first."""
    found = [np.eye(3)]
    for element in found:  # grows while it is gone through
        for generator in generators:
            product = element @ generator
            if min(np.abs(product - known).max() for known in found) > 1e-6:
                found.append(product)
    return _orthonormal(np.array(found))


def _orthonormal(matrices) -> np.ndarray:
    """The nearest rotations, as products of many have gathered rounding; 0, 1/2, 1 are exact where meant."""
    u, _, v = np.linalg.svd(matrices)
    found = u @ v
    halves = np.rint(2 * found) / 2
    return np.where(np.abs(found - halves) < 1e-12, halves, found)
