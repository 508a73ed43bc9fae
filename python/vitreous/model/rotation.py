"""Rotations: Euler angles, matrices and the distance between two orientations.

A matrix A maps reference coordinates (x, y, z) to image coordinates; its third row is the projection direction. All
functions work on stacks: the axes named last are the matrix or angle axes. Angles are in degrees.
"""

from __future__ import annotations

import numpy as np


def euler_to_matrix(euler_deg) -> np.ndarray:
    """Matrices of ZYZ Euler angles.

    Parameters
    ----------
    euler_deg : (..., 3) float       rot, tilt, psi

    Returns
    -------
    (..., 3, 3) float64              reference to image; rows are the image axes in the reference

    Source: docs/equations.md#rotation
    """
    angles = np.deg2rad(np.asarray(euler_deg, float))
    ca, cb, cg = np.moveaxis(np.cos(angles), -1, 0)
    sa, sb, sg = np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def matrix_to_euler(matrix) -> np.ndarray:
    """ZYZ Euler angles of rotation matrices; rot is 0 where tilt is 0 or 180.

    Parameters
    ----------
    matrix : (..., 3, 3) float       proper rotations

    Returns
    -------
    (..., 3) float64                 rot and psi in [-180, 180], tilt in [0, 180]

    Source: docs/equations.md#rotation
    """
    a = np.asarray(matrix, float)
    sin_tilt = np.hypot(a[..., 0, 2], a[..., 1, 2])
    # Below this the direction of the projected axis is rounding: rot and psi are not separately defined.
    pole = sin_tilt < 1e-9
    rot = np.where(pole, 0.0, np.arctan2(a[..., 2, 1], a[..., 2, 0]))
    upright = np.sign(a[..., 2, 2])
    psi_at_pole = np.arctan2(-upright * a[..., 1, 0], upright * a[..., 0, 0])
    psi = np.where(pole, psi_at_pole, np.arctan2(a[..., 1, 2], -a[..., 0, 2]))
    tilt = np.arctan2(sin_tilt, a[..., 2, 2])
    return np.rad2deg(np.stack([rot, tilt, psi], -1))


def in_plane_matrix(psi_deg) -> np.ndarray:
    """Rotations of 2D references: the upper left corner [c s; -s c] of the matrix of (0, 0, psi).

    Parameters
    ----------
    psi_deg : (...) float

    Returns
    -------
    (..., 2, 2) float64
    """
    psi = np.asarray(psi_deg, float)
    zeros = np.zeros_like(psi)
    return euler_to_matrix(np.stack([zeros, zeros, psi], -1))[..., :2, :2]


def tilt_to_matrix(tilt_deg) -> np.ndarray:
    """Matrices of an exposure's tilt: R = Rz(z) Ry(y) Rx(x), each counter-clockwise seen from the axis' tip.

    Parameters
    ----------
    tilt_deg : (..., 3) float        about the source's x axis, then y, then in the image plane about z

    Returns
    -------
    (..., 3, 3) float64              source to image

    Source: docs/equations.md#rotation
    """
    angles = np.deg2rad(np.asarray(tilt_deg, float))
    cx, cy, cz = np.moveaxis(np.cos(angles), -1, 0)
    sx, sy, sz = np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def wrap_deg(angle_deg) -> np.ndarray:
    """Angles moved by whole turns into (-180, 180]."""
    return 180.0 - (180.0 - np.asarray(angle_deg, float)) % 360.0


def psi_distance_deg(a_deg, b_deg) -> np.ndarray:
    """Angle between two in-plane orientations, 0 to 180."""
    return np.abs(wrap_deg(np.asarray(a_deg, float) - np.asarray(b_deg, float)))


def angular_distance_deg(a, b, symmetry=None) -> np.ndarray:
    """Mean of the three angles between the rows of two matrices, least over a point group.

    Parameters
    ----------
    a, b : (..., 3, 3) float         orientations, reference to image
    symmetry : (n_s, 3, 3) float or None     the group's rotations R in the reference frame: b and b R are equivalent

    Returns
    -------
    (...) float64                    degrees, 0 to 180

    Source: docs/equations.md#rotation
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    mates = [b] if symmetry is None else [b @ r for r in np.asarray(symmetry, float)]
    # 2 asin(|difference| / 2) keeps its digits where the arc cosine of nearly 1 has lost them.
    half_chords = [np.clip(np.linalg.norm(a - mate, axis=-1) / 2, 0, 1) for mate in mates]
    return np.min([np.rad2deg(2 * np.arcsin(half)).mean(-1) for half in half_chords], 0)
