"""Gold-standard halves: FSC and prior from their definitions, joining, the last iteration; and K maps."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import refine3d_case as case

from vitreous import backend
from vitreous.engine import gold, plan3d
from vitreous.engine.reconstruct3d import add_friedel_mates, reconstruct
from vitreous.model.masks import soft_sphere
from vitreous.model.volume import VolumeLattice


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


@pytest.fixture(scope="module")
def halves(be):
    """Plans and sums of two half-sets of one molecule."""
    return expected(be)


def expected(be, n=10, settings=None, **changes):
    plans, accs = [], []
    for seed in (0, 1):
        plan, acc, _ = case.expect(be, case.problem(n=n, seed=seed, **changes), **(settings or {}))
        plans.append(plan)
        accs.append(acc)
    return plans, accs


def again(halves):
    """The same plans and a copy of the sums, which the maximisation changes."""
    plans, accs = halves
    return plans, [replace(acc, sums=acc.sums.copy()) for acc in accs]


def whole(sums, lattice):
    """{(x, y, z): (data, weight)} of the whole lattice."""
    middle, out = lattice.nx - 1, {}
    for z, y, x in itertools.product(*(range(n) for n in lattice.shape)):
        value, weight = complex(*map(float, sums[z, y, x, :2])), float(sums[z, y, x, 2])
        out[x, y - middle, z - middle] = value, weight
        out[-x, middle - y, middle - z] = value.conjugate(), weight
    return out


@pytest.mark.parametrize("padding", [1, 1.5, 2])
def test_downsampled_is_data_over_weight_of_the_nearest_samples(padding):
    lattice = VolumeLattice(8, padding, 3.0)
    sums = np.random.default_rng(0).random((*lattice.shape, 3)).astype(np.float32)
    add_friedel_mates(sums)
    got = gold.downsampled(sums, lattice)
    cells = {}
    for (x, y, z), (value, weight) in whole(sums, lattice).items():
        key = tuple(int(np.sign(k) * np.floor(abs(k) / lattice.ratio + 0.5)) for k in (x, y, z))
        data, total = cells.get(key, (0, 0))
        cells[key] = data + value, total + weight
    for (x, y, z), (data, weight) in cells.items():
        if x >= 0 and max(abs(x), abs(y), abs(z)) < 4:
            assert got[z % 8, y % 8, x] == pytest.approx(data / weight, rel=1e-5)


def test_half_map_fsc_is_the_correlation_of_the_downsampled_sums(halves):
    plans, accs = again(halves)
    lattice = plans[0].lattice
    both = []
    for acc in accs:
        add_friedel_mates(acc.sums[0])
        both.append(gold.downsampled(acc.sums[0], lattice))
    curve = gold.half_map_fsc([acc.sums[0] for acc in accs], lattice, 6)
    k = np.fft.fftfreq(16, 1 / 16)
    shell = np.floor(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(9) ** 2) + 0.5)
    for i in range(1, 7):
        a, b = (x[shell == i] for x in both)
        want = (a * b.conj()).real.sum() / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())
        assert curve[i] == pytest.approx(want, abs=1e-6)
    assert curve[0] == 1 and not curve[7:].any() and 0 < curve[5] < 0.999
    same = gold.half_map_fsc([accs[0].sums[0]] * 2, lattice, 6)
    np.testing.assert_allclose(same[:7], 1, atol=1e-6)


def test_tau2_of_fsc_follows_the_formulas():
    curve, sigma2 = np.array([1.0, 0.9, 0.5, 0.143, 0.0, -0.3]), np.full(6, 2.0)
    tau2, ssnr = gold.tau2_of_fsc(curve, sigma2, 3.0, joined=False)
    np.testing.assert_allclose(ssnr, 3 * np.array([999, 9, 1, 0.143 / 0.857, 0.001 / 0.999, 0.001 / 0.999]))
    np.testing.assert_allclose(tau2, 2 * ssnr)
    _, joined = gold.tau2_of_fsc(curve, sigma2, 1.0, joined=True)
    assert joined[3] == pytest.approx(1, abs=2e-3)  # 0.143 of halves is 0.5 of the whole
    f = np.sqrt(2 * 0.9 / 1.9)
    assert joined[1] == pytest.approx(f / (1 - f))


def test_join_low_resolution_inside_and_not_outside(halves):
    plans, accs = again(halves)
    lattice, (a, b) = plans[0].lattice, [acc.sums[0] for acc in accs]
    before = a.copy(), b.copy()
    gold.join_low_resolution((a, b), lattice, 3)
    z, y, x = np.indices(lattice.shape)
    r = np.sqrt(x**2 + (y - lattice.nx + 1) ** 2 + (z - lattice.nx + 1) ** 2)
    inside = r <= 3 * lattice.ratio
    np.testing.assert_array_equal(a[inside], b[inside])
    np.testing.assert_allclose(a[inside], (before[0][inside] + before[1][inside]) / 2, rtol=1e-6)
    for now, then in zip((a, b), before):
        np.testing.assert_array_equal(now[~inside], then[~inside])
        assert (now[inside] != then[inside]).any()


@pytest.mark.parametrize("pixel_A, shell", [(4.0, 3), (4.0, 5), (4.0, 7), (1.07, 3), (1.07, 5)])
def test_halves_join_to_the_shell_of_the_resolution(be, halves, pixel_A, shell, monkeypatch):
    """Also where a resolution of a file, of six decimals, is a little better than the shell's."""
    plans, accs = again(halves)
    box_A = plans[0].model.box * pixel_A
    changed = {"pixel_size_A": pixel_A, "current_resolution_A": np.floor(box_A / shell * 1e6) / 1e6}
    plans = [replace(p, model=replace(p.model, **changed)) for p in plans]
    seen = []
    monkeypatch.setattr(gold, "join_low_resolution", lambda sums, lattice, n: seen.append(n))
    gold.maximise_halves(be, plans, accs, join_A=box_A / 20, last=False)
    assert seen == [min(shell, int(plans[0].lattice.radius_px))]


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_maximise_halves_keeps_the_halves_apart(be, symmetry):
    """Each half's map is of its own sums, with the prior that the FSC gives and its own noise; its parameters too."""
    settings = {"flatten_solvent": True}
    plans, accs = expected(be, 6, settings, symmetry=symmetry, order=1 if symmetry != "C1" else 0)
    sums = [acc.sums[0].copy() for acc in accs]
    models, curve, unfiltered = gold.maximise_halves(be, plans, accs, join_A=0.0, last=False)
    assert unfiltered == [] and not np.array_equal(models[0].references, models[1].references)
    mask = soft_sphere(16, case.DIAMETER_A / 8, 5.0)
    for plan, acc, s, model in zip(plans, accs, sums, models):
        f = np.clip(curve, 0.001, 0.999)
        plain = reconstruct(be, s.copy(), plan.lattice, symmetry=plan.symmetry)
        np.testing.assert_allclose(model.sigma2_reference[0], plain.sigma2, rtol=1e-6)
        np.testing.assert_allclose(model.data_vs_prior[0], f / (1 - f), rtol=1e-9)
        np.testing.assert_allclose(model.tau2[0], f / (1 - f) * plain.sigma2, rtol=1e-6)
        want = reconstruct(be, s.copy(), plan.lattice, symmetry=plan.symmetry, tau2=model.tau2[0]).volume * mask
        np.testing.assert_allclose(model.references[0], want, atol=1e-6 * abs(want).max())
        noise = acc.noise[0] / (2 * acc.noise_count[0])
        np.testing.assert_allclose(model.sigma2_noise[0][1:8], noise[1:8], rtol=1e-6)
        assert model.average_p_max == pytest.approx(acc.p_max / 6) and model.class_weight.tolist() == [1.0]


