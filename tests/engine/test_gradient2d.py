"""A step of 2D references against its definition in double precision, and the residual sums that it starts from."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import em, gradient, gradient2d
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.maximise import maximise as maximise_em
from vitreous.engine.plan import make_plan
from vitreous.engine.reconstruct import Lattice, reference_transform
from vitreous.model.state import Progress

# Transforms and sums in float32, relative to the largest value. Measured: 1e-6.
RTOL = 1e-5
BOX = case.BOX
PLAIN = GradientOptions(n_iterations=10, step=0.3, step_scheme=0.3, tau2_scheme=0.0)


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def sums_of(be, made, plan=None, **settings):
    """Plan and sums of the even and of the odd particles."""
    plan = case.plan_of(be, made, **settings) if plan is None else plan
    accs = []
    for parity in (0, 1):
        acc = em.Accumulator.empty(plan)
        em.expect(be, plan, case.batch_of(made, np.arange(parity, len(made.images), 2)), acc)
        em.insert_banks(be, plan, acc)
        accs.append(acc)
    return plan, accs


def moments_of(plan):
    return gradient.no_moments(plan.model.n_classes, Lattice(BOX, plan.model.padding, BOX / 2).shape)


def known_poses(be, made, references=None, **settings):
    """A plan that searches neither angles nor offsets."""
    model = case.model_of(made)
    model = model if references is None else replace(model, references=references)
    sampling = replace(case.sampling_of(made), offset_range_A=0.0, oversampling=0, perturb=0.0)
    progress = Progress(iteration=3, increment_px=made.increment_px)
    return make_plan(be, model, sampling, progress, case.settings_of(made, skip_align=True, **settings))


# ---- the definition, in double precision: no kernel, no FFT


def waves(lattice):
    """(ny, nx, box, box) exp(-2 pi i k x / side) of every sample of the lattice and every pixel."""
    x, k = np.arange(BOX) - BOX // 2, np.arange(-(lattice.nx - 1), lattice.nx)
    of_y = np.exp(-2j * np.pi * np.outer(k, x) / lattice.side)
    return np.einsum("ay,bx->abyx", of_y, of_y[lattice.nx - 1 :])


def oracle_step(plan, accs, first, second, k, length):
    """Reference, first and second moments of class k after a step, before any mask."""
    lattice, fudge = plan.lattice, plan.model.tau2_fudge
    kx, ky = np.meshgrid(np.arange(lattice.nx), np.arange(-(lattice.nx - 1), lattice.nx))
    distance, step = np.hypot(kx, ky), []
    for acc in accs:
        data = acc.lattice_data[k, ..., 0] + 1j * acc.lattice_data[k, ..., 1]
        weight = np.array(acc.lattice_weight[k])
        data[:, 0] = data[:, 0] + data[::-1, 0].conj()  # the column kx = 0 holds both mates
        weight[:, 0] = weight[:, 0] + weight[::-1, 0]
        step.append(data / np.maximum(1, weight))
    first = np.stack(step) if not first.any() else 0.9 * first + 0.1 * np.stack(step)
    second = 0.999 * second + 0.001 * abs(step[1] - step[0]) ** 2 / (abs((step[0] + step[1]) / 2) ** 2 + 1e-12)
    along = (first[0] + first[1]) / 2 / (np.sqrt(second) + 1e-12)
    wave = waves(lattice)
    inside = distance <= lattice.radius
    ft = np.einsum("abyx,yx->ab", wave, plan.model.references[k].astype(float)) / BOX**2 * inside
    shell = np.floor(distance / lattice.ratio + 0.5).astype(int)
    for s in range(BOX // 2 + 1):
        of = inside & (shell == s)
        if of.any():
            noise = abs(first[0] - first[1])[of].mean()
            snr = 2 * fudge * abs(ft[of]).mean() / noise if noise > 0 else 0  # nothing was seen
            f = snr / (1 + snr)
            ft[of] += length * (f * along[of] - (1 - f) * ft[of])
    twice = np.where(kx > 0, 2, 1)  # of each pair of mates one is stored, but on kx = 0
    image = (np.einsum("abyx,ab->yx", wave.conj(), ft * twice) * BOX**2 / lattice.side**2).real
    return image, first, second


def within_circle(values):
    y, x = np.indices((BOX, BOX)) - BOX // 2
    return values[..., np.hypot(x, y) < BOX / 2 - 1]


@pytest.mark.parametrize("name", ["plain", "premultiplied, scaled", "two optics groups", "an empty class", "padding 1"])
def test_maximise_matches_the_definition_over_two_steps(be, name):
    made = case.problem(**case.CASES[name])
    plan, accs = sums_of(be, made, residual_sums=True)
    moments, n_classes = moments_of(plan), plan.model.n_classes
    known = [(np.zeros((2, *plan.lattice.shape), complex), np.ones(plan.lattice.shape))] * n_classes
    for _ in range(2):
        want = []
        for k, of_class in enumerate(known):
            length = 0.3 * (1 - np.exp(-(3 * n_classes + 10) * plan.model.class_weight[k]))
            want.append(oracle_step(plan, accs, *of_class, k, length))
        known = [w[1:] for w in want]
        got, unmasked = gradient2d.maximise(be, plan, accs, moments, PLAIN)
        for k, (image, first, second) in enumerate(want):
            scale = abs(image).max()
            np.testing.assert_allclose(within_circle(got.references[k]), within_circle(image), atol=RTOL * scale)
            mine = gradient.middle(moments.first[:, k], plan.lattice.shape)
            np.testing.assert_allclose(mine, first, atol=RTOL * max(abs(first).max(), 1e-30))
            np.testing.assert_allclose(gradient.middle(moments.second[k], plan.lattice.shape), second, rtol=1e-3)
        np.testing.assert_array_equal(unmasked, got.references)  # nothing was masked
        plan, accs = sums_of(be, made, plan=replace_model(be, plan, got, made))


def replace_model(be, plan, model, made):
    """The plan of another iteration with new references and weights, all else as it was."""
    model = replace(plan.model, references=model.references, class_weight=model.class_weight)
    return case.plan_of(be, made, model=model, residual_sums=True)


# ---- residual sums


def test_residual_sums_are_those_of_the_images_less_those_of_the_slices(be):
    """The weights are the same, and the references explain a part of the images."""
    made = case.problem(n=6)
    _, plain = sums_of(be, made)
    _, residual = sums_of(be, made, residual_sums=True)
    for one, two in zip(plain, residual):
        np.testing.assert_array_equal(one.lattice_weight, two.lattice_weight)
        assert abs(two.lattice_data).sum() < abs(one.lattice_data).sum()


@pytest.mark.parametrize("n", [5, 8])
def test_residual_sums_are_linear_in_the_references(be, n):
    """Poses are fixed and there is one class: data(V) = images - what V's slices insert, so data(0) - 2 data(V) + data(2 V) = 0."""
    made = case.problem(n=n, k=1)
    references = case.model_of(made).references
    data = lambda factor, **more: sums_of(be, made, known_poses(be, made, np.float32(factor) * references, **more))[1][0].lattice_data
    none, one, two = (data(factor, residual_sums=True) for factor in (0, 1, 2))
    scale = abs(none).max()
    np.testing.assert_allclose(none, data(1), atol=1e-5 * scale)
    np.testing.assert_allclose(none - 2 * one + two, 0, atol=1e-4 * scale)
    assert abs(one - none).max() > 0.01 * scale


