import numpy as np
import pytest

import oracles_expectation as oracle
from expectation_case import all_samples, make
from tolerances import ATOL
from vitreous.kernels import score_fine


def children(n_pose, n_child):
    return np.arange(n_pose).reshape(-1, n_child).astype(np.int32)


@pytest.mark.parametrize("n_child, n_per_shift, n_shift", [(2, 4, 8), (1, 1, 3), (3, 5, 10), (6, 16, 16), (2, 3, 6)])
def test_score_fine_matches_oracle(be, n_child, n_per_shift, n_shift):
    case = make(n_half_psi=6, n_shift=n_shift, n_k=53, spread=0.05)
    n_img, n_pose = len(case["images"]), 24
    samples = all_samples(n_img, n_pose // n_child, n_shift // n_per_shift)
    out = score_fine(be, **case, pose_children=children(n_pose, n_child), samples=samples, n_per_shift=n_per_shift)
    start, pose, shift, weight, best_pose, best_shift, p_max, evidence = out
    for i in range(n_img):
        log_w = oracle.log_weights(case, i, case["bank"], case["phases"], case["pose_prior"], case["shift_prior"])
        w = np.exp(log_w - log_w.max())
        assert (best_pose[i], best_shift[i]) == np.unravel_index(log_w.argmax(), log_w.shape)
        assert p_max[i] == pytest.approx(1 / w.sum(), rel=2 * ATOL["score"])
        assert evidence[i] == pytest.approx(log_w.max() + np.log(w.sum()), abs=2 * ATOL["score"])
        kept = slice(start[i], start[i + 1])
        assert weight[kept].sum() == pytest.approx(1, abs=1e-5)
        got = w[pose[kept], shift[kept]]
        np.testing.assert_allclose(weight[kept], got / got.sum(), rtol=4 * ATOL["score"])
        assert got.sum() >= 0.999 * w.sum() * (1 - 1e-4)
        assert got.min() >= w[oracle.significant(log_w, 0.999)].min() * (1 - 4 * ATOL["score"])


def test_score_fine_looks_only_at_children_of_the_samples(be):
    case = make(n_half_psi=4, n_shift=8)
    samples = (np.array([0, 1, 1, 2, 2, 2]), np.array([3, 0], np.int32), np.array([1, 0], np.int32))
    start, pose, shift, _, best_pose, *_ = score_fine(
        be, **case, pose_children=children(16, 2), samples=samples, n_per_shift=4, fraction=1 - 1e-9
    )
    assert set(pose[: start[1]].tolist()) == {6, 7} and set(shift[: start[1]].tolist()) == {4, 5, 6, 7}
    np.testing.assert_array_equal(best_pose[[1, 3, 4]], -1)
    assert start[2] == start[1]


def test_score_fine_correlation_takes_the_winner(be):
    case = make(n_half_psi=4, n_shift=4)
    samples = all_samples(5, 8, 1)
    start, pose, shift, weight, *_ = score_fine(
        be, **case, pose_children=children(16, 2), samples=samples, n_per_shift=4, correlation=True
    )
    np.testing.assert_array_equal(np.diff(start), 1)
    np.testing.assert_array_equal(weight, 1)
    for i in range(5):
        cc = oracle.log_weights(
            case, i, case["bank"], case["phases"], case["pose_prior"], case["shift_prior"], correlation=True
        )
        assert cc.argmax() == pose[i] * 4 + shift[i]


def test_score_fine_refuses_poses_beyond_the_children(be):
    case = make(n_half_psi=4, n_shift=4)
    samples = all_samples(5, 9, 1)
    with pytest.raises(ValueError, match="coarse pose 8, expected below 8"):
        score_fine(be, **case, pose_children=children(16, 2), samples=samples, n_per_shift=4)


def test_score_fine_samples_a_flat_posterior(be):
    """One child of each of thousands of samples: the same evidence and class weights as all, within their scatter."""
    n_child, n_per_shift, n_shift = 2, 4, 64
    case = make(n_img=3, n_class=3, n_half_psi=40, n_shift=n_shift, n_k=29, spread=2e-3)
    n_pose = 2 * len(case["bank"])
    samples = all_samples(3, n_pose // n_child, n_shift // n_per_shift)
    assert len(samples[1]) // 3 * n_child * n_per_shift > 8192
    arguments = {**case, "pose_children": children(n_pose, n_child), "samples": samples, "n_per_shift": n_per_shift}
    start, pose, shift, weight, *_, p_max, evidence = score_fine(be, **arguments, fraction=1 - 1e-9)
    for i in range(3):
        log_w = oracle.log_weights(case, i, case["bank"], case["phases"], case["pose_prior"], case["shift_prior"])
        kept = slice(start[i], start[i + 1])
        assert start[i + 1] - start[i] <= len(samples[1]) // 3
        assert (
            len(set(zip(pose[kept] // n_child, shift[kept] // n_per_shift))) == start[i + 1] - start[i]
        )  # one child each
        w = np.exp(log_w - log_w.max())
        assert evidence[i] == pytest.approx(log_w.max() + np.log(w.sum()), abs=0.05)  # 1920 strata of a spread below 1
        assert p_max[i] == pytest.approx(1 / w.sum(), rel=0.5)
        classes = case["row_class"][np.arange(n_pose) % len(case["bank"])]
        expected = np.bincount(classes, w.sum(1)) / w.sum()
        got = np.bincount(classes[pose[kept]], weight[kept], 3)
        np.testing.assert_allclose(got, expected, atol=0.03)
    again = score_fine(be, **arguments, fraction=1 - 1e-9)
    np.testing.assert_array_equal(again[1], pose)


def test_score_fine_of_a_part_draws_as_the_whole(be):
    """The samples of every other pose, said to be half of all, keep the children that they keep among all."""
    case = make(n_img=3, n_class=3, n_half_psi=40, n_shift=64, n_k=29, spread=2e-3)
    n_pose = 2 * len(case["bank"])
    all_children, samples = children(n_pose, 2), all_samples(3, n_pose // 2, 16)
    whole = score_fine(be, **case, pose_children=all_children, samples=samples, n_per_shift=4, fraction=1)
    start, pose, shift = samples
    kept = pose % 2 == 1
    some = np.concatenate([[0], np.cumsum(kept)])[start], (pose[kept] // 2).astype(np.int32), shift[kept]
    key = np.arange(1, n_pose // 2, 2, dtype=np.int32)
    arguments = {**case, "pose_children": all_children[1::2].copy(), "samples": some, "n_per_shift": 4, "fraction": 1}
    part = score_fine(be, **arguments, pose_key=key, n_whole=np.diff(start))
    points_of = lambda p, i: set(zip(p[1][p[0][i] : p[0][i + 1]], p[2][p[0][i] : p[0][i + 1]]))
    for i in range(3):
        assert points_of(part, i) == {(a, t) for a, t in points_of(whole, i) if a // 2 % 2 == 1}
        assert len(points_of(part, i)) == len(some[1]) // 3
    assert len(score_fine(be, **arguments)[1]) > len(some[1]), "half of them are not enough to be drawn from"


@pytest.mark.parametrize("name, n", [("pose_key", 7), ("n_whole", 4)])
def test_score_fine_refuses_numbers_of_another_length(be, name, n):
    case = make(n_half_psi=4, n_shift=4)
    arguments = {**case, "pose_children": children(16, 2), "samples": all_samples(5, 8, 1), "n_per_shift": 4}
    with pytest.raises(ValueError, match=f"{name} has {n} values, expected"):
        score_fine(be, **arguments, **{name: np.zeros(n, np.int32 if name == "pose_key" else np.int64)})
