"""Kernels of picking: one thin function per kernel."""

from __future__ import annotations

import numpy as np

from vitreous.kernels import _check


def pick_best(be, basis, coefficients, start, n_even=None, best=None, which=None):
    """For every pixel and reference the best of the reference's templates.

    Parameters
    ----------
    basis : (n_basis, n_px) float32              correlation maps of the basis images
    coefficients : (n_template, n_basis) float32     each template as a combination of basis images
    start : (n_ref + 1,) int32                   templates of reference r are start[r]:start[r + 1]; from 0, ascending
    n_even : int or None                         the first so many basis images are the same when they are turned by 180
        degrees, the others change their sign, and every template is tried turned as well; None: no turns
    best, which : results to write into, or None

    Returns
    -------
    best : (n_ref, n_px) float32                 largest response; -inf where there is none
    which : (n_ref, n_px) int32                  the first template that gives it, plus n_template where it
        is turned; -1 where there is none

    Raises  ValueError: shapes disagree, n_even is out of range, or start does not go from 0 to n_template.
    Source: docs/programs/autopick.md#templates     Cost: 2 n_template n_basis n_px flop
    """
    shape = (len(start) - 1, basis.shape[1])
    best = be.empty(shape, np.float32) if best is None else best
    which = be.empty(shape, np.int32) if which is None else which
    _check("pick_best", coefficients=(coefficients, (None, basis.shape[0])), best=(best, shape), which=(which, shape))
    if start[0] != 0 or start[-1] != len(coefficients) or (np.diff(start) < 0).any():
        raise ValueError(f"pick_best: start is {list(start)}, expected ascending numbers from 0 to {len(coefficients)}")
    n_even = _checked_n_even("pick_best", n_even, len(basis), "basis images")
    be.lib.pick_best(basis, coefficients, start, n_even, best, which)
    return best, which


def _checked_n_even(kernel: str, n_even: int | None, n: int, what: str) -> int:
    """How many of n are even; None: all."""
    n_even = n if n_even is None else n_even
    if not 0 <= n_even <= n:
        raise ValueError(f"{kernel}: n_even is {n_even}, expected 0 to the {n} {what}")
    return n_even


