"""How well class averages resolve what was simulated. Arrays in, figures out; knows nothing of the program judged."""

from __future__ import annotations

import numpy as np
import simulate

MIN_SHARE = 0.03  # a class with less is empty for the purpose of a gallery or a resolution


def ring_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Fourier ring correlation of two images, rings 0..box//2."""
    box = len(a)
    fa, fb = np.fft.rfft2(a), np.fft.rfft2(b)
    kx, ky, _, _ = simulate.frequencies(box, 1.0)
    ring = np.floor(np.hypot(kx, ky) + 0.5).astype(int).ravel()
    cross, pa, pb = (np.bincount(ring, x.ravel(), box)[: box // 2 + 1]
                     for x in ((fa * fb.conj()).real, np.abs(fa) ** 2, np.abs(fb) ** 2))
    return cross / np.sqrt(np.maximum(pa * pb, 1e-300))


def resolution_A(frc: np.ndarray, box: int, pixel_size_A: float, threshold: float = 0.5) -> float:
    """Where a ring correlation first falls below the threshold, interpolated; ring 1 to Nyquist."""
    below = np.flatnonzero(frc[1:] < threshold) + 1
    if not len(below):
        return 2 * pixel_size_A
    i = below[0]
    ring = 1.0 if i == 1 else i - 1 + (frc[i - 1] - threshold) / (frc[i - 1] - frc[i])
    return box * pixel_size_A / ring


def best_match(average: np.ndarray, view: int, turn_deg: float, n_views: int, atoms_A, pixel_size_A: float, mask):
    """The true projection of a view, turned (within 8 degrees of ``turn_deg``) and shifted onto a class average."""
    box = len(average)
    kx, ky, k2, _ = simulate.frequencies(box, pixel_size_A)
    rot, tilt = simulate.view_directions(n_views)[view - 1]
    ft = np.fft.rfft2(average)
    best = (-np.inf, None)
    for step in np.arange(-8, 8.5, 1.0):
        xy = atoms_A @ simulate.rotation(rot, tilt, turn_deg + step)[:2].T
        truth = simulate.project_ft(xy, box, pixel_size_A) * np.exp(-simulate.B_FACTOR_A2 / 4 * k2) * (-1.0) ** (kx + ky)
        n_up = 4  # quarter pixels
        product = np.zeros((n_up * box, n_up * box // 2 + 1), complex)
        rows = np.fft.fftfreq(box, 1 / box).astype(int)
        product[rows, : box // 2 + 1] = ft * truth.conj()
        correlation = np.fft.irfft2(product)
        peak = correlation.max() / np.linalg.norm(truth)
        if peak > best[0]:
            sy, sx = (wrap / n_up for wrap in np.unravel_index(correlation.argmax(), correlation.shape))
            moved = np.fft.irfft2(truth * np.exp(-2j * np.pi * (kx * sx + ky * sy) / box), s=(box, box))
            best = (peak, moved)
    return best[1] * mask


def soft_mask(box: int, radius_px: float, edge_px: float = 5.0) -> np.ndarray:
    """A disc with a raised-cosine edge."""
    r = np.hypot(*(np.mgrid[:box, :box] - box // 2))
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((r - radius_px) / edge_px, 0, 1))


def true_resolutions(averages, share, class_number, view, turn, n_views, atoms_A, pixel_size_A, diameter_A):
    """FRC = 0.5 with the true projection of its main view, in A, for every class with at least MIN_SHARE."""
    box = averages.shape[-1]
    mask = soft_mask(box, diameter_A / (2 * pixel_size_A))
    found = []
    for i in np.flatnonzero(share >= MIN_SHARE):
        member = class_number == i + 1
        main_view = int(np.bincount(view[member]).argmax()) if member.any() else 0
        if (i + 1, main_view) not in turn:
            continue
        truth = best_match(averages[i], main_view, turn[(i + 1, main_view)], n_views, atoms_A, pixel_size_A, mask)
        found.append(resolution_A(ring_correlation(averages[i] * mask, truth), box, pixel_size_A))
    return np.array(found)
