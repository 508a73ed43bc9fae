"""Picking of blobs by the Laplacian of a Gaussian at several diameters: no template is needed.

Source: docs/programs/autopick.md#blobs
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vitreous.engine.pick_size import WorkSize, crop, frequencies, round_half_away
from vitreous.kernels_pick import inverse_maps, pick_best

MAPS_BYTES = 64 << 20  # of the diameters' maps at a time
CHUNK = 4096  # candidates looked through at a time


@dataclass(frozen=True)
class LogSettings:
    """What a run looks for.

    Parameters
    ----------
    diameter_min_A, diameter_max_A : of the particles
    neighbour_percent : distance of two picks, in percent of the mean of the pick's own and the least diameter
    white : particles are brighter than their surroundings
    adjust_threshold, upper_threshold : standard deviations of the response above its mean, to be picked and to be too
        much
    max_search : diameters up to this many times larger and smaller are tried, to know contamination
    skip_side_px : margin where nothing is picked, where it is more than half the least diameter
    outlier_sd : see ``normalise``
    upper_median : picks of more than this many times the median pick of the micrograph are contamination
    """

    diameter_min_A: float
    diameter_max_A: float
    pixel_size_A: float
    neighbour_percent: float = 100.0
    white: bool = False
    adjust_threshold: float = 0.0
    upper_threshold: float = 99999.0
    max_search: float = 5.0
    skip_side_px: int = 0
    outlier_sd: float = 8.0
    upper_median: float = math.inf

    @property
    def diameters_A(self) -> list[float]:
        """Diameters that are tried, ascending; three of them are wanted."""
        low, high, n = self.diameter_min_A, self.diameter_max_A, int(self.max_search)
        small = [float(round_half_away(low / i)) for i in range(n, 1, -1)]
        return [*small, low, (low + high) / 2, high, *(float(round_half_away(high * i)) for i in range(2, n + 1))]


@dataclass(frozen=True)
class Picks:
    """Peaks of one micrograph, best first.

    Parameters
    ----------
    x_px, y_px : (n,) float64           in micrograph pixels from the first one
    fom : (n,) float64
    class_number : (n,) int64           reference from 1; 0 for blobs
    psi_deg : (n,) float64
    """

    x_px: np.ndarray
    y_px: np.ndarray
    fom: np.ndarray
    class_number: np.ndarray
    psi_deg: np.ndarray

    def __len__(self) -> int:
        return len(self.fom)


def log_gains(size: WorkSize, settings: LogSettings, diameters_A: Sequence[float]) -> np.ndarray:
    """(n_diameter, work, work//2 + 1) float32 filters of the diameters; dark particles give peaks."""
    ky, kx = frequencies(size.work)
    k2 = ky**2 + kx**2
    sign = np.float32(1 if settings.white else -1)
    tau2 = [(0.5 * size.full * settings.pixel_size_A / d) ** 2 for d in diameters_A]
    return np.stack([sign * (k2 / np.float32(t) * np.exp(k2 * np.float32(-0.5 / t))) for t in tau2])


def diameters_at_once(size: WorkSize) -> int:
    """How many diameters' maps are held at a time: all of them at usual sizes of maps, one where maps are large."""
    return max(1, MAPS_BYTES // (4 * size.work**2))


def log_maps(be, ft: np.ndarray, gains: np.ndarray, size: WorkSize) -> np.ndarray:
    """Response to each diameter, (n_diameter, work, work) float32.

    Parameters
    ----------
    ft : (work, work//2 + 1) complex64 of the micrograph
    gains : from ``log_gains``
    """
    return inverse_maps(be, ft, gains, size.work)


def best_response(be, parts: Iterable[tuple[Sequence[float], np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Largest response at every pixel and the diameter (A) that gave it, (work, work) float32 each; the first of equals.

    Parameters
    ----------
    parts : (diameters in A, (n, work, work) float32 maps) one after the other
    """
    best = diameter = np.zeros(0, np.float32)
    for diameters_A, maps in parts:
        n = len(maps)
        each = np.eye(n, dtype=np.float32)  # every diameter is a template of its own
        found, which = pick_best(be, maps.reshape(n, -1), each, np.array([0, n], np.int32))
        found, sizes = found.reshape(maps.shape[1:]), np.array(diameters_A, np.float32)[which].reshape(maps.shape[1:])
        if not best.size:
            best, diameter = found, sizes
            continue
        larger = found > best
        np.copyto(best, found, where=larger)
        np.copyto(diameter, sizes, where=larger)
    return best, diameter


@dataclass(frozen=True)
class LogPeaks:
    """Picks and the maps that led to them: after the check of diameters, and after the threshold."""

    picks: Picks
    gated: np.ndarray
    above: np.ndarray
    threshold: float


def log_peaks(best: np.ndarray, diameter: np.ndarray, size: WorkSize, settings: LogSettings) -> LogPeaks:
    """Picks from the best responses.

    Parameters
    ----------
    best, diameter : (work, work) float32, from ``best_response``
    """
    scale, pixel_A = np.float32(size.scale), settings.pixel_size_A
    gated = best.copy()
    skip = int(np.float32(max(settings.skip_side_px, int(0.5 * settings.diameter_min_A / pixel_A))) * scale)
    if skip > 0:
        clear_edges(gated, size, skip)
    wanted = (diameter >= np.float32(settings.diameter_min_A)) & (diameter <= np.float32(settings.diameter_max_A))
    gated[~wanted] = 0
    values = gated[wanted].astype(np.float64)
    mean, sd = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
    threshold, upper = mean + settings.adjust_threshold * sd, mean + settings.upper_threshold * sd
    above = np.where(gated < threshold, np.float32(0), gated)
    factor = float(scale) * settings.neighbour_percent / 100 / 2 / pixel_A
    picks = greedy(above, lambda d: round_half_away(factor * (d + settings.diameter_min_A)), diameter, upper)
    usual = picks[2] <= settings.upper_median * np.median(picks[2]) if len(picks[2]) else slice(None)
    return LogPeaks(coordinates(*(values[usual] for values in picks), size), gated, above, threshold)


def clear_edges(image: np.ndarray, size: WorkSize, skip: int, value: float = 0) -> None:
    """Set all but the micrograph's window less ``skip`` pixels on each side to ``value``, in place."""
    (y0, y1), (x0, x1) = window_limits(size, skip)
    image[:y0] = image[y1:] = value
    image[:, :x0] = image[:, x1:] = value


def window_limits(size: WorkSize, skip: int = 0) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last + 1 row, and column, of the micrograph in a map, less ``skip`` on each side."""
    centre = size.work // 2
    limits = [(centre - n // 2 + skip, centre - n // 2 + n - skip) for n in size.window]
    return tuple((max(a, 0), max(min(b, size.work), max(a, 0))) for a, b in limits)


def greedy(
    above: np.ndarray, radius_of, diameter: np.ndarray, upper: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the largest value, forget its surroundings, and again; values from ``upper`` on are taken but not returned.

    Parameters
    ----------
    above : (n, n) float32              only values > 0 count
    radius_of : diameter in A -> radius in px within which (less than) everything is forgotten
    diameter : (n, n) float32, A

    Returns
    -------
    y, x : (n_picks,) int               pixels of the map
    value : (n_picks,) float64
    """
    flat = np.flatnonzero(above > 0)
    flat = flat[np.argsort(-above.ravel()[flat], kind="stable")]
    alive = above > 0
    alive_flat, n = alive.ravel(), len(above)
    found, at = [], 0
    while at < len(flat):
        ahead = alive_flat[flat[at : at + CHUNK]]
        step = int(ahead.argmax())
        if not ahead[step]:
            at += len(ahead)
            continue
        at += step
        y, x = divmod(int(flat[at]), n)
        if above[y, x] < upper:
            found.append((y, x))
        radius = radius_of(float(diameter[y, x]))
        y0, y1, x0, x1 = max(y - radius, 0), min(y + radius + 1, n), max(x - radius, 0), min(x + radius + 1, n)
        near = (np.arange(y0, y1)[:, None] - y) ** 2 + (np.arange(x0, x1)[None] - x) ** 2 < radius**2
        alive[y0:y1, x0:x1] &= ~near
        alive_flat[flat[at]] = False
        at += 1
    y, x = np.array(found, np.int64).reshape(-1, 2).T
    return y, x, above[y, x].astype(np.float64)


def coordinates(
    y: np.ndarray, x: np.ndarray, fom: np.ndarray, size: WorkSize, class_number=None, psi_deg=None
) -> Picks:
    """Picks at map pixels as positions in the micrograph."""
    y0, x0 = (size.full // 2 - n // 2 for n in (size.ny, size.nx))  # of the micrograph in its square
    n, scale = len(fom), size.work / size.full
    zeros = np.zeros(n)
    return Picks(
        x / scale - x0,
        y / scale - y0,
        fom,
        zeros.astype(np.int64) if class_number is None else class_number,
        zeros if psi_deg is None else psi_deg,
    )


def ctf_for_log(table: np.ndarray, size: WorkSize) -> np.ndarray:
    """A CTF computed for the full square's frequencies up to the work size, as (work, work//2 + 1), safe to divide by."""
    ctf = crop(table, size.work)
    return np.where(np.abs(ctf) < 1e-8, np.where(ctf < 0, -1e-8, 1e-8), ctf).astype(np.float32)
