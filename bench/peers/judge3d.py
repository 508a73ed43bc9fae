"""How good is a 3D refinement, given the truth. Arrays in, figures out; knows nothing of the program judged.

A refined map may lie off the truth by a small turn Q and shift t, r' = Q r + t, with all its poses: that is no error.
"""

from __future__ import annotations

import judge
import numpy as np
import poses
import simulate
from scipy.spatial.transform import Rotation

N_ROUNDS = 5  # of choosing symmetry mates and the better half of the particles; three are enough from a near map
SOFT_EDGE_PX = 5.0


def pose_errors(euler_deg, true_euler_deg, origin_A, true_origin_A, operators):
    """Errors of poses about the turn and shift of the map as a whole, up to symmetry.

    Parameters
    ----------
    euler_deg, true_euler_deg : (n, 3) float64      rot, tilt, psi
    origin_A, true_origin_A : (n, 2) float64        x, y; the shift to apply
    operators : (m, 3, 3) float64                   v and R v of the map are equal

    Returns
    -------
    angle_deg : (n,) float64            of the rotation between each pose and its truth
    shift_A : (n,) float64              length of the shift error
    turn : (3, 3), shift : (3,)         Q and t (A) of the map
    """
    found, true = poses.euler_matrices(*euler_deg.T), poses.euler_matrices(*true_euler_deg.T)
    mates = np.einsum("nji,njk,okl->noil", found, true, operators)
    turn = np.eye(3)
    for _ in range(N_ROUNDS):
        cosine = (np.einsum("noij,ij->no", mates, turn) - 1) / 2
        nearest = mates[np.arange(len(mates)), cosine.argmax(1)]
        angle_deg = np.degrees(np.arccos(np.clip(cosine.max(1), -1, 1)))
        turn = Rotation.from_matrix(nearest[angle_deg <= np.median(angle_deg)]).mean().as_matrix()
    rows, moved = found[:, :2], origin_A - true_origin_A  # moved = rows t
    shift, good = np.zeros(3), np.ones(len(rows), bool)
    for _ in range(N_ROUNDS):
        shift = np.linalg.lstsq(rows[good].reshape(-1, 3), moved[good].ravel(), rcond=None)[0]
        shift_A = np.linalg.norm(moved - rows @ shift, axis=1)
        good = shift_A <= np.median(shift_A)
    return angle_deg, shift_A, turn, shift


def soft_sphere(box: int, radius_px: float) -> np.ndarray:
    """A sphere with a raised-cosine edge."""
    r = np.linalg.norm(np.mgrid[:box, :box, :box] - box // 2, axis=0)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((r - radius_px) / SOFT_EDGE_PX, 0, 1))


def shell_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Fourier shell correlation of two maps, shells 0..box//2."""
    box = len(a)
    rows = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(rows[:, None, None] ** 2 + rows[:, None] ** 2 + np.arange(box // 2 + 1) ** 2)
    shell = np.floor(radius + 0.5).astype(int).ravel()
    fa, fb = np.fft.rfftn(a), np.fft.rfftn(b)
    cross, pa, pb = (np.bincount(shell, x.ravel())[: box // 2 + 1]
                     for x in ((fa * fb.conj()).real, np.abs(fa) ** 2, np.abs(fb) ** 2))
    return cross / np.sqrt(np.maximum(pa * pb, 1e-300))


def true_resolution_A(volume, atoms_A, turn, shift, pixel_size_A: float, diameter_A: float) -> float:
    """FSC = 0.5 of a map with the true one, turned and shifted with it, within a soft sphere, A."""
    box = len(volume)
    mask = soft_sphere(box, diameter_A / (2 * pixel_size_A))
    truth = simulate.density(atoms_A @ turn.T + shift, box, pixel_size_A)
    return judge.resolution_A(shell_correlation(volume * mask, truth * mask), box, pixel_size_A)


def half_map_resolution_A(half1, half2, pixel_size_A: float, diameter_A: float) -> float:
    """FSC = 0.143 of two half maps within a soft sphere, A."""
    mask = soft_sphere(len(half1), diameter_A / (2 * pixel_size_A))
    return judge.resolution_A(shell_correlation(half1 * mask, half2 * mask), len(half1), pixel_size_A, 0.143)
