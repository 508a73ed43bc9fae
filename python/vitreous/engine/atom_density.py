"""The potential of atoms on a grid, without what lies beyond the grid's Nyquist frequency."""

from __future__ import annotations

import numpy as np
import scipy.fft

from vitreous.model.atoms import Atoms

# Atoms are sharper than pixels. They are summed on a grid that is finer by this factor after a blur with the B-factor
# BLUR pixel^2, which is taken away again in Fourier space: what folds back into the band is then less than 1e-3 of what
# is there, exp(-BLUR (1 - 1/4) / 4), and the blur's inverse amplifies rounding by 10 at the most, exp(BLUR / 16).
FINER = 1.5
BLUR = 37.0
REACH_SD = 4.5  # an atom ends at this many standard deviations of its widest term
CHUNK_VOXELS = 4 << 20  # of atoms summed at a time


def density(atoms: Atoms, box: int, pixel_size_A: float) -> np.ndarray:
    """Sum of the atoms' potentials at the voxel centres; the origin of the positions is the centre of the box.

    Parameters
    ----------
    box : even

    Returns
    -------
    (box, box, box) float32         zyx; unit 1/A^2, of the scattering factor's transform

    Source: docs/equations.md#atoms
    Raises  ValueError: an atom is outside of the box.        Cost: O(n_atoms), some 10^4 voxels an atom
    """
    fine = 2 * scipy.fft.next_fast_len(int(np.ceil(FINER * box / 2)), real=True)  # even as the box: the centres agree
    step_A = box * pixel_size_A / fine
    blur_A2 = BLUR * pixel_size_A**2
    grid = _summed(atoms, fine, step_A, blur_A2)
    ft = scipy.fft.rfftn(grid, overwrite_x=True)
    f = scipy.fft.fftfreq(box, pixel_size_A)
    # the fine grid's index of each frequency; the Nyquist planes lie beyond the sphere that is kept
    at = np.r_[0 : box // 2, fine - box // 2 : fine]
    ft = ft[np.ix_(at, at, np.arange(box // 2 + 1))]
    f2 = f[:, None, None] ** 2 + f[:, None] ** 2 + scipy.fft.rfftfreq(box, pixel_size_A) ** 2
    ft *= np.where(f2 < (0.5 / pixel_size_A) ** 2, np.exp(0.25 * blur_A2 * f2), 0).astype(np.float32)
    return scipy.fft.irfftn(ft, s=(box,) * 3) * np.float32((box / fine) ** 3)


def _summed(atoms, n, step_A, blur_A2):
    """(n, n, n) float32 sum of blurred atoms."""
    grid = np.zeros((n,) * 3, np.float32)
    nearest = np.rint(atoms.position_A / step_A).astype(np.int64)
    rest_A = nearest * step_A - atoms.position_A
    order = np.argsort(atoms.b_factor_A2, kind="stable")  # so that atoms of one chunk reach equally far
    start = 0
    while start < len(order):
        width_A2 = atoms.width_A2.max() + blur_A2 + atoms.b_factor_A2[order[min(start + 1000, len(order) - 1)]]
        reach = int(np.ceil(REACH_SD * np.sqrt(width_A2 / (8 * np.pi**2)) / step_A))
        n_taps = 2 * reach + 1
        rows = order[start : start + min(max(CHUNK_VOXELS // n_taps**3, 1), 1000)]
        start += len(rows)
        corners = nearest[rows] + n // 2 - reach
        if corners.min() < 0 or corners.max() + n_taps > n:
            raise ValueError(f"density: an atom reaches to {max(-corners.min(), corners.max() + n_taps - n)} grid points "
                             "outside of the box; expected atoms within: enlarge the box")  # fmt: skip
        blocks = _blocks(atoms, rows, rest_A[rows], np.arange(-reach, reach + 1) * step_A, blur_A2)
        for (x, y, z), block in zip(corners, blocks):
            grid[z : z + n_taps, y : y + n_taps, x : x + n_taps] += block
    return grid


def _blocks(atoms, rows, rest_A, axis_A, blur_A2):
    """(n, taps, taps, taps) float32: each atom on its own grid points, as a sum of products of three profiles."""
    kind = atoms.kind[rows]
    width_A2 = atoms.width_A2[kind] + (atoms.b_factor_A2[rows] + blur_A2)[:, None]  # (n, n_terms)
    height = atoms.occupancy[rows, None] * atoms.amplitude_A[kind] * (4 * np.pi / width_A2) ** 1.5
    distance_A = axis_A + rest_A[:, :, None]  # (n, 3, taps)
    profile = np.exp(-4 * np.pi**2 * distance_A[:, None] ** 2 / width_A2[:, :, None, None]).astype(np.float32)
    x, y, z = profile[:, :, 0], profile[:, :, 1], profile[:, :, 2] * height[:, :, None].astype(np.float32)
    zy = z[:, :, :, None] * y[:, :, None, :]  # (n, n_terms, taps, taps)
    taps = len(axis_A)
    return np.matmul(zy.reshape(len(rows), -1, taps * taps).swapaxes(1, 2), x).reshape(len(rows), taps, taps, taps)
