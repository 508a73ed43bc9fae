"""New parameters and references against their definition; limits of the update rules."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous.engine import em
from vitreous.engine.maximise import centred, class_statistics, filled, maximise, new_scales
from vitreous.errors import InputError
from vitreous.model.band import shell_counts
from vitreous.model.state import Progress

# Sums of float32 products and transforms in float32, relative to the largest value. Measured: 4e-7.
RTOL = 1e-5


def solve(be, problem, iteration=3, plan=None, **settings):
    plan, acc, rows = case.expect(be, problem, plan=plan, **settings)
    em.insert_banks(be, plan, acc)
    return (*maximise(be, plan, acc, Progress(iteration=iteration)), rows)


@pytest.mark.parametrize("name", case.CASES)
def test_maximise_matches_oracle(be, name):
    problem, want = case.oracle_of(be, name)
    model, *_ = solve(be, problem)
    for field in (
        "class_weight",
        "class_offset_A",
        "sigma2_noise",
        "group_scale",
        "tau2",
        "data_vs_prior",
        "sigma2_reference",
        "references",
        "sigma_offset_A",
        "average_norm",
    ):
        got = getattr(model, field)
        np.testing.assert_allclose(got, want[field], atol=RTOL * np.abs(want[field]).max(), err_msg=field)
    # A sample whose ratio is 1 to within rounding may count either way: one of at least 5 in a shell.
    assert np.abs(model.fourier_coverage - want["fourier_coverage"]).max() <= 0.2
    assert (model.fourier_coverage == want["fourier_coverage"]).mean() > 0.9


def test_maximise_particles_given_twice_change_counts_alone(be):
    problem = case.problem(use_norm=True, use_scale=True)
    double = replace(
        problem,
        images=problem.images * 2,
        micrograph=np.tile(problem.micrograph, 2),
        group_of=np.tile(problem.group_of, 2),
        defocus=np.tile(problem.defocus, (2, 1)),
        psi_deg=np.tile(problem.psi_deg, 2),
        norm=np.tile(problem.norm, 2),
        shift_A=np.tile(problem.shift_A, (2, 1)),
        tau2_fudge=problem.tau2_fudge / 2,
    )
    one, *_ = solve(be, problem)
    two, *_ = solve(be, double)
    # Twice the data under half the prior variance: the same maps, and every mean as it was.
    for field in (
        "references",
        "sigma2_noise",
        "class_weight",
        "class_offset_A",
        "group_scale",
        "average_norm",
        "sigma_offset_A",
        "data_vs_prior",
        "average_p_max",
    ):
        value = getattr(one, field)
        np.testing.assert_allclose(getattr(two, field), value, atol=RTOL * np.abs(value).max(), err_msg=field)
    np.testing.assert_allclose(two.log_likelihood, 2 * one.log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(2 * two.sigma2_reference, one.sigma2_reference, rtol=RTOL)


def test_maximise_an_empty_class_stays_empty(be):
    problem = case.problem(k=3, class_weight=np.array([0.5, 0.0, 0.5]))
    model, *_ = solve(be, problem)
    assert np.all(model.references[1] == 0) and model.class_weight[1] == 0
    for _ in range(2):
        plan = case.plan_of(be, problem, model=model)
        model, _, unmasked, rows = solve(be, problem, plan=plan)
        assert np.all(model.references[1] == 0) and np.all(rows.class_number != 2)
        for name, value in vars(model).items():
            if isinstance(value, np.ndarray):
                assert np.isfinite(value).all(), name
        assert np.isfinite(unmasked).all()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 5), (3, 7)])
def test_maximise_fewer_particles_than_classes(be, n, k):
    problem = case.problem(n=n, k=k, use_norm=True, use_scale=True)
    model = case.model_of(problem)
    for iteration in (1, 2, 3):
        plan = case.plan_of(be, problem, iteration=iteration, model=model, flatten_solvent=True, center_classes=True)
        model, progress, _, rows = solve(be, problem, iteration=iteration, plan=plan)
        assert not rows.failed.any() and np.isfinite(model.references).all() and np.isfinite(progress.change_offset_A)
        np.testing.assert_allclose(model.class_weight.sum(), 1, rtol=1e-6)
        assert np.all(model.sigma2_noise > 0) and 3 * case.PIXEL_A <= model.current_resolution_A <= 24 * case.PIXEL_A


def test_maximise_one_map_for_all_classes_after_correlation(be):
    """Iteration 1 had the first class alone; the next one starts from K copies of it."""
    problem = case.problem(k=3)
    settings = {"first_iteration_cc": True, "one_reference_for_all": True, "ini_high_A": 20.0}
    plan = case.plan_of(be, problem, iteration=1, **settings)
    acc = em.Accumulator.empty(plan)
    em.expect(be, plan, case.batch_of(problem, np.arange(8), np.zeros(8)), acc)
    em.insert_banks(be, plan, acc)
    model, _, unmasked = maximise(be, plan, acc, Progress(iteration=1))
    np.testing.assert_allclose(model.class_weight, 1 / 3)
    assert model.references.std() > 0 and unmasked.shape == model.references.shape
    for c in (1, 2):
        np.testing.assert_array_equal(model.references[c], model.references[0])
        np.testing.assert_array_equal(model.data_vs_prior[c], model.data_vs_prior[0])
    assert abs(model.current_resolution_A - 18.0) < 1e-9  # round(72 A / 20 A) = 4 shells


def test_maximise_correlation_keeps_noise_norm_and_scale(be):
    problem = case.problem(correlation=True, use_norm=True, use_scale=True)
    model, _, _, rows = solve(be, problem)
    np.testing.assert_array_equal(model.sigma2_noise, problem.sigma2)
    np.testing.assert_array_equal(model.group_scale, problem.scale)
    np.testing.assert_array_equal(rows.norm, problem.norm)
    assert model.average_norm == problem.average_norm and -1 <= model.log_likelihood <= 1


def test_maximise_fixed_values_stay(be):
    problem = case.problem()
    tau2 = np.linspace(2, 1, 13) * 1e-4
    model, *_ = solve(be, problem, fix_sigma_noise=True, fix_sigma_offset=True, fixed_tau2=tau2)
    np.testing.assert_array_equal(model.sigma2_noise, problem.sigma2)
    assert model.sigma_offset_A == problem.sigma_offset_A
    np.testing.assert_array_equal(model.tau2, np.tile(tau2, (2, 1)))


def test_maximise_least_offset_spread(be):
    model, *_ = solve(be, case.problem(), min_sigma2_offset_A2=900.0)
    assert model.sigma_offset_A == 30.0


def test_maximise_solvent_mask(be):
    problem = case.problem()
    mask = np.zeros((24, 24), np.float32)
    mask[8:16, 8:16] = 1
    model, _, unmasked, _ = solve(be, problem, flatten_solvent=True, solvent_mask=mask)
    np.testing.assert_array_equal(model.references, unmasked * mask)
    round_, _, unmasked, _ = solve(be, problem, flatten_solvent=True)
    assert np.all(round_.references[:, 0, 0] == 0) and round_.references[0, 12, 12] == unmasked[0, 12, 12]


def test_centred_moves_the_mass_to_the_centre():
    blob = case.picture(((6, -9, 4, 1.0),), 24, 3.0)[None].astype(np.float32)
    x = np.arange(24) - 12
    centre = lambda image: np.array([(image * x).sum(), (image * x[:, None]).sum()]) / image.sum()
    np.testing.assert_allclose(centre(blob[0]), [2, -3], atol=0.01)
    np.testing.assert_allclose(centre(centred(blob, 10.0)[0]), 0, atol=0.02)
    # No further than the limit: 1 px along (2, -3).
    np.testing.assert_allclose(centre(centred(blob, 1.0)[0]), np.array([2, -3]) * (1 - 1 / np.sqrt(13)), atol=0.02)
    assert np.all(centred(np.zeros((1, 24, 24), np.float32), 5.0) == 0)


def test_filled_takes_the_previous_positive_shell():
    np.testing.assert_array_equal(filled([0, 0, 3, 0, 2, 0]), [3, 3, 3, 3, 2, 2])
    with pytest.raises(InputError, match="every shell is zero"):
        filled(np.zeros(4))
    with pytest.raises(InputError, match="not a number"):
        filled(np.full(4, np.nan))


def test_scales_are_bounded_with_mean_one(be):
    problem = case.problem(scale=np.array([1.0, 1.0, 1.0, 0.7]))
    plan = case.plan_of(be, problem)
    acc = em.Accumulator.empty(plan)
    acc.scale_cross[:], acc.scale_model[:] = [1.0, 100.0, 0.001, 0.0], [1.0, 1.0, 1.0, 0.0]
    model = replace(plan.model, group_counts=np.array([10, 10, 10, 0]))
    scale = new_scales(model, acc)
    np.testing.assert_allclose(scale[:3] / scale[0], [1, 5, 0.2])
    np.testing.assert_allclose((scale * model.group_counts).sum() / 30, 1)
    # A group that had no particle keeps what it had, on the new common scale.
    np.testing.assert_allclose(scale[3] / scale[0], 0.7)


def test_scales_of_known_groups_are_found(be):
    """Micrographs whose images are 1.3 and 0.7 times as strong get these scales under the true references."""
    rng = np.random.default_rng(5)
    problem = case.problem(
        n=24,
        use_scale=True,
        scale=np.ones(2),
        noise=0.1,
        seed=3,
        resolution_A=9.0,
        psi_step_deg=15.0,
        ctf=False,
        class_offset_A=np.zeros((2, 2)),
        sigma_offset_A=20.0,
        perturb=0.0,
    )
    true = np.where(np.arange(24) % 2, 0.7, 1.3)
    images = [
        (s * case.picture(case.MOLECULES[0], 24, 3.0, psi) + 0.1 * rng.normal(size=(24, 24))).astype(np.float32)
        for s, psi in zip(true, rng.uniform(0, 360, 24))
    ]
    references = np.stack([case.picture(m, 24, 3.0) for m in case.MOLECULES])
    problem = replace(
        problem, images=images, references=references, shift_A=np.zeros((24, 2)), micrograph=np.arange(24) % 2
    )
    model, *_ = solve(be, problem)
    np.testing.assert_allclose(model.group_scale, [1.3, 0.7], atol=0.02)


def test_class_statistics_are_of_the_samples_up_to_the_resolution():
    model = case.model_of(case.problem(k=1))
    ratio, coverage = np.zeros((1, 13)), np.zeros((1, 13))
    ratio[0, :7], coverage[0, :6], coverage[0, 9] = 5.0, 1.0, 1.0
    found = class_statistics(replace(model, data_vs_prior=ratio, fourier_coverage=coverage))
    assert found["class_resolution_A"][0] == 72 / 6
    count = shell_counts(24)
    np.testing.assert_allclose(found["class_coverage"], count[:6].sum() / count[:7].sum())
