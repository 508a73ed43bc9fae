"""A micrograph made ready for picking: outliers removed, mean 0 and standard deviation 1, in a square of noise."""

from __future__ import annotations

import numpy as np

from vitreous.engine.pick_size import WorkSize
from vitreous.errors import InputError
from vitreous.kernels_pick import inverse_maps, lowest_frequencies

NOISE_STREAM = 0x7069636B  # keeps these random numbers apart from others of the same seed
ROWS_AT_ONCE = 64


def level(image: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of an image.

    Parameters
    ----------
    image : (ny, nx) float32

    Raises  InputError: pixels that are no numbers, or all alike.
    """
    parts = [
        slice(i, i + ROWS_AT_ONCE) for i in range(0, len(image), ROWS_AT_ONCE)
    ]  # a part at a time stays in the cache
    mean = sum(float(image[part].sum()) for part in parts) / image.size
    sd = _deviation(image, parts, mean) if np.isfinite(mean) else np.nan
    if not np.isfinite(sd):
        n_bad = int(image.size - np.isfinite(image).sum())
        raise InputError(
            f"found {n_bad} of {image.size} pixels that are no finite numbers, expected none; make the micrograph again"
        )
    if sd <= 1e-6 * max(abs(mean), 1e-30):
        raise InputError(
            f"all pixels are {mean:g}, expected an image; make the micrograph again, or take it from the list"
        )
    return mean, sd


def _deviation(image, parts, mean):
    total = 0.0
    for part in parts:
        values = (image[part] - np.float32(mean)).ravel()
        total += float(np.dot(values, values))
    return np.sqrt(total / image.size)


def transforms(
    be, image: np.ndarray, size: WorkSize, n: int, *, outlier_sd: float, seed: int, highpass=None, squared=False
) -> np.ndarray:
    """Lowest frequencies of a normalised micrograph in the middle of a square, around it white noise of deviation 1.

    Parameters
    ----------
    image : (ny, nx) float32
    n : side of the half transforms
    outlier_sd : pixels further than so many standard deviations away become the mean; 0 or less = keep all
    seed : of this micrograph's noise
    highpass : (full, full//2 + 1) float32 that the square is filtered with, or None
    squared : transform the squares of the square's pixels as well

    Returns
    -------
    (1 or 2, n, n//2 + 1) complex64

    Raises  InputError: as ``level``.
    """
    mean, sd = level(image)
    (ny, nx), full = image.shape, size.full
    rng = np.random.default_rng([NOISE_STREAM, seed])
    around = rng.standard_normal(full**2 - ny * nx, np.float32)
    corner = full // 2 - ny // 2, full // 2 - nx // 2
    normal = {"mean": mean, "factor": float(np.float32(1 / sd)), "limit": outlier_sd if outlier_sd > 0 else np.inf}
    if highpass is None:
        return lowest_frequencies(be, image, around, corner, full, n, **normal, squared=squared)
    ft = lowest_frequencies(be, image, around, corner, full, full, **normal)[0]
    square = inverse_maps(be, ft, highpass[None], full)[0]
    return lowest_frequencies(be, square, around[:0], (0, 0), full, n, squared=squared)
