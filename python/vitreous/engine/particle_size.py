"""How large particles are: from blobs in micrographs before anything is known, then from class averages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from vitreous.engine.auto_choices import Choice
from vitreous.engine.pick_log import LogSettings, log_gains
from vitreous.engine.pick_size import WorkSize, crop, forward, inverse

# Diameters that are tried, in A, an eighth of an octave apart.
OUTLIER_SD = 8.0  # as in picking
SMALLEST_A, LARGEST_A, STEPS_PER_OCTAVE = 60.0, 800.0, 6
PIXELS_PER_DIAMETER = 6  # of the smallest one
QUANTILE = 0.7  # of the blobs of one size: particles may be the fewer ones, ice and carbon are fewer still
EDGE_SHARE = 0.3  # of an average's brightest parts: its edge
FEWEST_PEAKS = 15  # of one size in all micrographs, of which the median means something


def tried_A(side_A: float) -> np.ndarray:
    """Diameters that micrographs of this side can tell."""
    largest = min(LARGEST_A, side_A / 6)
    n = max(int(STEPS_PER_OCTAVE * np.log2(largest / SMALLEST_A)), 3)
    return SMALLEST_A * 2 ** (np.arange(n) / STEPS_PER_OCTAVE)


def blob_excess(micrograph: np.ndarray, pixel_size_A: float, diameters_A: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """How much darker dark blobs of each size are than bright ones, which noise has alike.

    Parameters
    ----------
    micrograph : (ny, nx) float          dark particles; the central square is used
    diameters_A : of the blobs

    Returns
    -------
    (n_diameters,) float64               median response of dark blobs less that of bright ones, over the noise
    (n_diameters,) int64                 blobs
    """
    side = min(micrograph.shape) // 2 * 2
    y, x = ((n - side) // 2 for n in micrograph.shape)
    image = np.asarray(micrograph[y : y + side, x : x + side], np.float32)
    image = (image - image.mean()) / max(float(image.std()), 1e-20)
    image[np.abs(image) > OUTLIER_SD] = 0
    work = min(2 * int(side * pixel_size_A * PIXELS_PER_DIAMETER / diameters_A[0] / 2), side)
    size = WorkSize(side, side, side, work, work)
    ft = crop(forward(image), work)
    gains = log_gains(size, LogSettings(diameters_A[0], diameters_A[-1], pixel_size_A), diameters_A)
    excess, counts = [], []
    for gain, diameter_A in zip(gains, diameters_A):
        response = inverse(ft * gain)
        width = int(diameter_A / (pixel_size_A * side / work)) | 1
        dark = response[response == ndimage.maximum_filter(response, width, mode="wrap")]
        bright = response[response == ndimage.minimum_filter(response, width, mode="wrap")]
        noise = np.median(np.abs(response - np.median(response)))
        strong = np.quantile(dark, QUANTILE) + np.quantile(bright, 1 - QUANTILE)
        excess.append(strong / max(float(noise), 1e-20))
        counts.append(len(dark))
    return np.array(excess), np.array(counts)


def diameter_of_blobs(micrographs: Iterable[np.ndarray], pixel_size_A: float) -> Choice:
    """Diameter of the particles in micrographs, A; None where no size stands out."""
    found, counts, tried = [], 0, None
    for micrograph in micrographs:
        tried = tried_A(min(micrograph.shape) * pixel_size_A) if tried is None else tried
        excess, n = blob_excess(micrograph, pixel_size_A, tried)
        found.append(excess)
        counts = counts + n
    excess = np.median(found, axis=0)
    excess[counts < FEWEST_PEAKS] = 0
    sure = excess * np.sqrt(counts)
    best = int(np.argmax(sure))
    if sure[best] <= 0:
        return Choice(None, "blobs of no size are darker than chance has them")
    near = slice(max(best - STEPS_PER_OCTAVE // 2, 0), best + STEPS_PER_OCTAVE // 2 + 1)
    weight = np.maximum(excess[near], 0)
    blob_A = float(np.exp(weight @ np.log(tried[near]) / weight.sum()))
    return Choice(round(blob_A), "the size of which blobs stand out most")


def diameter_of_averages(images: np.ndarray, pixel_size_A: float) -> Choice:
    """Largest extent of what class averages show, A: the median over the averages.

    Parameters
    ----------
    images : (n, box, box) float          white particles
    """
    extents = [extent_px(image) * pixel_size_A for image in images]
    return Choice(round(float(np.median(extents))), f"the extent of {len(extents)} class averages")


def extent_px(image: np.ndarray) -> float:
    """Diameter around its centre of mass of the largest part that is brighter than a share of the brightest."""
    image = ndimage.gaussian_filter(np.asarray(image, np.float64), 1.0)
    inside = image > EDGE_SHARE * np.quantile(image, 0.99)
    labels, n = ndimage.label(inside)
    if n == 0:
        return 0.0
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    y, x = np.nonzero(ndimage.binary_fill_holes(labels == largest))
    return 2.0 * float(np.quantile(np.hypot(y - y.mean(), x - x.mean()), 0.98))
