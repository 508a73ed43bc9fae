"""What a run starts from: noise spectra, averages at random angles, blobs."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import em, initial
from vitreous.errors import InputError


@pytest.fixture(scope="module")
def cpu():
    return backend.cpu(2)


def noise_problem(n=60, sd=2.0, two_groups=False, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    problem = case.problem(n=n, two_groups=two_groups)
    boxes = [problem.groups[g].box for g in problem.group_of]
    images = [(mean + sd * rng.normal(size=(b, b))).astype(np.float32) for b in boxes]
    return replace(problem, images=images)


def spectra(be, problem, n_groups=None):
    plan = initial.start_plan(
        case.model_of(problem), case.sampling_of(problem), case.settings_of(problem, zero_mask=False), 8
    )
    sums = initial.NoiseSum(n_groups or len(problem.groups), problem.n_shells)
    for batch in case.batches_of(problem, 7):
        sums.add(be, plan, batch)
    return sums.spectra()


def test_initial_noise_of_white_images(cpu):
    """Variance per component sd^2 / (2 n^2) in every shell, in the units of each group's own images."""
    problem = noise_problem(two_groups=True)
    found = spectra(cpu, problem)
    for g, box in enumerate((24, 28)):
        # 30 images, 3 to 38 pixels a shell; the mean image takes 1/30.
        np.testing.assert_allclose(found[g, 1:], 4 / (2 * box**2) * 29 / 30, rtol=0.3)
        assert abs(found[g, 3:].mean() / (4 / (2 * box**2)) - 1) < 0.06


def test_initial_noise_without_the_mean_image(cpu):
    """What all images share is no noise."""
    problem = noise_problem()
    common = case.picture(case.MOLECULES[0], 24, 3.0, scale=30.0).astype(np.float32)
    shared = replace(problem, images=[image + common for image in problem.images])
    np.testing.assert_allclose(spectra(cpu, shared), spectra(cpu, problem), rtol=2e-3)


def test_initial_noise_of_a_group_without_particles(cpu):
    found = spectra(cpu, noise_problem(), n_groups=3)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_initial_noise_of_constant_images_is_refused(cpu):
    problem = case.problem()
    with pytest.raises(InputError, match="are they constant"):
        spectra(cpu, replace(problem, images=[np.zeros((24, 24), np.float32)] * 8))


def test_initial_averages_are_those_of_the_drawn_angles(cpu):
    """Unregularised averages of noiseless particles at their true angles are the molecule, up to the size in use."""
    n = 48
    rng = np.random.default_rng(2)
    psi = rng.uniform(0, 360, n)
    problem = case.problem(n=n, ctf=False)
    images = [case.picture(case.MOLECULES[i % 2], 24, 3.0, psi[i]).astype(np.float32) for i in range(n)]
    problem = replace(problem, images=images, shift_A=np.zeros((n, 2)), norm=np.ones(n), average_norm=1.0)
    plan = initial.start_plan(case.model_of(problem), case.sampling_of(problem), case.settings_of(problem), 24)
    acc = em.Accumulator.empty(plan)
    for batch in case.batches_of(problem, 20):
        initial.add_random_views(cpu, plan, batch, psi[batch.index], batch.index % 2, acc)
    maps = initial.averages(plan, acc, 1)
    disc = case.oracle_images.disc(24, 8, 0) > 0
    for found, molecule in zip(maps, case.MOLECULES):
        want = case.picture(molecule, 24, 3.0)
        assert np.abs(found - want)[disc].max() < 0.05 * want.max()


