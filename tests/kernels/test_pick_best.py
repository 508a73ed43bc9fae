import itertools

import numpy as np
import pytest

from tolerances import RTOL
from vitreous.kernels_pick import pick_best


def case(n_basis=9, n_px=1300, counts=(5, 0, 300, 7), seed=0):
    rng = np.random.default_rng(seed)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    basis = rng.normal(size=(n_basis, n_px)).astype(np.float32)
    coefficients = rng.normal(size=(start[-1], n_basis)).astype(np.float32)
    return basis, coefficients, start


def test_pick_best_matches_oracle(be):
    basis, coefficients, start = case()
    best, which = pick_best(be, basis, coefficients, start)
    maps = coefficients.astype(float) @ basis.astype(float)
    for r, (a, b) in enumerate(itertools.pairwise(start)):
        if a == b:
            assert (best[r] == -np.inf).all() and (which[r] == -1).all()
            continue
        np.testing.assert_allclose(best[r], maps[a:b].max(0), atol=RTOL["pick_best"] * abs(maps).max())
        assert ((which[r] >= a) & (which[r] < b)).all()
        np.testing.assert_allclose(
            maps[which[r], np.arange(maps.shape[1])], maps[a:b].max(0), atol=RTOL["pick_best"] * abs(maps).max()
        )


def test_pick_best_tries_half_turns(be):
    basis, coefficients, start = case(counts=(5, 200))
    best, which = pick_best(be, basis, coefficients, start, n_even=4)
    turned = coefficients * np.where(np.arange(9) < 4, 1, -1).astype(np.float32)
    n = len(coefficients)
    for r, (a, b) in enumerate(itertools.pairwise(start)):
        maps = np.concatenate([coefficients[a:b], turned[a:b]]).astype(float) @ basis.astype(float)
        tolerance = RTOL["pick_best"] * abs(maps).max()
        np.testing.assert_allclose(best[r], maps.max(0), atol=tolerance)
        row = which[r] % n - a + (b - a) * (which[r] >= n)
        np.testing.assert_allclose(maps[row, np.arange(maps.shape[1])], maps.max(0), atol=tolerance)


def test_pick_best_takes_the_first_of_equals(be):
    basis, coefficients, start = case(counts=(4,))
    coefficients[:] = coefficients[0]
    assert (pick_best(be, basis, coefficients, start)[1] == 0).all()


def test_pick_best_never_takes_nan(be):
    basis, coefficients, start = case(counts=(4,))
    coefficients[1] = np.nan
    best, which = pick_best(be, basis, coefficients, start)
    assert np.isfinite(best).all() and (which != 1).all()


def test_pick_best_refuses_a_start_that_leaves_templates_out(be):
    basis, coefficients, start = case()
    with pytest.raises(ValueError, match="pick_best: start"):
        pick_best(be, basis, coefficients, start[:-1])
    with pytest.raises(ValueError, match="pick_best: n_even"):
        pick_best(be, basis, coefficients, start, n_even=10)