def lowest_frequencies(be, image, around, corner, n_full, n, *, mean=0.0, factor=1.0, limit=np.inf, squared=False):
    """The lowest frequencies of the transform of a normalised image in a square, divided by the square's pixels.

    Parameters
    ----------
    image : (ny, nx) float32
    around : (n_full**2 - ny nx,) float32    the square's other pixels, row by row
    corner : (y0, x0)                        of the image in the square
    n_full, n : sides of the square and of the half transform, n <= n_full
    mean, factor : (image - mean) * factor is transformed
    limit : what is further from 0 becomes 0
    squared : transform the squares of the square's pixels as well

    Returns
    -------
    (1 or 2, n, n//2 + 1) complex64          docs/conventions.md#fourier-transforms

    Raises  ValueError: the image is not inside of the square, n is larger, or around has another length.
    Cost: 2.5 n_full^2 log2(n_full) flop, twice that with squares; memory 8 n_full n.
    """
    (ny, nx), (y0, x0) = image.shape, corner
    if not (0 <= y0 <= n_full - ny and 0 <= x0 <= n_full - nx and 0 < n <= n_full):
        raise ValueError(
            f"lowest_frequencies: {ny} x {nx} px at {corner} of {n_full}, n = {n}; expected all inside of the square"
        )
    out = be.empty((2 if squared else 1, n, n // 2 + 1), np.complex64)
    _check("lowest_frequencies", around=(around, (n_full**2 - ny * nx,)))
    be.lib.lowest_frequencies(image, around, y0, x0, n_full, mean, factor, limit, out)
    return out


def half_shape(be, m: int | None, n_k: int, n_rows: int | None) -> tuple:
    """Shape of m half-transformed maps, float32, for ``inverse_columns``: n_k columns in blocks that the module chooses."""
    block = be.lib.COLUMN_BLOCK
    return m, -(-n_k // block), n_rows, 2, block


def inverse_columns(be, ft, gain, n_out, n_even=None, out=None):
    """One transform under many filters, transformed back along y; ``inverse_rows`` does the rest.

    Parameters
    ----------
    ft : (h, h//2 + 1) complex64             the lowest frequencies
    gain : (m, h, h//2 + 1) float32          filters: the first n_even are real, the others stand for imaginary ones
    n_out : side of the maps, at least h
    n_even : int or None                     None: all are real
    out : result to write into, or None

    Returns
    -------
    (m, n_block, n_out, 2, 16) float32       real parts, imaginary parts; columns kx in blocks of 16

    Raises  ValueError: shapes disagree, h > n_out, or n_even is out of range.
    Cost: about 5 h/2 n_out log2(n_out) flop for each map
    """
    m, h = gain.shape[0], ft.shape[0]
    shape = half_shape(be, m, h // 2 + 1, n_out)
    out = be.empty(shape, np.float32) if out is None else out
    _check("inverse_columns", ft=(ft, (h, h // 2 + 1)), gain=(gain, (m, h, h // 2 + 1)), out=(out, shape))
    if h > n_out:
        raise ValueError(f"inverse_columns: ft has {h} rows, expected at most the {n_out} px of the maps; crop it")
    be.lib.inverse_columns(ft, gain, _checked_n_even("inverse_columns", n_even, m, "filters"), out)
    return out


def inverse_rows(be, half, n_k, n_out, first=0, rows=None, out=None):
    """Rows of real maps from what ``inverse_columns`` makes.

    Parameters
    ----------
    half : (m, n_block, n_rows, 2, 16) float32
    n_k : columns of the transform, h//2 + 1
    n_out : length of a row, at least 2 (n_k - 1)
    first, rows : which rows; None: all from the first on
    out : (m, rows, n_out) float32 or None

    Returns
    -------
    (m, rows, n_out) float32                 sums over frequencies, without a factor

    Raises  ValueError: shapes disagree, or there are no such rows.
    Cost: about 2.5 rows n_out log2(n_out) flop for each map
    """
    _check("inverse_rows", half=(half, half_shape(be, None, n_k, None)))
    m, n_rows = half.shape[0], half.shape[2]
    rows = n_rows - first if rows is None else rows
    if not (0 <= first <= first + rows <= n_rows and 1 <= n_k <= n_out // 2 + 1):
        raise ValueError(
            f"inverse_rows: rows {first} to {first + rows} of {n_rows}, {n_k} frequencies for {n_out} px; expected rows "
            f"that are there and 1 to {n_out // 2 + 1} frequencies"
        )
    out = be.empty((m, rows, n_out), np.float32) if out is None else out
    _check("inverse_rows", out=(out, (m, rows, n_out)))
    be.lib.inverse_rows(half, n_k, first, out)
    return out


def thin_peaks(be, points, fom, link, distance):
    """Which peaks stay when, in each cluster, all near a better one that stays go.

    Parameters
    ----------
    points : (n, 2) float64              y, x, px; finite
    fom : (n,)                           the larger the better; of equals the first is taken first
    link : px                            peaks less than this apart, and chains of them, are one cluster
    distance : px                        within which (less than) of a better one of its cluster a peak goes

    Returns
    -------
    (n,) bool

    Raises  ValueError: shapes disagree.     Source: docs/programs/autopick.md#peaks     Cost: O(n) times the neighbours
    """
    kept = be.empty((len(fom),), np.uint8)
    _check("thin_peaks", points=(points, (len(fom), 2)))
    be.lib.thin_peaks(points, np.argsort(-fom, kind="stable"), link, distance, kept)
    return kept.astype(bool)


def inverse_maps(be, ft, gain, n_out):
    """(m, n_out, n_out) float32 real maps of a transform under many filters: columns, then rows."""
    return inverse_rows(be, inverse_columns(be, ft, gain, n_out), ft.shape[1], n_out)