@pytest.mark.parametrize("premultiplied", [False, True])
def test_initial_averages_are_corrected_for_the_ctf(cpu, premultiplied):
    n = 60
    rng = np.random.default_rng(2)
    psi = rng.uniform(0, 360, n)
    problem = case.problem(
        n=n, premultiplied=premultiplied, defocus=np.stack([rng.uniform(2e3, 2e4, n)] * 2 + [np.zeros(n)], 1)
    )
    group = problem.groups[0]
    images = [
        case.with_optics(group, case.picture(case.MOLECULES[0], 24, 3.0, psi[i]), problem.defocus[i]).astype(np.float32)
        for i in range(n)
    ]
    problem = replace(problem, images=images, shift_A=np.zeros((n, 2)))
    plan = initial.start_plan(case.model_of(problem), case.sampling_of(problem), case.settings_of(problem), 24)
    acc = em.Accumulator.empty(plan)
    initial.add_random_views(cpu, plan, case.batch_of(problem, np.arange(n)), psi, np.zeros(n, int), acc)
    want, found = case.picture(case.MOLECULES[0], 24, 3.0), initial.averages(plan, acc, 1)[0]
    disc = case.oracle_images.disc(24, 8, 0) > 0
    # The CTF's tails leave the box, and are lost there.
    assert np.corrcoef(found[disc], want[disc])[0, 1] > 0.98
    assert found[disc].std() == pytest.approx(want[disc].std(), rel=0.15)


def test_initial_blobs_are_of_the_particle(cpu):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 64, 64)).astype(np.float32) * np.array([1, 2, 5], np.float32)[:, None, None]
    found = initial.blobs(maps, 40.0, 5)
    assert np.array_equal(found, initial.blobs(maps, 40.0, 5)) and not np.array_equal(
        found, initial.blobs(maps, 40.0, 6)
    )
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.95  # classes differ
    # A blob has the width exp(-(10 r / D)^2): nothing finer than that.
    power = np.abs(np.fft.rfft2(found)) ** 2
    assert power[:, 0, 20:].sum() < 1e-3 * power[:, 0, 1:].sum()
    # Half as many negative ones as positive, whatever the sign of the map.
    signs = initial.blobs(np.abs(maps), 40.0, 5)
    assert signs.min() < -0.1 * signs.max() and np.abs(signs.sum((1, 2))).min() > 0
    assert np.array_equal(np.sign(initial.blobs(-np.abs(maps), 40.0, 5)), np.sign(signs))
    # Flat beyond the mask, and of the map's spread but for what the mask took.
    assert np.ptp(found[:, :4, :4], axis=(1, 2)).max() < 1e-5
    assert np.all(np.abs(found.std((1, 2)) / maps.std((1, 2)) - 1) < 0.25)


def test_initial_blobs_of_nothing_are_nothing():
    assert np.all(initial.blobs(np.zeros((2, 24, 24), np.float32), 10.0, 1) == 0)


def test_initial_angles_are_of_the_particle():
    rows = np.array([5, 100, 7])
    np.testing.assert_array_equal(initial.random_views(rows, 3), initial.random_views(np.arange(101), 3)[rows])
    many = initial.random_views(np.arange(4000), 3)
    assert many.min() >= 0 and many.max() < 360
    counts = np.histogram(many, 8, (0, 360))[0]
    assert np.abs(counts - 500).max() < 100  # 4.5 standard deviations


def test_initial_size():
    assert initial.start_size(100, 2.0, 0.0) == 14  # 0.07 of the box
    assert initial.start_size(100, 2.0, 20.0) == 20
    assert initial.start_size(100, 2.0, 1.0) == 100 and initial.start_size(8, 2.0, 0.0) == 2


def test_initial_priors_are_power_over_noise():
    problem = case.problem()
    model = initial.start_priors(case.model_of(problem), 500)
    ratio = model.tau2 * 500 * problem.class_weight[:, None] * 2.0 / problem.sigma2.mean(0)
    np.testing.assert_allclose(model.data_vs_prior, ratio, rtol=1e-12)
    for c in range(2):
        below = np.flatnonzero(model.data_vs_prior[c, 1:] < 1)
        last = below[0] if len(below) else 12
        assert model.class_resolution_A[c] == 72 / max(last, 1)
