"""The expectation with 3D references against its definition, and what must hold for any data."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import oracle_3d as oracle
import oracle_images
import pytest
import refine3d_case as case
from volume_phantom import random_rotations

from vitreous import backend
from vitreous.engine import plan3d, search3d
from vitreous.engine.phantom import make_phantom
from vitreous.engine.reconstruct3d import add_friedel_mates
from vitreous.model.rotation import euler_to_matrix, matrix_to_euler
from vitreous.model.state import Progress
from vitreous.model.symmetry import Symmetry

# Scores are float32 sums of a few hundred terms of about 1: an error e changes a weight by exp(e).
WEIGHT_RTOL = 3e-4
# Log-likelihoods are of the order of 500 and the best score is a float32.
LOG_LIKELIHOOD_ATOL = 2e-3
# Sums of float32 products, relative to the largest of their kind; their weights are as above.
SUM_RTOL = 2e-4


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


@pytest.mark.parametrize("name", case.CASES)
def test_em3d_rows_match_oracle(be, name):
    problem, want = case.oracle_of(name)
    _, _, rows = case.expect(be, problem)
    np.testing.assert_array_equal(rows.class_number, want["class_number"])
    np.testing.assert_array_equal(rows.n_significant, want["n_significant"])
    np.testing.assert_allclose(euler_to_matrix(rows.euler_deg), want["matrix"], atol=1e-9)
    np.testing.assert_allclose(rows.shift_A, want["shift_A"], atol=1e-9)
    np.testing.assert_allclose(rows.p_max, want["p_max"], rtol=WEIGHT_RTOL)
    np.testing.assert_allclose(rows.norm, want["norm"], rtol=SUM_RTOL)
    np.testing.assert_allclose(rows.log_likelihood, want["log_likelihood"], atol=LOG_LIKELIHOOD_ATOL)
    assert not rows.failed.any()


@pytest.mark.parametrize("name", case.CASES)
def test_em3d_sums_match_oracle(be, name):
    """Against every weighted point put into whole cubes one by one."""
    problem, want = case.oracle_of(name)
    plan, acc, _ = case.expect(be, problem)
    for field in ("noise", "class_weight", "directions", "offset2", "scale_cross", "scale_model"):
        got, expected = np.asarray(getattr(acc, field)), np.asarray(want[field])
        np.testing.assert_allclose(got, expected, atol=SUM_RTOL * abs(expected).max(), err_msg=field)
    middle, reach = want["data"].shape[-1] // 2, plan.lattice.nx - 1
    part = (slice(None), *(slice(middle - reach, middle + reach + 1),) * 2, slice(middle, middle + reach + 1))
    for k in range(len(acc.sums)):
        add_friedel_mates(acc.sums[k])
    data, weight = want["data"][part], want["weight"][part]
    np.testing.assert_allclose(acc.sums[..., 0] + 1j * acc.sums[..., 1], data, atol=SUM_RTOL * abs(data).max())
    np.testing.assert_allclose(acc.sums[..., 2], weight, atol=SUM_RTOL * weight.max())
    assert weight.max() > 0 and acc.n_particles == len(problem.images)


def test_em3d_oracle_cases_are_not_trivial():
    """The oracle would say little of particles whose best pose has all the weight."""
    for name in ("global", "two classes", "local", "D2", "two optics groups"):
        _, want = case.oracle_of(name)
        assert np.median(want["p_max"]) < 0.6 and np.median(want["n_significant"]) > 2, name
    assert set(case.oracle_of("two classes")[1]["class_number"]) == {1, 2}


# ---- identities --------------------------------------------------------------------------------------------------


def same_sums(one, two, rtol):
    for field in ("sums", "noise", "class_weight", "directions", "offset2", "log_likelihood", "changes"):
        a, b = np.asarray(getattr(one, field)), np.asarray(getattr(two, field))
        np.testing.assert_allclose(a, b, atol=rtol * abs(b).max(), err_msg=field)


@pytest.mark.parametrize("name, symmetry", [("local, C3", "C3"), ("D2", "D2")])
def test_em3d_is_that_of_any_symmetry_mate(be, name, symmetry):
    problem, _ = case.oracle_of(name)
    _, acc, rows = case.expect(be, problem)
    for rotation in Symmetry(symmetry).rotations[1:]:
        mates = matrix_to_euler(euler_to_matrix(problem.euler_deg) @ rotation)
        _, other, moved = case.expect(be, problem, euler_deg=mates)
        np.testing.assert_array_equal(moved.n_significant, rows.n_significant)
        np.testing.assert_allclose(moved.euler_deg, rows.euler_deg, atol=1e-9)
        same_sums(other, acc, 1e-6)  # the prior's angles differ by rounding


@pytest.mark.parametrize("name", ["global", "local", "two optics groups"])
def test_em3d_threads_change_no_bit(name):
    problem = case.problem(**{**case.CASES[name], "n": 12})
    sums = []
    for n_threads in (1, 2):
        _, acc, rows = case.expect(backend.cpu(n_threads), problem)
        sums.append((acc.sums, acc.noise, acc.directions, rows.p_max, rows.log_likelihood, rows.euler_deg))
    for one, two in zip(*sums):
        np.testing.assert_array_equal(one, two)


def test_em3d_batches_and_parts_change_no_draw_of_flat_posteriors(be, monkeypatch):
    problem = case.problem(order=1, noise=1.2)
    plan, whole, rows = case.expect(be, problem)
    n_child = plan.n_child_shift * plan.n_child_psi * plan.fine.n_dir // plan.coarse.n_dir
    assert (rows.n_significant * n_child > 8192).all(), "no posterior of these is flat enough"
    _, parts, others = case.expect(be, problem, size=1)
    same_sums(parts, whole, 1e-5)
    np.testing.assert_array_equal(others.euler_deg, rows.euler_deg)
    monkeypatch.setattr(search3d, "slices_bytes", lambda *_: 8 * plan.fine.n_row * 20)  # of the band's several hundred pixels
    _, parts, others = case.expect(be, problem)
    same_sums(parts, whole, 1e-5)
    np.testing.assert_array_equal(others.euler_deg, rows.euler_deg)


@pytest.mark.parametrize("name", ["global", "local", "two optics groups"])
def test_em3d_batches_change_nothing_but_rounding(be, name):
    problem = case.problem(**{**case.CASES[name], "n": 12})
    _, whole, rows = case.expect(be, problem)
    _, parts, others = case.expect(be, problem, size=5)
    same_sums(parts, whole, 1e-5)
    np.testing.assert_allclose(others.p_max, rows.p_max, rtol=1e-4)
    np.testing.assert_array_equal(others.euler_deg, rows.euler_deg)


@pytest.mark.parametrize("name", ["global", "local", "two optics groups"])
def test_em3d_in_chunks_is_as_whole_but_for_rounding(be, name, monkeypatch):
    """Memory for ever fewer slices, down to one."""
    problem = case.problem(**{**case.CASES[name], "n": 12})
    plan, whole, rows = case.expect(be, problem)
    in_parts, n_parts = search3d.score_in_parts, []
    monkeypatch.setattr(search3d, "score_in_parts", lambda *a: n_parts.append(len(a[-1])) or in_parts(*a))
    for n_bytes in (8 * plan.fine.n_row * 20, 1):
        monkeypatch.setattr(search3d, "slices_bytes", lambda *_, n=n_bytes: n)
        _, parts, others = case.expect(be, problem)
        same_sums(parts, whole, 1e-5)
        for field in ("euler_deg", "shift_A", "class_number", "n_significant"):
            np.testing.assert_array_equal(getattr(others, field), getattr(rows, field))
        np.testing.assert_allclose(others.p_max, rows.p_max, rtol=1e-4)
    assert max(n_parts) > 1, "all fitted at once"


@pytest.mark.parametrize("n", [0, 5, 1000])
def test_distinct_poses_and_their_places(n):
    pose = np.random.default_rng(n).integers(0, 50, n).astype(np.int32)
    found, place = search3d.distinct(pose, 50)
    np.testing.assert_array_equal(found, np.unique(pose))
    np.testing.assert_array_equal(found[place], pose)
    assert place.dtype == np.int32


def test_chunks_hold_no_more_rows_than_asked(be):
    plan = case.expect(be, case.problem(n=4))[0]
    n_row, per_row = plan.coarse.n_row, plan.fine.n_row // plan.coarse.n_row
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 30, 40)  # some particles have no sample at all
    start = np.concatenate([[0], np.cumsum(counts)])
    pose = rng.integers(0, 2 * n_row, start[-1])
    samples = start, pose, np.zeros_like(pose)
    rows_of = lambda part: len(np.unique(pose[start[part.start] : start[part.stop]] % n_row)) * per_row
    for most in (20 * per_row, n_row // 3 * per_row, n_row // 2 * per_row, plan.fine.n_row):
        parts = search3d.chunks(plan, samples, most)
        assert [p.start for p in parts] == [0, *(p.stop for p in parts[:-1])] and parts[-1].stop == 40
        if len(parts) > 1:
            assert all(rows_of(p) <= most or p.stop == p.start + 1 for p in parts)
            # No chunk could have taken the first particle of the next one.
            assert all(rows_of(slice(p.start, p.stop + 1)) > most for p in parts[:-1])
            assert sum(rows_of(p) for p in parts) <= 2 * rows_of(slice(0, 40))
    assert search3d.chunks(plan, samples, plan.fine.n_row) == [slice(0, 40)]


def test_chunks_of_flat_posteriors_are_one(be):
    """Ten particles that all have all rows: a chunk for each would cut all rows ten times."""
    plan = case.expect(be, case.problem(n=4))[0]
    pose = np.tile(np.arange(plan.coarse.n_row), 10)
    samples = np.arange(11) * plan.coarse.n_row, pose, np.zeros_like(pose)
    assert search3d.chunks(plan, samples, plan.fine.n_row // 2) == [slice(0, 10)]
    apart = np.arange(11) * (plan.coarse.n_row // 10), np.arange(plan.coarse.n_row // 10 * 10), pose  # each has its own
    assert len(search3d.chunks(plan, apart, plan.fine.n_row // 2)) in (2, 3)


def flat_posterior(rng, n_points, n_pose):
    """A posterior of three images, the second without points, and its evidence."""
    counts = np.array([n_points, 0, n_points])
    start = np.concatenate([[0], np.cumsum(counts)])
    log_w = rng.normal(scale=2.0, size=2 * n_points).astype(np.float32)
    return start, rng.integers(0, n_pose, 2 * n_points), rng.integers(0, 9, 2 * n_points), log_w


def normalised(start, pose, shift, log_w, correlation=False):
    """As ``kernels.score_fine`` gives them: all points, or in correlation mode the best."""
    weights, best, evidence, p_max = [], [], [], []
    for s, e in pairwise(start):
        w = np.exp(np.asarray(log_w[s:e], float))
        weights.append(w / w.sum() if e > s else w)
        best.append(s + log_w[s:e].argmax() if e > s else -1)
        evidence.append((log_w[s:e].max() if correlation else np.log(w.sum())) if e > s else -np.inf)
        p_max.append(weights[-1].max(initial=0))
    best = np.array(best)
    of_best = [np.where(best >= 0, x[np.maximum(best, 0)] if len(x) else 0, -1) for x in (pose, shift)]
    kept = np.arange(len(pose))
    if correlation:
        kept, weights = best[best >= 0], [np.ones(np.count_nonzero(best >= 0))]
        start = np.concatenate([[0], np.cumsum(best >= 0)])
    return start, pose[kept], shift[kept], np.concatenate(weights), *of_best, np.array(p_max), np.array(evidence)


@pytest.mark.parametrize("correlation", [False, True])
@pytest.mark.parametrize("n_parts", [1, 4])
def test_posteriors_in_parts_are_joined_to_the_whole(n_parts, correlation):
    rng = np.random.default_rng(n_parts)
    start, pose, shift, log_w = flat_posterior(rng, 300, 40)
    whole = normalised(start, pose, shift, log_w, correlation)
    parts = []
    for i in range(n_parts):
        kept = pose % n_parts == i
        own = np.concatenate([[0], np.cumsum(kept)])[start]
        parts.append(normalised(own, pose[kept], shift[kept], log_w[kept], correlation))
    got = search3d.joined(parts, 1.0, correlation)
    np.testing.assert_array_equal(got[0], whole[0])
    for s, e in pairwise(start if not correlation else whole[0]):
        order, want = np.lexsort(np.stack(got[1:4])[:, s:e]), np.lexsort(np.stack(whole[1:4])[:, s:e])
        np.testing.assert_array_equal(got[1][s:e][order], whole[1][s:e][want])
        np.testing.assert_allclose(got[3][s:e][order], whole[3][s:e][want], rtol=1e-6)  # float32
    np.testing.assert_array_equal(np.stack(got[4:6])[:, [0, 2]], np.stack(whole[4:6])[:, [0, 2]])
    assert got[4][1] == -1 and got[7][1] == -np.inf and got[6][1] == 0
    np.testing.assert_allclose(got[7], whole[7], rtol=1e-6)
    if not correlation:
        np.testing.assert_allclose(got[6], whole[6], rtol=1e-6)


def test_joined_posteriors_keep_the_fewest_points_that_hold_the_fraction():
    rng = np.random.default_rng(3)
    start, pose, shift, log_w = flat_posterior(rng, 500, 1000)
    whole = normalised(start, pose, shift, log_w)
    got = search3d.joined([whole], 0.9, False)
    for image, (s, e) in enumerate(pairwise(start)):
        weight = np.sort(whole[3][s:e])[::-1]
        n = np.searchsorted(np.cumsum(weight), 0.9) + 1 if e > s else 0
        assert got[0][image + 1] - got[0][image] == n
        mine = got[3][got[0][image] : got[0][image + 1]]
        np.testing.assert_allclose(np.sort(mine)[::-1], weight[:n] / weight[:n].sum(), rtol=1e-6)


@pytest.mark.parametrize("name", ["global", "local"])
def test_em3d_images_without_numbers_are_left_out(be, name):
    """Alone in a batch or with others, they fail and leave no trace in the sums."""
    problem = case.problem(**{**case.CASES[name], "n": 3})
    _, want, _ = case.expect(be, case.problem(**{**case.CASES[name], "n": 3}), size=1)
    problem.images.append(np.full_like(problem.images[0], np.nan))
    more = case.problem(**{**case.CASES[name], "n": 4})
    for field in ("group_of", "defocus", "psi_deg", "norm", "micrograph"):
        setattr(problem, field, np.append(getattr(problem, field), getattr(more, field)[3:], axis=0))
    problem.shift_A = np.append(problem.shift_A, [[1.5, 0.0]], 0)
    problem.euler_deg = np.append(problem.euler_deg, [[10.0, 20.0, 30.0]], 0)
    for size in (1, 100):
        _, acc, rows = case.expect(be, problem, size)
        np.testing.assert_array_equal(rows.failed, [False, False, False, True])
        np.testing.assert_allclose(rows.euler_deg[3], [10.0, 20.0, 30.0])
        np.testing.assert_allclose(rows.shift_A[3], [1.5, 0.0])
        assert acc.n_particles == 3
        same_sums(acc, want, 1e-5)


def test_em3d_in_parts_leaves_out_a_batch_of_which_every_search_failed(be, monkeypatch):
    problem = case.problem(**{**case.CASES["global"], "n": 1})
    in_parts, n_parts = search3d.score_in_parts, []

    def all_failed(*given):
        start, pose, shift, weight, best_pose, *rest = in_parts(*given)
        n_parts.append(len(given[-1]))
        return np.zeros_like(start), pose[:0], shift[:0], weight[:0], np.full_like(best_pose, -1), *rest

    monkeypatch.setattr(search3d, "score_in_parts", all_failed)
    monkeypatch.setattr(search3d, "slices_bytes", lambda *_: 1)
    _, acc, rows = case.expect(be, problem)
    assert n_parts and rows.failed.all() and acc.n_particles == 0
    assert not acc.sums.any() and not acc.noise.any() and not acc.directions.any()
    np.testing.assert_array_equal(rows.euler_deg, problem.euler_deg)


def phantom_problem(n, noise, order=2, seed=1):
    """Projections of a phantom of 100 A without CTF, with noise of so many times their standard deviation."""
    molecule, rng = make_phantom(100.0, n_rods=30, sigma_A=5.0), np.random.default_rng(seed)
    truth = random_rotations(n, seed)
    images = molecule.projections(truth, np.zeros((n, 2)), 32, 4.0).astype(float)
    unit = images.std()
    shape = {"resolution_A": 16.0, "increment_px": 4, "diameter_A": 110.0, "shift_A": np.zeros((n, 2)), "ctf": False}
    problem = case.problem(n=n, order=order, euler_deg=matrix_to_euler(truth), **shape)
    problem.groups = [oracle_images.Group(32, 4.0)]
    problem.references = molecule.volume(32, 4.0)[None].astype(float) / unit
    problem.images = [(image / unit + noise * rng.normal(size=image.shape)).astype(np.float32) for image in images]
    problem.sigma2, problem.data_vs_prior = np.full((1, 17), 1.0 / (2 * 32**2)), np.full((1, 17), 1.0)
    return problem, truth


def test_em3d_finds_the_poses_of_clean_projections(be):
    """Within the fine grid's cells, globally from nothing, locally from near by; without noise, weighted as if some."""
    problem, truth = phantom_problem(16, 0.0)
    near = matrix_to_euler(euler_to_matrix([4.0, 5.0, -6.0]) @ truth)
    for sigma_deg, start in ((0.0, np.zeros((16, 3))), (6.0, near)):
        problem.sigma_deg = sigma_deg
        _, _, rows = case.expect(be, problem, euler_deg=start)
        off = [oracle.angle_deg(f, t) for f, t in zip(euler_to_matrix(rows.euler_deg), truth)]
        # The fine step is 7.5 degrees: corners of a cell are 6.8 away, and a neighbouring cell may fit as well.
        assert np.median(off) < 6 and max(off) < 11, off
        assert np.abs(rows.shift_A).max() < 4.0


