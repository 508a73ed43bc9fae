"""Maps as spherical harmonics about a centre: what a rotation does to a map becomes small matrices.

On the sphere of radius r a map is f(r, x) = sum over l, m of f_lm(r) Y_lm(x). Turning its content by a rotation Q (a
point x goes to Q x) multiplies the coefficients of each degree l by the matrix D^l(Q). Orders m run from -l to l.
Source: docs/equations.md#harmonics
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage, special

from vitreous.model.rotation import matrix_to_euler

MOST_DEGREES = 24  # 7.5 degrees from a crest to the next trough; costs grow with the fourth power

ROWS_AT_ONCE = 16  # OpenBLAS starts threads at 2^16 multiplications, 26 rows of the highest degree


def expand(volume: np.ndarray, centre_px, radii_px, degree: int) -> list[np.ndarray]:
    """Coefficients of a map on spheres.

    Parameters
    ----------
    volume : (nz, ny, nx) float32
    centre_px : (3,) x, y, z from voxel n//2 of each axis
    radii_px : (n,) of the spheres; what lies beyond the box counts as 0
    degree : the highest l, at most ``MOST_DEGREES``

    Returns
    -------
    degree + 1 arrays (n, 2 l + 1) complex128

    Source: docs/equations.md#harmonics     Cost: 2 (degree + 1)^2 samples per sphere
    """
    cos_tilt, weight = special.roots_legendre(degree + 1)
    n_rot = 2 * degree + 2
    rot = 2 * np.pi / n_rot * np.arange(n_rot)
    sin_tilt = np.sqrt(1 - cos_tilt**2)
    points = np.stack(np.broadcast_arrays(sin_tilt[:, None] * np.cos(rot), sin_tilt[:, None] * np.sin(rot),
                                          cos_tilt[:, None]))  # fmt: skip
    places = np.asarray(radii_px, float)[None, :, None, None] * points[:, None] + np.reshape(centre_px, (3, 1, 1, 1))
    samples = sample(ndimage.spline_filter(np.asarray(volume, np.float64)), places, order=3)
    of_order = np.fft.fft(samples, axis=-1) * (2 * np.pi / n_rot)  # (n, tilt, m): integral of f exp(-i m rot)
    return [np.einsum("rtm,mt,t->rm", of_order[..., np.arange(-l, l + 1)], _legendre(l, cos_tilt), weight)
            for l in range(degree + 1)]  # fmt: skip


def sample(volume: np.ndarray, places: np.ndarray, order: int = 1) -> np.ndarray:
    """Values of a map, or of its spline of a higher order, at places (3, ...) x, y, z from voxel n//2; 0 outside."""
    centre = np.array(volume.shape).reshape((3,) + (1,) * (places.ndim - 1)) // 2
    return ndimage.map_coordinates(volume, places[::-1] + centre, order=order, mode="constant", prefilter=False)


def _legendre(l: int, cos_tilt: np.ndarray) -> np.ndarray:
    """(2 l + 1, n) float64: Y_lm at rot 0, m from -l to l, with the sign (-1)^m of Condon and Shortley."""
    orders = np.arange(l + 1)
    log_norm = (special.gammaln(l - orders + 1) - special.gammaln(l + orders + 1) + np.log((2 * l + 1) / (4 * np.pi))) / 2
    positive = special.lpmv(orders[:, None], l, cos_tilt) * np.exp(log_norm)[:, None]
    return np.concatenate([((-1.0) ** orders[1:, None] * positive[1:])[::-1], positive])


@cache
def _tilt_generator(l: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the generator of rotations about y."""
    m = np.arange(-l, l)
    step = np.sqrt(l * (l + 1) - m * (m + 1)) / 2
    values, vectors = np.linalg.eigh(np.diag(1j * step, 1) + np.diag(-1j * step, -1))
    return np.rint(values), vectors


def rotation_matrices(l: int, rotations) -> np.ndarray:
    """(n, 2 l + 1, 2 l + 1) complex128: D^l of rotation matrices (n, 3, 3) that act on points."""
    parts = np.array_split(np.eye(2 * l + 1), -(-(2 * l + 1) // ROWS_AT_ONCE))
    return np.concatenate([seen_by(part, rotations) for part in parts], axis=1)


def seen_by(rows: np.ndarray, rotations) -> np.ndarray:
    """(n, k, 2 l + 1) complex128: rows (k, 2 l + 1) times D^l of rotation matrices (n, 3, 3)."""
    return seen_by_euler(rows, *matrix_to_euler(np.swapaxes(np.asarray(rotations, float), -1, -2)).T)


def seen_by_euler(rows: np.ndarray, rot_deg, tilt_deg, psi_deg) -> np.ndarray:
    """(n, k, 2 l + 1) complex128: rows times D^l of Rz(rot) Ry(tilt) Rz(psi), the transpose of ``euler_to_matrix``."""
    l = rows.shape[1] // 2
    m = np.arange(-l, l + 1)
    values, vectors = _tilt_generator(l)
    angles = (np.deg2rad(np.asarray(angle, float))[:, None, None] for angle in (rot_deg, tilt_deg, psi_deg))
    rot, tilt, psi = angles
    out = rows * np.exp(-1j * rot * m)
    # a stack of small products, which BLAS does not spread over threads: here those would cost more than they bring
    return out @ vectors * np.exp(-1j * tilt * values) @ vectors.conj().T * np.exp(-1j * psi * m)
