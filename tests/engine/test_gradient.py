"""Steps along the gradient against their definition, and the residual sums that they start from."""

from dataclasses import replace

import numpy as np
import pytest
import refine3d_case as case

from vitreous import backend
from vitreous.engine import gradient, gradient3d, plan3d
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.reconstruct3d import inverse_transform, reference_transform
from vitreous.model.volume import VolumeLattice

SHAPE = (5, 5, 3)


def random_ft(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def test_middle_is_the_part_with_the_same_frequencies():
    ky, kx = np.meshgrid(np.arange(-4, 5), np.arange(5), indexing="ij")
    small = gradient.middle(np.stack([ky, kx]), (5, 3))
    np.testing.assert_array_equal(small[0][:, 0], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(small[1][0], [0, 1, 2])
    assert gradient.middle(np.zeros((2, 9, 9, 5)), SHAPE).shape == (2, *SHAPE)


def test_gradient_is_residual_over_weight_and_small_where_little_was_seen():
    data, weight = np.array([6 + 2j, 1 + 1j, 0]), np.array([2.0, 0.1, 0.0])
    np.testing.assert_allclose(gradient.gradient(data, weight), [3 + 1j, 1 + 1j, 0])


def test_moments_follow_the_formulas():
    rng = np.random.default_rng(0)
    moments = gradient.no_moments(2, (9, 9, 5))
    g, h = random_ft(rng, 2, *SHAPE), random_ft(rng, 2, *SHAPE)
    gradient.update_moments(moments, 1, g, 0.9, 0.999)
    inside = lambda array: gradient.middle(array, SHAPE)
    np.testing.assert_array_equal(inside(moments.first[:, 1]), g)  # the first ones as they are
    gradient.update_moments(moments, 1, h, 0.9, 0.999)
    np.testing.assert_allclose(inside(moments.first[:, 1]), 0.9 * g + 0.1 * h, rtol=1e-5)
    ratio = lambda x: abs(x[1] - x[0]) ** 2 / (abs(x[0] + x[1]) ** 2 / 4 + 1e-12)
    want = 0.999 * (0.999 + 0.001 * ratio(g)) + 0.001 * ratio(h)
    np.testing.assert_allclose(inside(moments.second[1]), want, rtol=1e-5)
    assert not moments.first[:, 0].any() and (moments.second[0] == 1).all()  # of the other class
    assert moments.first[0, 1, 0, 0, 0] == 0 and moments.second[1, 0, 0, 0] == 1  # beyond the smaller lattice


@pytest.mark.parametrize("seed", [0, 1])
def test_stepped_follows_the_formula(seed):
    rng = np.random.default_rng(seed)
    moments = gradient.no_moments(1, SHAPE)
    moments.first[:, 0] = random_ft(rng, 2, *SHAPE)
    moments.second[0] = rng.uniform(0.5, 2, SHAPE)
    ft, shell = random_ft(rng, *SHAPE), rng.integers(-1, 3, SHAPE)
    got = gradient.stepped(ft, moments, 0, shell, 0.4, 3.0)
    np.testing.assert_array_equal(got[shell < 0], ft[shell < 0])
    m1, m2 = moments.first[:, 0].astype(complex)
    along = (m1 + m2) / 2 / np.sqrt(moments.second[0])
    for s in range(3):
        of = shell == s
        snr = 2 * 3.0 * abs(ft[of]).mean() / abs(m1 - m2)[of].mean()
        f = snr / (1 + snr)
        np.testing.assert_allclose(got[of], ft[of] + 0.4 * (f * along[of] - (1 - f) * ft[of]), rtol=1e-4, atol=1e-5)


def test_stepped_goes_all_the_way_where_the_halves_agree_and_stays_without_a_step():
    rng = np.random.default_rng(2)
    moments = gradient.no_moments(1, SHAPE)
    moments.first[:] = random_ft(rng, *SHAPE)
    moments.first[1] *= 1 + 1e-6
    ft, shell = random_ft(rng, *SHAPE), np.zeros(SHAPE, int)
    np.testing.assert_allclose(gradient.stepped(ft, moments, 0, shell, 1.0, 1.0), ft + moments.first[0, 0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(gradient.stepped(ft, moments, 0, shell, 0.0, 1.0), ft)


def sums_of(be, made, **settings):
    plan, acc, _ = case.expect(be, made, **settings)
    return plan, acc.sums.astype(float)


def test_residual_sums_are_those_of_the_images_less_those_of_the_slices(be):
    """The weights are the same, and the references explain a part of the images."""
    made = case.problem(n=6)
    _, plain = sums_of(be, made)
    _, residual = sums_of(be, made, residual_sums=True)
    np.testing.assert_array_equal(plain[..., 2], residual[..., 2])
    assert abs(residual[..., :2]).sum() < abs(plain[..., :2]).sum()


def known_poses(be, made, **settings):
    """Data of the sums where neither orientations nor offsets are searched."""
    plan = case.plan_of(be, made, skip_align=True, **settings)
    plan = plan3d.resampled(be, plan, replace(plan.sampling, offset_range_A=0.0, oversampling=0, perturb=0.0))
    return case.expect(be, made, plan=plan)[1].sums[..., :2].astype(float)


def test_residual_sums_are_linear_in_the_reference(be):
    """The posterior is fixed: data(V) = images - what V's slices insert, so data(0) - 2 data(V) + data(2 V) = 0."""
    made = case.problem(n=5)
    scaled = lambda factor: replace(made, references=factor * made.references)
    none, one, two = (known_poses(be, scaled(factor), residual_sums=True) for factor in (0.0, 1.0, 2.0))
    plain = known_poses(be, made)
    np.testing.assert_allclose(none, plain, atol=1e-5 * abs(plain).max())
    np.testing.assert_allclose(none - 2 * one + two, 0, atol=1e-4 * abs(plain).max())
    assert abs(one - none).max() > 0.01 * abs(plain).max()


def test_maximise_moves_the_map_along_the_mean_residual(be):
    """One step of length e from the first moments: F + e (f G - (1 - f) F), which is then cut to the sphere."""
    plans, accs = [], []
    for seed in (0, 1):
        plan, acc, _ = case.expect(be, case.problem(n=8, seed=seed), residual_sums=True)
        plans.append(plan)
        accs.append(acc)
    plan, options = plans[0], GradientOptions(n_iterations=10, step=0.5, step_scheme=0.5)
    lattice = plan.lattice
    whole = VolumeLattice(plan.model.box, plan.model.padding, plan.model.box / 2)
    moments = gradient.no_moments(1, whole.shape)
    model, copied = gradient3d.maximise(be, plan, accs, moments, options)
    assert copied is None
    one, two = (gradient.middle(moments.first[h, 0], lattice.shape) for h in (0, 1))
    assert one.any() and two.any() and not np.allclose(one, two)
    ft, _ = reference_transform(plan.model.references[0], lattice, for_slices=False)
    length = 0.5 * (1 - np.exp(-13))
    want = gradient.stepped(ft, moments, 0, gradient3d.shells_of(lattice), length, plan.model.tau2_fudge)
    volume = inverse_transform(want * lattice.box**2, lattice)
    box = plan.model.box
    z, y, x = np.indices((box,) * 3) - box // 2
    inside = np.sqrt(x**2 + y**2 + z**2) < box / 2 - 1
    np.testing.assert_allclose(model.references[0][inside], volume[inside], atol=1e-5 * abs(volume).max())
    assert model.class_weight.tolist() == [1.0] and (model.data_vs_prior >= 0).all()
    assert 0 < model.fourier_coverage.max() <= 1 and model.class_coverage[0] > 0


def test_parameters_of_a_mini_batch_are_averaged(be):
    plan, acc, _ = case.expect(be, case.problem(n=4))
    old = plan.model
    new = replace(old, sigma2_noise=2 * old.sigma2_noise, average_norm=3.0, class_weight=old.class_weight)
    found = gradient.averaged(old, new, 0.9)
    np.testing.assert_allclose(found.sigma2_noise, 1.1 * old.sigma2_noise)
    assert found.average_norm == pytest.approx(0.9 * old.average_norm + 0.3) and acc.n_particles == 4


def test_idle_class_is_the_least_in_the_middle_phase_only():
    options = GradientOptions(n_iterations=200, inactivity=0.1)
    weight = np.array([0.6, 0.37, 0.03])
    assert [gradient.idle_class(weight, i, options) for i in (60, 61, 159, 160)] == [None, 2, 2, None]
    assert gradient.idle_class(np.array([0.6, 0.36, 0.04]), 100, options) is None
    assert gradient.idle_class(weight, 100, GradientOptions(n_iterations=200)) is None


def test_revived_class_is_a_copy_of_the_best(be):
    made = case.problem(n=4, k=2)
    plan, *_ = case.expect(be, made)
    moments = gradient.no_moments(2, SHAPE)
    moments.first[:, 0] = random_ft(np.random.default_rng(0), 2, *SHAPE)
    model = replace(plan.model, class_weight=np.array([0.98, 0.02]))
    found = gradient.revived(model, moments, 1, 0)
    np.testing.assert_array_equal(found.references[1], model.references[0])
    np.testing.assert_array_equal(found.references[0], model.references[0])
    np.testing.assert_array_equal(moments.first[:, 1], np.float32(0.9) * moments.first[:, 0])
    assert found.class_weight.tolist() == [0.5, 0.5] and not np.array_equal(model.references[0], model.references[1])
