"""Peaks of maps of figures of merit: local maxima, thinned out so that no two are too close.

Source: docs/programs/autopick.md#peaks
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.engine.pick_log import Picks, coordinates, window_limits
from vitreous.engine.pick_size import WorkSize
from vitreous.kernels_pick import thin_peaks

MOST_CANDIDATES = 300_000  # per micrograph and reference; more is noise, and its clusters would take hours


@dataclass(frozen=True)
class PeakSettings:
    """What makes a peak.

    Parameters
    ----------
    threshold : least figure of merit
    min_distance_px : of two picks, in micrograph pixels
    link_px : peaks nearer than this are of one cluster, in micrograph pixels
    margin_px : of the micrograph, without peaks
    max_sd : no peaks where the surroundings' standard deviation is higher; 0 or less = off
    min_mean : no peaks where the surroundings' mean is lower; -900 or less = off
    keep_best : of two clusters' peaks that are too close the better one stays; else both go, as in RELION
    """

    threshold: float
    min_distance_px: float
    link_px: float
    margin_px: float
    max_sd: float = -1.0
    min_mean: float = -999.0
    keep_best: bool = False


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks in map pixels."""

    y: np.ndarray
    x: np.ndarray
    fom: np.ndarray
    reference: np.ndarray
    psi_deg: np.ndarray

    def take(self, rows) -> Peaks:
        return Peaks(*(getattr(self, name)[rows] for name in ("y", "x", "fom", "reference", "psi_deg")))

    @property
    def points(self) -> np.ndarray:
        return np.stack([self.y, self.x], 1).astype(float)


def local_maxima(
    fom: np.ndarray, mean: np.ndarray, sd: np.ndarray, size: WorkSize, settings: PeakSettings
) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of pixels at or above the threshold that none of their four neighbours exceeds.

    Parameters
    ----------
    fom, mean, sd : (work, work) float32; mean and sd of the surroundings
    """
    skip = max(1, int(np.float32(settings.margin_px) * np.float32(size.scale)))
    (y0, y1), (x0, x1) = window_limits(size, skip)
    y0, x0, y1, x1 = max(y0, 1), max(x0, 1), min(y1, size.work - 1), min(x1, size.work - 1)
    if y1 <= y0 or x1 <= x0:
        return np.zeros(0, int), np.zeros(0, int)
    window = (slice(y0, y1), slice(x0, x1))
    centre = fom[window]
    good = centre >= np.float32(settings.threshold)
    if settings.max_sd > 0:
        good &= sd[window] <= settings.max_sd
    if settings.min_mean > -900:
        good &= mean[window] >= settings.min_mean
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        neighbour = fom[y0 + dy : y1 + dy, x0 + dx : x1 + dx]
        good &= neighbour <= centre
        if size.work == size.full:
            good &= neighbour >= np.float32(settings.threshold)
    y, x = np.nonzero(good)
    y, x = y + y0, x + x0
    if len(y) > MOST_CANDIDATES:
        best = np.sort(np.argsort(-fom[y, x], kind="stable")[:MOST_CANDIDATES])
        y, x = y[best], x[best]
    return y, x


def thin(be, peaks: Peaks, link: float, distance: float) -> Peaks:
    """The best peak of each cluster, and those of the cluster that stay when all within ``distance`` of a better one go.

    Clusters are chains of peaks less than ``link`` apart; distances in map pixels. Best first.
    """
    best_first = peaks.take(np.argsort(-peaks.fom, kind="stable"))
    return best_first.take(thin_peaks(be, best_first.points, best_first.fom, link, distance))


def apart(peaks: Peaks, distance: float) -> Peaks:
    """Peaks whose nearest other one is farther than the distance: of a pair that is too close both go."""
    order = np.argsort(peaks.y, kind="stable")
    y, x = peaks.y[order].astype(float), peaks.x[order].astype(float)
    good = np.ones(len(y), bool)
    for step in range(1, len(y)):  # points that follow each other in y, until none is near
        dy = y[step:] - y[:-step]
        if dy.min() > distance:
            break
        near = dy**2 + (x[step:] - x[:-step]) ** 2 <= distance**2
        good[step:] &= ~near
        good[:-step] &= ~near
    return peaks.take(np.sort(order[good]))


def find_peaks(be, maps, psi_maps, mean: np.ndarray, sd: np.ndarray, size: WorkSize, settings: PeakSettings) -> Picks:
    """Picks of one micrograph, best first.

    Parameters
    ----------
    maps : (work, work) figures of merit of each reference
    psi_maps : (work, work) angle of each reference's best template, deg
    mean, sd : (work, work) of the surroundings
    """
    link, distance = settings.link_px * size.scale, settings.min_distance_px * size.scale
    parts = []
    for i, (fom, psi) in enumerate(zip(maps, psi_maps)):
        y, x = local_maxima(fom, mean, sd, size, settings)
        found = Peaks(y, x, fom[y, x].astype(np.float64), np.full(len(y), i + 1), psi[y, x].astype(np.float64))
        parts.append(thin(be, found, link, distance))
    merged = Peaks(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("y", "x", "fom", "reference", "psi_deg"))
    )
    peaks = (
        thin(be, merged, max(link, distance), distance)
        if settings.keep_best
        else apart(thin(be, merged, link, distance), distance)
    )
    peaks = peaks.take(np.argsort(-peaks.fom, kind="stable"))
    return coordinates(peaks.y, peaks.x, peaks.fom, size, peaks.reference, peaks.psi_deg)
