"""The expectation step against its definition, and what must hold for any data."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import em
from vitreous.model.state import Progress

# Scores are float32 sums of a few hundred terms of about 1: an error e changes a weight by exp(e). Measured: 7e-6.
WEIGHT_RTOL = 1e-4
# Log-likelihoods are of the order of 1000 and the best score, up to 100, is a float32. Measured: 5e-5.
LOG_LIKELIHOOD_ATOL = 1e-3
# Sums of float32 products, relative to the largest of their kind. Measured: 4e-7.
SUM_RTOL = 1e-5


@pytest.mark.parametrize("name", case.CASES)
def test_em_rows_match_oracle(be, name):
    problem, want = case.oracle_of(be, name)
    _, _, rows = case.expect(be, problem)
    np.testing.assert_array_equal(rows.class_number, want["class_number"])
    np.testing.assert_array_equal(rows.n_significant, want["n_significant"])
    np.testing.assert_allclose((rows.psi_deg - want["psi_deg"] + 180) % 360, 180, atol=1e-9)
    np.testing.assert_allclose(rows.shift_A, want["shift_A"], atol=1e-9)
    np.testing.assert_allclose(rows.p_max, want["p_max"], rtol=WEIGHT_RTOL)
    np.testing.assert_allclose(rows.norm, want["norm"], rtol=SUM_RTOL)
    np.testing.assert_allclose(rows.log_likelihood, want["log_likelihood"], atol=LOG_LIKELIHOOD_ATOL)
    assert not rows.failed.any()


def test_em_oracle_cases_are_not_trivial(be):
    """The oracle would say little of particles whose best pose has all the weight, or of one class alone."""
    for name in ("plain", "two optics groups", "premultiplied"):
        _, want = case.oracle_of(be, name)
        assert np.median(want["p_max"]) < 0.6 and np.median(want["n_significant"]) > 4
        assert set(want["class_number"]) == {1, 2}


SUMS = (
    "noise",
    "noise_count",
    "class_weight",
    "class_offset",
    "scale_cross",
    "scale_model",
    "lattice_data",
    "lattice_weight",
    "norm",
    "log_likelihood",
    "p_max",
    "n_significant",
    "changes",
    "n_particles",
    "offset2",
)


def full_sums(be, plan, acc):
    """Every sum of an accumulator, its slices inserted."""
    em.insert_banks(be, plan, acc)
    return {name: np.array(getattr(acc, name), float) for name in SUMS}


@pytest.mark.parametrize("size", [1, 3, 5])
def test_em_sums_do_not_depend_on_batches(be, size):
    problem = case.problem(two_groups=True, use_norm=True, use_scale=True, zero_mask=False)
    plan, acc, rows = case.expect(be, problem, size=100)
    want = full_sums(be, plan, acc)
    plan, acc, other = case.expect(be, problem, size=size)
    for name, value in full_sums(be, plan, acc).items():
        np.testing.assert_allclose(value, want[name], atol=SUM_RTOL * np.abs(want[name]).max(), err_msg=name)
    np.testing.assert_array_equal(other.psi_deg, rows.psi_deg)
    np.testing.assert_allclose(other.p_max, rows.p_max, rtol=WEIGHT_RTOL)


def test_em_threads_do_not_change_a_bit():
    problem = case.problem(n=12, two_groups=True, use_norm=True, use_scale=True, zero_mask=False)
    found = []
    for n_threads in (1, 2):
        be = backend.cpu(n_threads)
        plan, acc, rows = case.expect(be, problem)
        found.append(full_sums(be, plan, acc) | vars(rows))
    for name, value in found[0].items():
        assert np.array_equal(value, found[1][name]), name


def test_em_accumulators_add_up(be):
    problem = case.problem(two_groups=True)
    plan = case.plan_of(be, problem)
    _, whole, _ = case.expect(be, problem, plan=plan)
    parts = []
    for batch in case.batches_of(problem, 3):
        parts.append(em.Accumulator.empty(plan))
        em.expect(be, plan, batch, parts[-1])
        em.insert_banks(be, plan, parts[-1])
    want = full_sums(be, plan, whole)
    for name in SUMS:
        got = sum(np.array(getattr(part, name), float) for part in parts)
        np.testing.assert_allclose(got, want[name], atol=SUM_RTOL * np.abs(want[name]).max(), err_msg=name)


def inner(image, radius=7):
    """The middle of an image; zero where recentring by a few pixels could lose it."""
    return (image * case.oracle_images.disc(len(image), radius, 2)).astype(np.float32)


def turned_90(image):
    """Content at (x, y) from the centre pixel goes to (-y, x), periodically."""
    n = len(image)
    x = (np.arange(n) - n // 2)[None, :]
    y = (np.arange(n) - n // 2)[:, None]
    return image[(-x + n // 2) % n, (y + n // 2) % n]


def test_em_turned_images_permute_angles(be):
    problem = case.problem(perturb=0.0, class_offset_A=np.zeros((2, 2)))
    problem = replace(
        problem, images=[inner(image) for image in problem.images]
    )  # recentring loses nothing at either edge
    x, y = problem.shift_A.T
    turned = replace(
        problem,
        images=[np.ascontiguousarray(turned_90(image)) for image in problem.images],
        shift_A=np.stack([-y, x], 1),
        defocus=problem.defocus + np.array([0, 0, 90]),
    )
    _, acc, rows = case.expect(be, problem)
    _, turned_acc, turned_rows = case.expect(be, turned)
    # The reference is seen turned by -psi, so images turned by +90 are seen at psi - 90.
    np.testing.assert_allclose((turned_rows.psi_deg - rows.psi_deg + 90 + 180) % 360, 180, atol=1e-9)
    np.testing.assert_allclose(turned_rows.shift_A, np.stack([-rows.shift_A[:, 1], rows.shift_A[:, 0]], 1), atol=1e-9)
    np.testing.assert_allclose(turned_rows.p_max, rows.p_max, rtol=WEIGHT_RTOL)
    # Of the last shell a half-plane holds other pixels after the turn.
    np.testing.assert_allclose(turned_acc.noise[:, :-1], acc.noise[:, :-1], rtol=1e-4)


def test_em_moved_images_move_offsets(be):
    """Whole pixels are moved without interpolation; with a wide prior nothing else can tell."""
    problem = case.problem(sigma_offset_A=1e5, shift_A=np.zeros((8, 2)), class_offset_A=np.zeros((2, 2)))
    problem = replace(problem, images=[inner(image) for image in problem.images])
    rng = np.random.default_rng(4)
    step_px = rng.integers(-2, 3, (8, 2))
    moved = replace(
        problem,
        images=[np.roll(image, step[::-1], (0, 1)) for image, step in zip(problem.images, step_px)],
        shift_A=-step_px * case.PIXEL_A,
    )
    _, _, rows = case.expect(be, problem)
    _, _, moved_rows = case.expect(be, moved)
    np.testing.assert_allclose(moved_rows.shift_A, rows.shift_A - step_px * case.PIXEL_A, atol=1e-9)
    np.testing.assert_array_equal(moved_rows.psi_deg, rows.psi_deg)
    np.testing.assert_allclose(moved_rows.p_max, rows.p_max, rtol=WEIGHT_RTOL)


def test_em_fractions_of_a_pixel_are_kept(be):
    """An image moved by part of a pixel in Fourier space, with its offset, is the same particle."""
    problem = case.problem(n=4, shift_A=np.zeros((4, 2)), class_offset_A=np.zeros((2, 2)), sigma_offset_A=1e5)
    images = [inner(image, 5) for image in problem.images]
    k = np.fft.fftfreq(24)
    part = 0.4
    phase = np.exp(-2j * np.pi * part * k)[None, :]
    phase[0, 12] = np.cos(np.pi * part)
    moved = [np.fft.ifft2(np.fft.fft2(image) * phase).real.astype(np.float32) for image in images]
    _, _, rows = case.expect(be, replace(problem, images=images))
    offset = np.array([[-part * case.PIXEL_A, 0.0]] * 4)
    _, _, other = case.expect(be, replace(problem, images=moved, shift_A=offset))
    np.testing.assert_array_equal(other.psi_deg, rows.psi_deg)
    np.testing.assert_allclose(other.shift_A, rows.shift_A + offset, atol=1e-9)
    # The mask does not move by parts of a pixel: what little lies on its edge differs.
    np.testing.assert_allclose(other.p_max, rows.p_max, rtol=0.05)


def truth(n=8, noise=0.02, seed=1, k=2):
    """Particles of known pose seen with the true references, on a fine grid."""
    rng = np.random.default_rng(seed)
    problem = case.problem(
        n=n,
        noise=noise,
        seed=seed,
        psi_step_deg=15.0,
        offset_range_A=6.0,
        sigma_offset_A=20.0,
        k=k,
        resolution_A=9.0,
        perturb=0.0,
        class_offset_A=np.zeros((k, 2)),
        class_weight=np.full(k, 1 / k),
    )
    psi, shift = rng.uniform(0, 360, n), rng.uniform(-4, 4, (n, 2))
    group, images = problem.groups[0], []
    for i in range(n):
        image = case.picture(case.MOLECULES[i % k], case.BOX, case.PIXEL_A, psi[i], shift[i])
        images.append(
            (case.with_optics(group, image, problem.defocus[i]) + noise * rng.normal(size=image.shape)).astype(
                np.float32
            )
        )
    references = np.stack([case.picture(m, case.BOX, case.PIXEL_A) for m in case.MOLECULES[:k]])
    known = replace(problem, images=images, references=references, shift_A=np.zeros((n, 2)))
    return known, psi, shift, np.arange(n) % k + 1


def test_em_finds_true_poses(be):
    problem, psi, shift, class_number = truth()
    _, _, rows = case.expect(be, problem)
    # The nearest points of the fine grids (7.5 degrees, 1.5 A) are half a step away at most; angle and offset trade.
    assert np.abs((rows.psi_deg - psi + 180) % 360 - 180).max() < 7.5
    assert np.abs(rows.shift_A - shift).max() < 1.5
    np.testing.assert_array_equal(rows.class_number, class_number)


def test_em_tells_known_classes_apart_in_noise(be):
    problem, *_, class_number = truth(n=24, noise=0.5)
    _, _, rows = case.expect(be, problem)
    assert (rows.class_number == class_number).mean() > 0.9


def test_em_residual_of_the_truth_is_the_noise(be):
    """Where references and noise are the true ones, the residual is the noise, whose power is known."""
    problem, *_ = truth(n=40, noise=0.5)
    problem = replace(problem, sigma2=np.full((1, 13), 0.5**2 / (2 * 24**2)), diameter_A=200.0)
    _, acc, _ = case.expect(be, problem)
    sigma2 = acc.noise[0] / (2 * acc.noise_count[0])
    # 40 images of 3 to 38 pixels a shell: a spread of 3% to 10%. The best of many poses takes a little of the noise.
    np.testing.assert_allclose(sigma2[1:], problem.sigma2[0, 1:], rtol=0.25)
    assert abs(sigma2[4:].mean() / problem.sigma2[0, 0] - 1) < 0.03


def test_em_only_the_allowed_class(be):
    problem = case.problem()
    plan, rows = case.plan_of(be, problem), []
    only = np.arange(8) % 2
    acc = em.Accumulator.empty(plan)
    rows = em.expect(be, plan, case.batch_of(problem, np.arange(8), only[::-1]), acc)
    np.testing.assert_array_equal(rows.class_number, only[::-1] + 1)
    np.testing.assert_allclose(acc.class_weight, [4, 4], rtol=1e-6)


def test_em_nan_images_fail_alone(be):
    """A particle that is not a number leaves the others' values and every sum as they are without it."""
    problem = case.problem(use_norm=True, use_scale=True)
    images = [image.copy() for image in problem.images]
    images[3][5, 5] = np.nan
    images[6][:] = np.inf
    with np.errstate(invalid="ignore"):
        plan, acc, rows = case.expect(be, replace(problem, images=images))
    np.testing.assert_array_equal(np.flatnonzero(rows.failed), [3, 6])
    good = np.array([0, 1, 2, 4, 5, 7])
    _, _, want = case.expect(be, problem)
    np.testing.assert_allclose(rows.p_max[good], want.p_max[good], rtol=WEIGHT_RTOL)
    np.testing.assert_array_equal(rows.shift_A[3], problem.shift_A[3])
    assert acc.n_particles == 6
    for name, value in full_sums(be, plan, acc).items():
        assert np.isfinite(value).all(), name
    alone = em.Accumulator.empty(plan)
    em.expect(be, plan, case.batch_of(problem, good), alone)
    np.testing.assert_allclose(acc.noise, alone.noise, rtol=1e-6)