def test_em3d_log_likelihood_is_one_scale_for_global_and_local(be):
    """A local prior as wide as the sphere is nearly the uniform one: evidence does not jump as searches turn local.

    With so little noise that no posterior is sampled.
    """
    problem = case.problem(order=1, noise=0.6)
    _, _, free = case.expect(be, problem)
    problem.sigma_deg = 300.0
    _, _, near = case.expect(be, problem)
    np.testing.assert_allclose(near.log_likelihood, free.log_likelihood, atol=0.25)
    np.testing.assert_allclose(near.p_max, free.p_max, rtol=0.3)


def test_em3d_coarse_size_follows_the_sampling(be):
    """A finer step resolves more: the plan with another sampling has the size of that sampling, in every geometry."""
    problem = case.problem(order=0, resolution_A=9.0)
    plan = case.plan_of(be, problem)
    batch = case.flat_case.batch_of(problem, [0])
    plan.geometry(batch.optics)
    finer = plan3d.resampled(be, plan, case.sampling(2, 1, 0.3))
    direct = case.plan_of(be, case.problem(order=2, resolution_A=9.0))
    assert plan.coarse_size < finer.coarse_size == direct.coarse_size
    assert finer.geometry(batch.optics).n_coarse == direct.geometry(batch.optics).n_coarse


