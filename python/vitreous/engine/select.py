"""Which rows of a table to keep: ranges, statistics, duplicates, matches, parts; and averages moved to their centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from vitreous.model.rotation import euler_to_matrix

ROWS_AT_ONCE = 20_000  # of a search for neighbours: bounds the pairs in memory
FEWEST_PER_GROUP = 10
MOST_BINS = 5000  # of a histogram whose bins are chosen here


def outliers(values, n_sigma: float) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Rows that lie far from the ensemble in any of several statistics.

    Parameters
    ----------
    values : (n, n_statistics) float64      e.g. mean and standard deviation of every image; NaN = an outlier
    n_sigma : rows are kept strictly within this many standard deviations of the ensemble's mean

    Returns
    -------
    (n,) bool                               true for those to discard
    list                                    (mean, population standard deviation) of every statistic

    A statistic that is the same in all rows discards none.
    """
    values = np.asarray(values, np.float64)
    out = ~np.isfinite(values).all(axis=1)
    ensemble = []
    for column in values.T:
        good = column[np.isfinite(column)]
        mean, spread = (float(good.mean()), float(good.std())) if len(good) else (0.0, 0.0)
        ensemble.append((mean, spread))
        # One float32 rounding is no spread: a constant statistic has one of about 1e-16 of its size.
        if spread > 1e-9 * max(abs(mean), 1e-30):
            with np.errstate(invalid="ignore"):
                out |= ~(np.abs(column - mean) < n_sigma * spread)
    return out, ensemble


