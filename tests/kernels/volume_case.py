"""Cases of the 3D slice kernels, and their float64 oracle from the definition."""

import numpy as np

from vitreous.model.band import Band
from vitreous.model.rotation import euler_to_matrix


def hermitian(rng, n_vol, n):
    """(n_vol, 2n+1, 2n+1, n+1) complex64 half transforms of real maps."""
    shape = (n_vol, 2 * n + 1, 2 * n + 1, n + 1)
    volume = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    plane = volume[..., 0]
    volume[..., 0] = (plane + plane[:, ::-1, ::-1].conj()) / 2
    return volume


def case(n_vol=2, n_row=6, radius=9.0, band_radius=4, box=24, seed=0):
    rng = np.random.default_rng(seed)
    band = Band(box, band_radius)
    euler = rng.uniform(-180, 180, (n_row, 3))
    matrix = 2 * euler_to_matrix(euler)[:, :2].transpose(0, 2, 1)
    class_of = rng.integers(0, n_vol, n_row).astype(np.int32)
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    return hermitian(rng, n_vol, int(radius) + 2), class_of, np.ascontiguousarray(matrix, np.float32), kx, ky, radius


def trilinear(volume, points):
    """Values (n,) complex128 of one half transform at points (n, 3) x, y, z, in samples."""
    n = volume.shape[-1] - 1
    mate = points[:, 0] < 0
    points = np.where(mate[:, None], -points, points)
    low = np.floor(points).astype(int)
    rest = points - low
    out = np.zeros(len(points), complex)
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (low + corner).T
        share = np.prod(np.where(corner, rest, 1 - rest), axis=1)
        out += share * volume[z + n, y + n, x].astype(complex)
    return np.where(mate, out.conj(), out)


def slice_at(volume, matrix, kx, ky, radius):
    """(n_k,) complex128 slice of one volume."""
    points = (matrix.astype(float) @ np.stack([kx, ky]).astype(float)).T
    inside = np.linalg.norm(points, axis=1) <= radius
    return np.where(inside, trilinear(volume, np.where(inside[:, None], points, 0)), 0)
