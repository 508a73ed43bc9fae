"""RELION's list of view directions of a point group, and weights carried from one list of directions to another.

RELION lists the HEALPix pixels of a closed asymmetric unit, and drops of short lists those whose mates it has. It makes
the list anew when it continues a run and goes by position, so a file that it reads must have the same one. As centres
on a boundary are in or out by their rounding, angles are computed here in RELION's order of operations. Source:
its lists of 19 groups at orders 0 to 8 (docs/decisions/0051-directions-for-relion.md).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from vitreous.model import healpix
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import I3_TILT_DEG, NORMALS_OF_I2, ON_BOUNDARY, SETTINGS, Symmetry, view_directions

# Inward normals of the planes that bound the units of T and O, with RELION's digits, and the range of rot, degrees.
NORMALS = {
    "T": ((-0.942809, 0, 0), (0.471405, 0.272165, 0.7698), (0.471404, 0.816497, 0)),
    "O": ((0, -1, 1), (1, 1, 0), (-1, 1, 0)),
}
ROT_DEG = {"T": (90, 150), "O": (45, 135)}
# Turns of the unit of I2 that give those of the other settings. That of I4 is a mate of ours.
TURNS = SETTINGS | {"I4": (-90, 90 - I3_TILT_DEG, 0)}
PRUNED = 4000  # directions; from so many on the mates on the seam stay


@lru_cache(maxsize=8)
def relion_pixels(be, order: int, symmetry: Symmetry) -> np.ndarray:
    """Pixels of RELION's list, in its order.

    Parameters
    ----------
    order : 0 to 8

    Returns
    -------
    (n_dir,) int64 nested numbers, ascending; not to be changed. Empty for I2 to I4 at orders at which RELION stops
    """
    rot, tilt = _angles_deg(be, order)
    pixels = np.flatnonzero(_inside(rot, tilt, symmetry))
    if len(pixels) >= PRUNED or symmetry.order == 1 or not len(pixels):
        return pixels
    views = view_directions(rot[pixels], tilt[pixels])
    return pixels[_without_mates(views, symmetry, 0.5 * _largest_radius(order))]


def relion_directions(be, order: int, symmetry: Symmetry) -> np.ndarray:
    """(n_dir, 2) rot and tilt of RELION's list, degrees."""
    return healpix.directions(be, order)[relion_pixels(be, order, symmetry)]


def _angles_deg(be, order: int):
    """rot in (-180, 180] and tilt of all pixels, rounded as RELION's: rot is a multiple of a ring's half step."""
    n_side = 2**order
    z_phi = np.empty((healpix.n_directions(order), 2))
    be.lib.healpix_directions(order, z_phi)
    z, phi = z_phi.T
    ring = np.where(np.abs(z) < 2 / 3 + 1e-9, n_side, np.rint(n_side * np.sqrt(3 * (1 - np.abs(z)))))
    rot = 0.5 * np.rint(phi * ring / (np.pi / 4)) * (np.pi / 2 / ring) * 180 / np.pi
    return np.where(rot > 180, rot - 360, rot), np.arccos(z) * 180 / np.pi


def _inside(rot, tilt, symmetry: Symmetry) -> np.ndarray:
    """Whether directions lie in RELION's unit, its boundary included."""
    kind = symmetry.name[0]
    if kind in "CD":
        centre, half = (0 if kind == "C" else 90), 180 / int(symmetry.name[1:])
        around = (rot >= centre - half) & (rot <= centre + half) | (half == 180)
        return around & ((tilt <= 90) | (kind == "C"))
    if kind == "I":
        normals = np.array(NORMALS_OF_I2) @ euler_to_matrix(TURNS[symmetry.name]).T
        return (view_directions(rot, tilt) @ normals.T >= -ON_BOUNDARY).all(1)
    first, last = ROT_DEG[kind]
    a, b = rot * np.pi / 180, tilt * np.pi / 180
    x, y, z = np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)
    inside = (rot >= first) & (rot <= last) & ((tilt <= 90) | (kind == "T"))
    for u, v, w in NORMALS[kind]:
        inside &= x * u + y * v + z * w >= 0
    return inside


def _largest_radius(order: int) -> float:
    """Greatest distance of a pixel's centre from its corners, radians (healpix's max_pixrad)."""
    n_side = 2**order
    z = np.array([2 / 3, 1 - (1 - 1 / n_side) ** 2 / 3])
    phi = np.array([np.pi / (4 * n_side), 0])
    a, b = np.column_stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z])
    return float(np.arccos(a @ b))


def _without_mates(views, symmetry: Symmetry, least_rad: float) -> np.ndarray:
    """(n,) bool: directions that are not nearer than ``least_rad`` to a mate of one kept before them."""
    n, kept = len(views), np.ones(len(views), bool)
    mates = (views @ symmetry.rotations[1:]).reshape(-1, 3)
    near = cKDTree(mates).query_ball_point(views, 2 * np.sin(least_rad / 2))
    for i, found in enumerate(near):
        before = np.array(found, np.int64) % n
        kept[i] = not kept[before[before < i]].any()
    return kept


def carried(weights: np.ndarray, from_deg: np.ndarray, to_deg: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Weights of the directions of another list: each has that of the nearest one, or mate, of the first list.

    Parameters
    ----------
    weights : (K, n_from) float64      share of each class and direction
    from_deg, to_deg : (n_from, 2), (n_to, 2) rot, tilt

    Returns
    -------
    (K, n_to) float64      with the sum of each class as it was
    """
    mates = (view_directions(*from_deg.T) @ symmetry.rotations).reshape(-1, 3)
    nearest = cKDTree(mates).query(view_directions(*to_deg.T))[1] % len(from_deg)
    out = np.asarray(weights, float)[:, nearest]
    sums = out.sum(1, keepdims=True)
    return out * np.divide(weights.sum(1, keepdims=True), sums, out=np.zeros_like(sums), where=sums > 0)
