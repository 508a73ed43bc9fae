"""A micrograph made ready for picking: outliers removed, mean 0 and standard deviation 1, in a square."""

from __future__ import annotations

import numpy as np

from vitreous.engine.pick_size import WorkSize
from vitreous.errors import InputError

NOISE_STREAM = 0x7069636B  # keeps these random numbers apart from others of the same seed
ROWS_AT_ONCE = 64


def normalise(image: np.ndarray, outlier_sd: float) -> np.ndarray:
    """Mean 0, standard deviation 1; pixels further than ``outlier_sd`` standard deviations away become the mean.

    Parameters
    ----------
    image : (ny, nx) float32
    outlier_sd : 0 or less = keep all

    Returns
    -------
    (ny, nx) float32

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
    out = np.empty(image.shape, np.float32)
    for part in parts:
        values = np.subtract(image[part], np.float32(mean), out=out[part])
        values *= np.float32(1 / sd)
        if outlier_sd > 0 and max(values.max(), -values.min()) > outlier_sd:
            values[np.abs(values) > outlier_sd] = 0
    return out


def _deviation(image, parts, mean):
    total = 0.0
    for part in parts:
        values = (image[part] - np.float32(mean)).ravel()
        total += float(np.dot(values, values))
    return np.sqrt(total / image.size)


def square(image: np.ndarray, size: WorkSize, seed: int) -> np.ndarray:
    """The image in the middle of a square of ``size.full`` px; around it is white noise of standard deviation 1.

    Parameters
    ----------
    image : (ny, nx) float32
    seed : of this micrograph's noise

    Returns
    -------
    (full, full) float32
    """
    ny, nx = image.shape
    n = size.full
    if (ny, nx) == (n, n):
        return image
    out = np.random.default_rng([NOISE_STREAM, seed]).standard_normal((n, n), np.float32)
    y, x = n // 2 - ny // 2, n // 2 - nx // 2
    out[y : y + ny, x : x + nx] = image
    return out