@pytest.mark.parametrize("sigma_deg", [0.0, 12.0])
def test_em3d_searches_no_more_than_the_most_significant(be, sigma_deg):
    """The cap of --maxsig holds globally and locally; one that is not reached changes nothing."""
    problem = case.problem(order=1, sigma_deg=sigma_deg, noise=1.2)
    _, _, free = case.expect(be, problem)
    _, acc, few = case.expect(be, problem, max_significant=4)
    assert free.n_significant.min() > 4 and set(few.n_significant) == {4} and acc.n_particles == 4
    most = case.expect(be, problem, max_significant=int(free.n_significant.max()))[2]
    np.testing.assert_array_equal(most.p_max, free.p_max)


def test_strongest_samples_of_each_particle():
    start, pose = np.array([0, 3, 3, 5, 9]), np.arange(9)
    weight = np.array([0.2, 0.5, 0.3, 0.9, 0.1, 0.1, 0.4, 0.2, 0.3])
    kept = search3d.strongest(start, pose, pose + 10, weight, 2)
    np.testing.assert_array_equal(kept[0], [0, 2, 2, 4, 6])
    np.testing.assert_array_equal(kept[1], [1, 2, 3, 4, 6, 8])
    np.testing.assert_array_equal(kept[2], kept[1] + 10)
    np.testing.assert_array_equal(search3d.strongest(start, pose, pose, weight, 0)[1], pose)