def test_em_a_batch_of_nan_alone(be):
    problem = case.problem(n=2)
    problem = replace(problem, images=[np.full((24, 24), np.nan, np.float32)] * 2)
    with np.errstate(invalid="ignore"):
        _, acc, rows = case.expect(be, problem)
    assert rows.failed.all() and acc.n_particles == 0 and np.all(acc.noise == 0)


@pytest.mark.parametrize("changes", [{"skip_rotate": True}, {"skip_align": True}])
def test_em_kept_angles(be, changes):
    """Angles stay; without offsets to search the offsets stay too; empty classes are not chosen."""
    problem, psi, shift, class_number = truth()
    problem = replace(
        problem, psi_deg=psi, class_weight=np.array([1.0, 0.0]) if "skip_align" in changes else problem.class_weight
    )
    if "skip_align" in changes:
        problem = replace(problem, shift_A=shift, offset_range_A=0.0, oversampling=0)
    _, acc, rows = case.expect(be, problem, **changes)
    np.testing.assert_allclose((rows.psi_deg - psi + 180) % 360, 180, atol=1e-9)
    np.testing.assert_allclose(acc.class_weight.sum(), len(psi), rtol=1e-6)
    assert acc.lattice_weight.sum() > 0
    assert np.all(rows.n_significant >= 1) and rows.n_significant.mean() < 4  # of 13 shifts and two classes
    if "skip_align" in changes:
        np.testing.assert_array_equal(rows.shift_A, shift)
        np.testing.assert_array_equal(rows.class_number, 1)
    else:
        assert np.abs(rows.shift_A - shift).max() < 1.5
        np.testing.assert_array_equal(rows.class_number, class_number)