def test_last_iteration_has_one_map_from_both_halves(be, halves):
    """The map is that of the added sums, not flattened, whatever was joined; half maps have no prior, no joining."""
    plans, accs = again(halves)
    plans = [replace(p, settings=replace(p.settings, flatten_solvent=True)) for p in plans]
    sums, lattice = [acc.sums[0].copy() for acc in accs], plans[0].lattice
    models, curve, unfiltered = gold.maximise_halves(be, plans, accs, join_A=30.0, last=True)
    np.testing.assert_array_equal(models[0].references, models[1].references)
    plain = reconstruct(be, sums[0] + sums[1], lattice)
    f = np.clip(curve, 0.001, 0.999)
    f = np.sqrt(2 * f / (1 + f))
    want = reconstruct(be, sums[0] + sums[1], lattice, tau2=f / (1 - f) * plain.sigma2).volume
    np.testing.assert_allclose(models[0].references[0], want, atol=2e-6 * abs(want).max())
    np.testing.assert_allclose(models[0].data_vs_prior[0], f / (1 - f), rtol=1e-6)
    for s, volume in zip(sums, unfiltered):
        np.testing.assert_array_equal(volume, reconstruct(be, s.copy(), lattice).volume)
    assert abs(models[0].references[0][0]).max() > 0  # the corners of a flattened map would be 0


def test_references_are_low_passed_after_a_correlation(be):
    """By either maximisation, at the first resolution; and one map for K classes stays one map for K classes."""
    settings = {"first_iteration_cc": True, "ini_high_A": 30.0, "one_reference_for_all": True}
    made = case.problem(n=4, k=2, only_class=np.zeros(4, int))
    made.references[1] = made.references[0]
    plan, acc, rows = case.expect(be, made, plan=case.plan_of(be, made, iteration=1, **settings))
    assert set(rows.class_number) == {1} and plan.correlation
    model = gold.maximise_classes(be, plan, acc)
    np.testing.assert_array_equal(model.references[0], model.references[1])
    np.testing.assert_allclose(model.class_weight, 0.5)
    box_A = case.BOX * case.PIXEL_A
    plans, accs = expected(be, 4)
    plans = [replace(p, iteration=1, settings=replace(p.settings, **settings)) for p in plans]
    halves_models, *_ = gold.maximise_halves(be, plans, accs, join_A=0.0, last=False)
    k = np.fft.fftfreq(case.BOX, 1 / case.BOX)
    far = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2) > box_A / 30 + 1.01
    for some in (model, *halves_models):
        ft = abs(np.fft.fftn(some.references[0]))
        assert ft[far].max() < 1e-5 * ft.max()


def test_classes_have_the_power_of_their_references_as_prior(be):
    plan, acc, _ = case.expect(be, case.problem(n=8, k=2))
    sums = acc.sums.copy()
    model = gold.maximise_classes(be, replace(plan, model=replace(plan.model, tau2_fudge=4.0)), acc)
    np.testing.assert_array_equal(model.tau2, plan.reference_power)
    for k in range(2):
        want = reconstruct(be, sums[k], plan.lattice, tau2=plan.reference_power[k], tau2_fudge=4.0)
        np.testing.assert_array_equal(model.references[k], want.volume)
        np.testing.assert_array_equal(model.data_vs_prior[k], want.data_vs_prior)
    assert model.class_weight.sum() == pytest.approx(1) and isinstance(plan, plan3d.Plan3D)
