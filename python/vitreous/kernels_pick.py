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
    n_even = basis.shape[0] if n_even is None else n_even
    if not 0 <= n_even <= basis.shape[0]:
        raise ValueError(f"pick_best: n_even is {n_even}, expected 0 to the {basis.shape[0]} basis images")
    be.lib.pick_best(basis, coefficients, start, n_even, best, which)
    return best, which