@pytest.mark.parametrize("factor", [1e2, 1e3, 3e3])
def test_em_references_off_scale(be, factor):
    """References far off the images' scale give differences of log weights of millions; the best pose stands."""
    problem = case.problem()
    problem = replace(problem, references=problem.references * factor)
    _, _, rows = case.expect(be, problem)
    assert np.isfinite(rows.p_max).all() and not rows.failed.any()


def test_em_uncorrected_references(be):
    """In iteration 1 references that were never corrected are compared as they are; the new ones are corrected."""
    problem = case.problem()
    plan, acc, rows = case.expect(be, problem, plan=case.plan_of(be, problem, iteration=1, ctf_uncorrected_ref=True))
    _, plain_acc, plain = case.expect(be, replace(problem, ctf=False))
    np.testing.assert_array_equal(rows.psi_deg, plain.psi_deg)
    np.testing.assert_allclose(rows.p_max, plain.p_max, rtol=WEIGHT_RTOL)
    np.testing.assert_allclose(acc.noise, plain_acc.noise, rtol=1e-5)
    geometry = next(iter(plan.geometries.values()))
    (_, weight), (_, plain_weight) = acc.bank_sums[geometry.key], plain_acc.bank_sums[geometry.key]
    assert 0.05 < weight.sum() / plain_weight.sum() < 0.8  # the mean of CTF^2, not 1
    later = case.expect(be, problem, plan=case.plan_of(be, problem, iteration=2, ctf_uncorrected_ref=True))[2]
    np.testing.assert_array_equal(later.p_max, case.expect(be, problem)[2].p_max)


def test_em_skip_maximize_leaves_no_sums(be):
    _, acc, rows = case.expect(be, case.problem(use_norm=True), skip_maximize=True)
    assert not acc.bank_sums and acc.class_weight.sum() == 0
    np.testing.assert_array_equal(rows.norm, case.problem().norm)


def test_em_changes_since_the_last_iteration(be):
    problem = case.problem()
    _, acc, rows = case.expect(be, problem)
    turned = np.abs((rows.psi_deg - problem.psi_deg + 180) % 360 - 180)
    np.testing.assert_allclose(acc.changes, [turned.sum(), ((rows.shift_A - problem.shift_A) ** 2).sum(), 8], rtol=1e-9)
    assert Progress().change_class > 1  # nothing is known before the first iteration
