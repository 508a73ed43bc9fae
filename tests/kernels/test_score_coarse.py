import numpy as np
import pytest

import oracles_expectation as oracle
from expectation_case import make
from tolerances import ATOL
from vitreous import kernels


def score_coarse(be, only_class=None, fraction=0.999, max_count=0, correlation=False, **arrays):
    """The kernel on the device, its results on the host."""
    on_device = {name: be.to_device(array) for name, array in arrays.items()}
    only_class = None if only_class is None else be.to_device(only_class)
    out = kernels.score_coarse(be, **on_device, only_class=only_class, fraction=fraction, max_count=max_count, correlation=correlation)
    return [be.to_host(array) for array in out]


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("n_shift, n_half_psi, n_k", [(4, 3, 37), (21, 15, 300), (1, 1, 2), (3, 400, 17)])
def test_score_coarse_matches_oracle(be, turned, n_shift, n_half_psi, n_k):
    case = make(n_shift=n_shift, n_half_psi=n_half_psi, n_k=n_k, turned=turned, n_img=3, spread=3 / n_k)
    start, pose, shift, best = score_coarse(be, **case, fraction=0.999)
    for i in range(3):
        log_w = oracle.log_weights(case, i, case["bank"], case["phases"], case["pose_prior"], case["shift_prior"])
        assert best[i] == pytest.approx(log_w.max(), abs=ATOL["score"])
        got = np.zeros(log_w.shape, bool)
        got[pose[start[i] : start[i + 1]], shift[start[i] : start[i + 1]]] = True
        expected = oracle.significant(log_w, 0.999)
        edge = log_w[expected].min()  # a sample within rounding of the threshold may fall on either side
        assert np.all(abs(log_w[got != expected] - edge) < ATOL["score"])
        assert got.sum() > 0


def test_score_coarse_caps_the_number_of_samples(be):
    case = make(spread=1e-4)
    start, *_ = score_coarse(be, **case, max_count=3)
    assert np.all(np.diff(start) == 3)


def test_score_coarse_correlation_keeps_the_best_sample(be):
    case = make(n_shift=6, n_half_psi=5, n_k=60)
    start, pose, shift, best = score_coarse(be, **case, correlation=True)
    np.testing.assert_array_equal(np.diff(start), 1)
    for i in range(len(best)):
        cc = oracle.log_weights(case, i, case["bank"], case["phases"], case["pose_prior"], case["shift_prior"], correlation=True)
        assert cc.argmax() == pose[i] * 6 + shift[i]
        assert best[i] == pytest.approx(cc.max(), abs=ATOL["score"])


def test_score_coarse_turning_an_image_turns_its_pose(be):
    """A real image turned by 180 degrees has the conjugate transform, so it takes the turned pose of the same row."""
    case = make(n_shift=1, n_k=80)
    case["phases"][:, 0], case["phases"][:, 1] = 1, 0
    case["pose_prior"][:] = 0
    turned = {**case, "images": case["images"] * np.array([1, -1], np.float32)[None, :, None]}
    n_row = len(case["bank"])
    for a, b in zip(poses_of(be, case), poses_of(be, turned)):
        assert {(p + n_row) % (2 * n_row) for p in a} == set(b)


def poses_of(be, case):
    start, pose, *_ = score_coarse(be, **case)
    return [pose[start[i] : start[i + 1]].tolist() for i in range(len(start) - 1)]


def test_score_coarse_keeps_to_the_allowed_class(be):
    case = make(n_class=3)
    only = np.array([2, 0, 1, -1, 2], np.int32)
    start, pose, *_ = score_coarse(be, **case, only_class=only, fraction=1 - 1e-6)
    for i, c in enumerate(only):
        classes = case["row_class"][pose[start[i] : start[i + 1]] % len(case["bank"])]
        assert set(classes.tolist()) == ({c} if c >= 0 else {0, 1, 2})


def test_score_coarse_gives_no_sample_for_an_image_of_nan(be):
    case = make()
    case["images"][1] = np.nan
    start, _, _, best = score_coarse(be, **case)
    assert start[1] == start[2]
    assert best[1] == -np.inf
    assert np.all(np.delete(np.diff(start), 1) > 0)


def test_score_coarse_does_not_depend_on_the_number_of_threads(be):
    case = make(n_img=60, n_shift=21, n_half_psi=15, n_k=200, spread=0.02)
    if be.name != "cpu":
        pytest.skip("threads are of the CPU backend")
    two = score_coarse(be, **case)
    be.lib.set_num_threads(1)
    one = score_coarse(be, **case)
    be.lib.set_num_threads(be.n_threads)
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)


def test_score_coarse_refuses_a_bank_of_another_band(be):
    case = make()
    case["bank"] = np.ascontiguousarray(case["bank"][:, :, :-1])
    with pytest.raises(ValueError, match="score_coarse: bank has shape"):
        score_coarse(be, **case)