def parts(n_rows: int, n_parts: int | None, size: int | None) -> list[tuple[int, int]]:
    """First and last + 1 row of every part.

    With a size alone all rows are used and the last part is smaller; with a number alone the parts have
    ceil(n_rows / n_parts) rows; with both there are n_parts of that size and the rest is left out.

    Raises  ValueError: neither is given.
    """
    if n_parts is None and size is None:
        raise ValueError("parts: neither n_parts nor size is given, expected at least one")
    if size is None:
        size = -(-n_rows // n_parts)
    if n_parts is None:
        n_parts = -(-n_rows // size)
    edges = np.minimum(np.arange(n_parts + 1) * size, n_rows).tolist()
    return list(pairwise(edges))


def duplicates(position, source, distance: float) -> np.ndarray:
    """Rows that a later row of the same source lies near to, so that of a pair the last survives.

    A row is removed for any later row within the distance, also where that one is itself removed.

    Parameters
    ----------
    position : (n, 2 or 3) float64
    source : (n,) int                       micrograph or tomogram; only rows of one source are compared
    distance : in the unit of the positions; rows exactly this far apart count as duplicates

    Returns
    -------
    (n,) bool                               true for those to remove

    Cost: O(n log n) where neighbours are few; about 4 s for a million rows
    """
    position = np.asarray(position, np.float64)
    removed = np.zeros(len(position), bool)
    if len(position) < 2:
        return removed
    finite = np.isfinite(position).all(axis=1)
    # Rows at one and the same place would make every pair of them; all but the last go at once.
    keys = np.column_stack([np.asarray(source, np.float64), position])
    order = np.lexsort((*keys.T[::-1],))
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    removed[order[:-1][same]] = True  # lexsort is stable: the last of a run is the last in the file
    left = order[~removed[order] & finite[order]]  # by source
    source = np.asarray(source)
    for rows in _whole_sources(left, source[left]):
        code = np.unique(source[rows], return_inverse=True)[1].ravel()
        # One tree for many sources: a further axis holds them so far apart that no pair spans two.
        apart = np.column_stack([position[rows], code * (2.0 * distance + 1.0)])
        pairs = cKDTree(apart).query_pairs(distance, output_type="ndarray")
        removed[np.minimum(rows[pairs[:, 0]], rows[pairs[:, 1]])] = True
    return removed


def _whole_sources(rows: np.ndarray, source: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of ``rows`` (sorted by source) of about ROWS_AT_ONCE that never part a source."""
    heads = np.flatnonzero(np.r_[True, source[1:] != source[:-1]]) if len(rows) else np.zeros(0, int)
    begin = 0
    for head in [*heads[1:].tolist(), len(rows)]:
        if head - begin >= ROWS_AT_ONCE or head == len(rows):
            yield rows[begin:head]
            begin = head


def first_matches(values, others, max_distance: float) -> np.ndarray:
    """For each row of ``values`` the first row of ``others`` within a Euclidean distance.

    Parameters
    ----------
    values : (n, d) float64
    others : (m, d) float64
    max_distance : 0 = equal

    Returns
    -------
    (n,) int64                              -1 where there is none
    """
    values, others = np.atleast_2d(np.asarray(values, np.float64)), np.atleast_2d(np.asarray(others, np.float64))
    found = np.full(len(values), -1, np.int64)
    if not len(values) or not len(others):
        return found
    if max_distance <= 0:
        return first_equal(list(map(tuple, values.tolist())), list(map(tuple, others.tolist())))
    # The first of several equal rows is the only one that can be a first match.
    _, kept = np.unique(others, axis=0, return_index=True)
    tree = cKDTree(others[kept])
    distinct, back = np.unique(values, axis=0, return_inverse=True)
    for begin in range(0, len(distinct), ROWS_AT_ONCE):
        near = tree.query_ball_point(distinct[begin : begin + ROWS_AT_ONCE], max_distance)
        first = np.array([kept[hits].min() if hits else -1 for hits in near])
        inside = (back.ravel() >= begin) & (back.ravel() < begin + len(first))
        found[inside] = first[back.ravel()[inside] - begin]
    return found


def first_equal(values: Sequence, others: Sequence) -> np.ndarray:
    """For each value the index of the first equal one among ``others``, -1 where there is none; (n,) int64."""
    index: dict = {}
    for i, value in enumerate(others):
        index.setdefault(value, i)
    return np.fromiter((index.get(value, -1) for value in values), np.int64, len(values))


def centred_origins(origin_A, euler_deg, centre_px, pixel_size_A) -> np.ndarray:
    """Origins that bring a point of the reference to the centre of a new reconstruction: o - pixel A(euler) c.

    Parameters
    ----------
    origin_A : (n, 2 or 3) float64
    euler_deg : (n, 3) float64              rot, tilt, psi
    centre_px : (3,)                        x, y, z from the box centre
    pixel_size_A : (n,) or float            of the reference

    Returns
    -------
    (n, 2 or 3) float64
    """
    origin_A = np.asarray(origin_A, np.float64)
    moved = euler_to_matrix(euler_deg) @ np.asarray(centre_px, np.float64)
    return origin_A - np.reshape(pixel_size_A, (-1, 1)) * moved[:, : origin_A.shape[1]]


def centre_of_mass(image) -> tuple[float, float]:
    """(y, x) in px from the centre n // 2 of what is above zero; (0, 0) where nothing is."""
    weight = np.maximum(np.nan_to_num(np.asarray(image, np.float64)), 0)
    total = weight.sum()
    if not total > 0:
        return 0.0, 0.0
    y, x = (np.arange(n) - n // 2 for n in weight.shape)
    return float(weight.sum(axis=1) @ y / total), float(weight.sum(axis=0) @ x / total)


def translated(image, shift_y_px: float, shift_x_px: float) -> np.ndarray:
    """The image moved by a shift, bilinear and periodic; same shape, float64."""
    out = np.asarray(image, np.float64)
    for axis, shift in enumerate((shift_y_px, shift_x_px)):
        whole = int(np.floor(shift))
        part = shift - whole
        out = (1 - part) * np.roll(out, whole, axis) + part * np.roll(out, whole + 1, axis)
    return out


def recentred(images) -> tuple[np.ndarray, np.ndarray]:
    """Images with the centre of mass of their positive part moved to the centre.

    Parameters
    ----------
    images : (n, ny, nx) float              white on dark

    Returns
    -------
    (n, ny, nx) float32
    (n, 2) float64                          where each centre of mass was: y, x in px from n // 2
    """
    images = np.asarray(images)
    centres = np.array([centre_of_mass(image) for image in images]).reshape(-1, 2)
    moved = [translated(image, -y, -x) for image, (y, x) in zip(images, centres)]
    return np.asarray(moved, np.float32).reshape(images.shape), centres


def regrouped(group, optics, scale, n_groups: int) -> np.ndarray:
    """Join groups of similar intensity scale until there are about ``n_groups`` of similar size.

    Parameters
    ----------
    group : (n,) int                        of every selected row
    optics : (n,) int                       optics group of every row: joined groups never span two
    scale : (n_old,) float64                intensity scale of every old group
    n_groups : wanted

    Returns
    -------
    (n,) int64                              new group of every row, from 1

    Raises  ValueError: fewer than 10 rows would be in a group.
    """
    group, optics = np.asarray(group), np.asarray(optics)
    average = len(group) // n_groups if n_groups > 0 else 0
    if average < FEWEST_PER_GROUP:
        raise ValueError(f"{len(group)} particles in {n_groups} groups are {average} in each")
    new = np.zeros(len(group), np.int64)
    order = np.argsort(np.asarray(scale, np.float64), kind="stable")
    number = 0
    for i_optics in np.unique(optics):
        rows = np.flatnonzero(optics == i_optics)
        counts = np.bincount(group[rows], minlength=len(order))
        number += 1
        running, name = 0, np.zeros(len(order), np.int64)
        for old in order.tolist():
            running += counts[old]
            if running > average:
                number += 1
                running = 0
            name[old] = number
        new[rows] = name[group[rows]]
    return new


def rows_of_classes(class_number, chosen: Sequence[int], most: int | None = None) -> np.ndarray:
    """Rows of the chosen classes, class after class in the order of ``chosen``, within a class in that of the rows.

    Parameters
    ----------
    class_number : (n,) int                 from 1
    chosen : class numbers
    most : rows to take of every class; None = all

    Returns
    -------
    (m,) int64
    """
    class_number = np.asarray(class_number)
    order = np.argsort(class_number, kind="stable")
    begin = np.searchsorted(class_number[order], chosen, "left")
    end = np.searchsorted(class_number[order], chosen, "right")
    picked = [order[b : e if most is None else min(e, b + most)] for b, e in zip(begin, end)]
    return np.concatenate(picked) if picked else np.zeros(0, np.int64)


def histogram(values, n_bins: int | None, low: float | None, high: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Edges of equal bins and the counts below, in, and above them.

    Parameters
    ----------
    values : (n,) float64                   finite
    n_bins : None = by 2 (Q3 - median) / n^(1/3), after Freedman and Diaconis
    low, high : range of the bins; None = that of the values

    Returns
    -------
    (n_bins + 1,) float64                   edges
    (n_bins + 2,) int64                     counts: below the first edge, [edge, next edge) ..., from the last edge on
    """
    values = np.sort(np.asarray(values, np.float64))
    low = float(values[0]) if low is None else low
    high = float(values[-1]) if high is None else high
    if not high > low:
        edges = np.array([low, low + 1])
        return edges, _counts(values, edges)
    if n_bins is None:
        _, median, upper = quartiles(values)
        width = 2 * (upper - median) / len(values) ** (1 / 3)
        # A column with a few far outliers would ask for millions of bins; RELION stops at the same number.
        n_bins = min(int(np.ceil((high - low) / width)), MOST_BINS) if width > 0 else 10
    edges = low + (high - low) / n_bins * np.arange(n_bins + 1)
    edges[-1] = high
    return edges, _counts(values, edges)


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    below = np.searchsorted(values, edges, "left")
    return np.diff(np.r_[0, below, len(values)])


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """The values at a quarter, a half and three quarters of a sorted vector, without interpolation."""
    n = len(values)
    return float(values[n // 4]), float(values[n // 2]), float(values[n * 3 // 4])