def test_em3d_keeps_orientations_and_offsets_where_asked(be):
    """Class weights are those of the likelihoods at the particles' own poses, and sums are inserted there."""
    problem = case.problem(n=6, k=2, noise=3.0, class_weight=np.array([0.7, 0.3]), oversampling=0, perturb=0.0)
    where = replace(case.sampling(0, 0, 0.0), offset_range_A=0.0)
    settings = case.flat_case.settings_of(problem, skip_align=True)
    progress = Progress(iteration=3, increment_px=problem.increment_px)
    plan = plan3d.make_plan(be, case.model_of(problem), where, progress, settings, Symmetry("C1"))
    _, acc, rows = case.expect(be, problem, plan=plan)
    np.testing.assert_allclose(rows.euler_deg, problem.euler_deg)
    np.testing.assert_allclose(rows.shift_A, problem.shift_A)
    slices, total = oracle.Slices(problem), np.zeros(2)
    for i in range(6):
        v, own = oracle.flat.view(oracle.coarse_view(problem), i), oracle.matrix_of(problem.euler_deg[i])
        log_w = [
            oracle.log_weight(problem, i, v, slices(c, 0, i, own, v), (0.0, 0.0), v.fine, np.log((0.7, 0.3)[c]))
            for c in range(2)
        ]
        w = np.exp(log_w - max(log_w)) / np.exp(log_w - max(log_w)).sum()
        assert rows.p_max[i] == pytest.approx(w.max(), rel=WEIGHT_RTOL) and rows.class_number[i] == 1 + w.argmax()
        total += w if w.min() > 0.001 else (w > 0.5)  # what is not needed for 0.999 of the mass is left out
    np.testing.assert_allclose(acc.class_weight, total, rtol=1e-3)
    assert 0.5 < np.median(rows.p_max) < 0.99 and np.abs(acc.changes[:2]).max() < 1e-4
