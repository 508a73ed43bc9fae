"""The loop over iterations: what it starts from, whom it uses, when it stops."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.comm import LocalComm
from vitreous.errors import InputError
from vitreous.job import batches, classify
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.state import Progress

NO_CTF = {"ctf": False}


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


class Source:
    """Images in memory."""

    def __init__(self, images, bad=None):
        self.images, self.bad, self.n_read = images, bad or {}, 0

    def prefetch(self, parts):
        for indices in parts:
            self.n_read += len(indices)
            yield (
                indices,
                np.stack([self.images[i] for i in indices]),
                {int(i): self.bad[int(i)] for i in indices if int(i) in self.bad},
            )


def state_of(problem, **sampling):
    n = len(problem.images)
    ctf = CtfColumns(*problem.defocus.T, np.zeros(n), np.ones(n), np.zeros(n))
    optics = [case.optics_group(g, i + 1) for i, g in enumerate(problem.groups)]
    euler = np.zeros((n, 3))
    euler[:, 2] = problem.psi_deg
    particles = Particles.default(
        n,
        optics=problem.group_of.astype(np.int32),
        shift_A=np.array(problem.shift_A),
        ctf=ctf,
        euler_deg=euler,
        group=problem.micrograph.astype(np.int32),
    )
    data = Dataset(
        optics, ["m"], Exposures.single(1), particles, ["s.mrcs"], [f"m{i}" for i in range(len(problem.scale))]
    )
    model = case.model_of(problem)
    model = replace(
        model,
        class_weight=np.full(model.n_classes, 1 / model.n_classes),
        class_offset_A=np.zeros((model.n_classes, 2)),
        group_scale=np.ones(len(problem.scale)),
        average_norm=1.0,
        sigma_offset_A=10.0,
    )
    return classify.State(
        data, model, replace(case.sampling_of(problem), **({"perturb": 0.0} | sampling)), Progress(increment_px=4)
    )


def simple(n=60, k=2, noise=0.4, seed=0, **changes):
    """Centred molecules without CTF, of unit noise scale as particles are normalised."""
    rng = np.random.default_rng(seed)
    problem = case.problem(n=n, k=k, ctf=False, seed=seed, psi_step_deg=20.0, **changes)
    images = [
        (case.picture(case.MOLECULES[i % 2], 24, 3.0, rng.uniform(0, 360)) / noise + rng.normal(size=(24, 24))).astype(
            np.float32
        )
        for i in range(n)
    ]
    return replace(problem, images=images, shift_A=np.zeros((n, 2)), psi_deg=np.zeros(n), resolution_A=18.0)


def start(be, problem, settings, references=None, n_noise=1000, max_bad=0.01, source=None):
    source = source or Source(problem.images)
    return classify.initialise(
        be, state_of(problem), settings, source, n_noise=n_noise, references=references, use_blobs=True, max_bad=max_bad
    )


def run(be, problem, settings, n_iterations, references=None, source=None, **initial):
    source = source or Source(problem.images)
    states = [start(be, problem, settings, references, source=source, **initial)]
    for _ in range(n_iterations):
        states.append(classify.iterate(be, states[-1], settings, source, LocalComm()))
    return states


def test_classify_separates_two_molecules(be):
    """From random averages: noise of variance 1 is found, the likelihood rises, and the classes are the molecules."""
    problem = simple(n=120)
    states = run(be, problem, case.settings_of(problem, zero_mask=False), 12)
    first, last = states[0], states[-1]
    assert abs(first.model.sigma2_noise[0, 6:].mean() * 2 * 24**2 - 1) < 0.15
    assert states[12].model.log_likelihood > states[4].model.log_likelihood > states[1].model.log_likelihood
    found = last.dataset.particles.class_number
    truth = np.arange(120) % 2 + 1
    right = (found == truth).mean()
    assert max(right, 1 - right) > 0.9
    assert last.progress.iteration == 12 and set(last.seconds) == {"plan", "expectation", "maximisation"}


def test_classify_is_a_function_of_its_seed(be):
    problem = simple(n=30)
    settings = case.settings_of(problem, zero_mask=False)
    one, two = (run(be, problem, settings, 2)[-1] for _ in range(2))
    np.testing.assert_array_equal(one.model.references, two.model.references)
    other = run(be, problem, replace(settings, random_seed=4), 2)[-1]
    assert not np.array_equal(one.model.references, other.model.references)


@pytest.mark.parametrize("cc", [False, True])
def test_classify_one_reference_for_all(be, cc):
    """K classes from one map: the first iteration that does not score by correlation splits the particles."""
    problem = simple(n=40, k=4)
    one_map = np.repeat(case.picture(case.MOLECULES[0], 24, 3.0)[None], 4, 0).astype(np.float32)
    settings = case.settings_of(problem, one_reference_for_all=True, first_iteration_cc=cc, ini_high_A=18.0)
    states = run(be, problem, settings, 4, references=one_map)
    split = states[2 if cc else 1].dataset.particles.class_number
    np.testing.assert_array_equal(split, 1 + classify.random_classes(problem_dataset(problem), 4, 3))
    assert len(set(split)) == 4
    if cc:
        assert set(states[1].dataset.particles.class_number) == {1}
        np.testing.assert_allclose(states[1].model.class_weight, 0.25)
    for state in states[1:]:
        assert not state.dataset.quarantined and np.isfinite(state.model.references).all()
        assert np.count_nonzero(state.model.class_weight > 0.01) >= 2


def problem_dataset(problem):
    return state_of(problem).dataset


def test_random_classes_follow_the_row(be):
    data = problem_dataset(simple(n=50))
    all_ = classify.random_classes(data, 5, 1)
    some = data.subset(np.array([40, 3, 17]))
    np.testing.assert_array_equal(classify.random_classes(some, 5, 1), all_[[40, 3, 17]])
    assert set(all_) == set(range(5))


def test_classify_fast_subsets_use_some(be):
    problem = simple(n=60)
    settings = case.settings_of(problem, fast_subsets=True, subset_per_class=10)
    source = Source(problem.images)
    state = start(be, problem, settings, source=source)
    source.n_read = 0
    before = state.dataset.particles.class_number
    state = classify.iterate(be, state, settings, source, LocalComm())
    assert source.n_read == 20 == (state.dataset.particles.class_number != before).sum()
    assert classify.n_used(state, settings, 7) == 60 and classify.n_used(state, settings, 1) == 20
    np.testing.assert_allclose(state.model.class_weight.sum(), 1, rtol=1e-6)


def test_classify_sets_unreadable_images_aside(be):
    problem = simple(n=40)
    bad = {5: "truncated"}
    states = run(be, problem, case.settings_of(problem), 2, source=Source(problem.images, bad), max_bad=0.05)
    assert dict(states[0].dataset.quarantined) == {5: "truncated"}
    assert states[-1].dataset.particles.class_number[5] == 0  # it was never given a class


def test_classify_stops_at_too_many_bad_images(be):
    problem = simple(n=40)
    with pytest.raises(InputError, match=r"00000\d@s\.mrcs: truncated; 6 of 40 .*max_bad_fraction"):
        start(
            be,
            problem,
            case.settings_of(problem),
            source=Source(problem.images, dict.fromkeys(range(3, 9), "truncated")),
            max_bad=0.1,
        )


def test_classify_sets_images_aside_that_are_not_numbers(be):
    """An image that only the engine finds to be none: named, left out, and the model stays whole."""
    problem = simple(n=40)
    settings = case.settings_of(problem)
    state = start(be, problem, settings)
    images = list(problem.images)
    images[11] = np.full((24, 24), np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        state = classify.iterate(be, state, settings, Source(images), LocalComm(), max_bad=0.1)
    assert list(state.dataset.quarantined) == [11]
    for name, value in vars(state.model).items():
        assert not isinstance(value, np.ndarray) or np.isfinite(value).all(), name


def test_classify_constant_images_are_refused(be):
    problem = simple(n=20)
    problem = replace(problem, images=[np.full((24, 24), 3, np.float32)] * 20)
    with pytest.raises(InputError, match="are they constant"):
        start(be, problem, case.settings_of(problem))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 5)])
def test_classify_few_particles(be, n, k):
    problem = simple(n=n, k=k)
    state = run(be, problem, case.settings_of(problem, norm=True, flatten_solvent=True), 3)[-1]
    assert np.isfinite(state.model.references).all() and not state.dataset.quarantined


def test_classify_coarser_sampling_after_correlation(be):
    """No accuracy was estimated: the step follows the resolution, not the mark of an unknown accuracy."""
    problem = simple(n=20)
    references = np.stack([case.picture(m, 24, 3.0) for m in case.MOLECULES]).astype(np.float32)
    settings = case.settings_of(problem, first_iteration_cc=True, allow_coarser_sampling=True, ini_high_A=12.0)
    states = run(be, problem, settings, 2, references=references)
    assert states[1].sampling.psi_step_deg == 20.0
    # 360 / ceil(pi 48 / 12) = 27.7 degrees.
    assert states[2].sampling.psi_step_deg == pytest.approx(0.8 * 360 / 13 * 2)


def test_classify_kept_angles_and_offsets(be):
    problem = simple(n=20)
    settings = case.settings_of(problem, skip_align=True)
    references = np.stack([case.picture(m, 24, 3.0) for m in case.MOLECULES]).astype(np.float32)
    state = start(be, problem, settings, references)
    state.sampling = replace(state.sampling, oversampling=0, offset_range_A=0.0)
    after = classify.iterate(be, state, settings, Source(problem.images), LocalComm())
    np.testing.assert_array_equal(after.dataset.particles.euler_deg, state.dataset.particles.euler_deg)
    np.testing.assert_array_equal(after.dataset.particles.shift_A, state.dataset.particles.shift_A)
    assert set(after.dataset.particles.class_number) <= {1, 2} and after.sampling.perturb == 0


def test_classify_skip_maximize_keeps_the_model(be):
    problem = simple(n=20)
    settings = case.settings_of(problem, skip_maximize=True)
    state = start(be, problem, settings)
    after = classify.iterate(be, state, settings, Source(problem.images), LocalComm())
    np.testing.assert_array_equal(after.model.references, state.model.references)
    assert np.all(after.dataset.particles.class_number > 0)


def test_classify_two_optics_groups(be):
    """Groups of other boxes and pixels, one of them without a usable first particle."""
    problem = case.problem(n=24, two_groups=True, noise=0.5)
    source = Source(problem.images, {0: "truncated"})
    states = run(be, problem, case.settings_of(problem, zero_mask=False, scale=True), 3, source=source, max_bad=0.1)
    model = states[-1].model
    assert np.isfinite(model.references).all() and np.all(model.sigma2_noise > 0)
    # Each group's noise in the units of its own images.
    np.testing.assert_allclose(model.sigma2_noise[:, 8:12].mean(1) * 2 * np.array([24, 28]) ** 2, 0.25, rtol=0.3)


def test_first_particles_are_of_every_group():
    data = problem_dataset(case.problem(n=30, two_groups=True)).quarantine({0: "x"})
    chosen = classify.first_particles(data, 4, 0, 1)
    assert np.bincount(data.particles.optics[chosen]).tolist() == [4, 4] and 0 not in chosen
    assert len(classify.first_particles(data, 4, 20, 1)) >= 20
    assert len(classify.first_particles(data, 1000, 0, 1)) == 29


def test_with_rows_of_nothing_is_the_same():
    data = problem_dataset(case.problem(n=4))
    assert classify.with_rows(data, []) is data
    assert [len(p) for p in batches.split(data, np.arange(4))] == [4]