def test_whole_step_lands_on_the_average_of_the_images(be):
    """Poses are known, both halves are the same particles, the step is whole: it ends where expectation-maximisation does
    without a prior, up to interpolation at the rim and the origin, a seventh of where it began. Measured: 0.071 of 0.507."""
    made = case.problem(n=24, k=1, noise=0.02, ctf=False)
    settings = {"minres_map": 100}  # no shell has a prior
    plan, accs = sums_of(be, made, known_poses(be, made, **settings))
    want, *_ = maximise_em(be, plan, em.joined(*accs), Progress(iteration=3))
    plan, accs = sums_of(be, made, known_poses(be, made, residual_sums=True, **settings))
    halves = [em.joined(*accs), em.joined(*accs)]
    halves[1].lattice_data *= 1 + 1e-6  # halves that agree to the last bit have seen nothing
    got, _ = gradient2d.maximise(be, plan, halves, moments_of(plan), replace(PLAIN, step=1.0, step_scheme=1.0))
    low_passed = lambda model: reference_transform(model.references, plan.lattice)[0].ravel()
    goal = low_passed(want)
    distance = lambda model: np.linalg.norm(low_passed(model) - goal) / np.linalg.norm(goal)
    assert distance(got) < 0.1 < 0.5 < distance(plan.model)


# ---- centring and idle classes


def blob(dy, dx):
    y, x = np.indices((BOX, BOX)) - BOX // 2
    return np.exp(-((y - dy) ** 2 + (x - dx) ** 2) / 8).astype(np.float32)


def test_recentred_moves_a_reference_and_its_moments_alike(be):
    """By whole pixels, and those alone that are far off."""
    made = case.problem(k=2, offset_range_A=30.0)
    plan = case.plan_of(be, made)
    whole = Lattice(BOX, plan.model.padding, BOX / 2)
    references = np.stack([blob(4, -3), blob(1, 1)])
    moments = moments_of(plan)
    moments.first[:] = reference_transform(references, whole, for_slices=False)[0]
    found = gradient2d.recentred(references, moments, plan)
    np.testing.assert_allclose(found[0], blob(0, 0), atol=1e-3)  # what the edge cuts off
    np.testing.assert_array_equal(found[1], references[1])
    want = reference_transform(np.stack([blob(0, 0), blob(1, 1)]), whole, for_slices=False)[0]
    for half in moments.first:
        np.testing.assert_allclose(half, want, atol=1e-3 * abs(want).max())


def test_idle_class_begins_again_with_the_best_of_all_that_is_its(be):
    made = case.problem(k=2)
    plan, accs = sums_of(be, made, residual_sums=True)
    model = replace(plan.model, class_weight=np.array([0.999, 0.001]))
    plan = replace(plan, model=model, settings=replace(plan.settings, flatten_solvent=True), iteration=5)
    options = replace(PLAIN, inactivity=1.0, mu=0.999)
    moments = moments_of(plan)
    got, unmasked = gradient2d.maximise(be, plan, accs, moments, options)
    for name in gradient.PER_CLASS:
        values = getattr(got, name)
        np.testing.assert_array_equal(values[1], values[0], err_msg=name)
    np.testing.assert_array_equal(unmasked[1], unmasked[0])
    np.testing.assert_array_equal(moments.first[:, 1], np.float32(0.9) * moments.first[:, 0])
    assert got.class_weight.sum() == pytest.approx(1) and not np.array_equal(unmasked, got.references)
