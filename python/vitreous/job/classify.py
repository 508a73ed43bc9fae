"""The loop of a classification: particles through the engine, iteration after iteration, on one process or many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from vitreous.engine import accuracy, em, initial
from vitreous.engine.maximise import maximise
from vitreous.engine.plan import Plan, make_plan
from vitreous.engine.schedule import coarser_sampling, particle_order, subset_size, updated_resolution
from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.job import batches
from vitreous.model import sampling as grids
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Moments, Progress, Sampling

# Particles whose mean squared CTF stands for all in the accuracy estimate.
N_ACCURACY = 100


@dataclass
class State:
    """All that an iteration starts from and leaves behind."""

    dataset: Dataset
    model: Model
    sampling: Sampling
    progress: Progress
    unmasked: np.ndarray | None = None
    moments: Moments | None = None  # of a gradient-driven run
    seconds: dict = field(default_factory=dict)
    n_significant: float = 0.0
    coarse_size_px: int = 0


class Clock:
    """Seconds per stage of an iteration."""

    def __init__(self):
        self.seconds, self._last = {}, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def quarantine(dataset: Dataset, bad: dict[int, str], max_fraction: float) -> Dataset:
    """Set bad particles aside; InputError when they are more than the allowed fraction."""
    if not bad:
        return dataset
    bad = {i: cause.removeprefix(f"{dataset.image_name(i)}: ") for i, cause in bad.items()}
    dataset = dataset.quarantine(bad)
    n_bad = len(dataset.quarantined)
    # One bad particle never ends a run, however small, unless none is allowed.
    if n_bad > max(max_fraction * len(dataset), 1 if max_fraction > 0 else 0):
        first = next(iter(bad.items()))
        raise InputError(
            f"{dataset.image_name(first[0])}: {first[1]}; {n_bad} of {len(dataset)} particles cannot be used, expected at most "
            f"{max_fraction:.2%}; look at these images, or raise --max_bad_fraction"
        )
    return dataset


def collect(comm, rows: list, bad: dict[int, str]) -> tuple[list, dict[int, str]]:
    """Of all processes the engine's new values, and the bad particles with those added that no pose fits.

    Parameters
    ----------
    rows : what ``expect`` returned for each piece of this process
    bad : position -> cause, of this process
    """
    rows, bad = comm.gather(rows), dict(comm.gather(list(bad.items())))
    text = "no pose has a finite weight: is the image empty or far off scale?"
    return rows, bad | {int(i): text for r in rows for i in r.index[r.failed]}


def first_particles(dataset: Dataset, n_per_optics: int, n_least: int, seed: int) -> np.ndarray:
    """Positions, in random order, of up to n_per_optics particles of each optics group, and at least n_least in all."""
    order = particle_order(dataset.particles.row, seed, 0)
    order = order[dataset.usable[order]]
    rank = np.zeros(len(order), int)
    optics = dataset.particles.optics[order]
    for g in range(len(dataset.optics)):
        rank[optics == g] = np.arange((optics == g).sum())
    return order[(rank < n_per_optics) | (np.arange(len(order)) < n_least)]


def initialise(
    be, state: State, settings: Settings, source, *, n_noise: int, references, use_blobs: bool, max_bad: float
) -> State:
    """Noise spectra from the first particles, and first references where none are given.

    Parameters
    ----------
    references : (K, box, box) float32, or None to start from random orientations
    """
    model = state.model
    chosen = first_particles(state.dataset, n_noise, 5 * model.n_classes, settings.random_seed)
    parts = batches.split(state.dataset, chosen)
    size = initial.start_size(model.box, model.pixel_size_A, settings.ini_high_A)
    plan = initial.start_plan(model, state.sampling, settings, size)
    noise = initial.NoiseSum(len(state.dataset.optics), model.n_shells)
    bad_of_all = {}
    for indices, images, bad in batches.read(state.dataset, source, parts):
        bad_of_all |= bad
        if len(indices):
            noise.add(be, plan, batches.make_batch(state.dataset, indices, images))
    dataset = quarantine(state.dataset, bad_of_all, max_bad)
    model = replace(model, sigma2_noise=noise.spectra(), group_counts=dataset.group_counts)
    if references is None:
        plan = replace(plan, model=model)
        acc = em.Accumulator.empty(plan)
        class_of = np.zeros(len(dataset), np.int64)
        class_of[chosen] = np.arange(len(chosen)) % model.n_classes
        psi = initial.random_views(dataset.particles.row, settings.random_seed)
        for indices, images, _ in batches.read(dataset, source, batches.split(dataset, chosen)):
            if len(indices):
                batch = batches.make_batch(dataset, indices, images)
                initial.add_random_views(be, plan, batch, psi[indices], class_of[indices], acc)
        references = initial.averages(plan, acc, be.n_threads)
        if use_blobs:
            references = initial.blobs(
                references, settings.particle_diameter_A / model.pixel_size_A, settings.random_seed
            )
    if settings.ini_high_A > 0:
        references = initial.low_pass(references, model.pixel_size_A, settings.ini_high_A, be.n_threads)
    model = initial.start_priors(replace(model, references=references), len(dataset))
    resolution_A, progress = updated_resolution(model, state.progress, settings)
    model = replace(model, current_resolution_A=resolution_A)
    return replace(state, dataset=dataset, model=model, progress=progress)


def random_classes(dataset: Dataset, n_classes: int, seed: int) -> np.ndarray:
    """(n,) int32 class of each particle, 0-based, a function of the seed and its row."""
    rows = dataset.particles.row
    draws = np.random.Generator(np.random.Philox(key=[seed, 5])).integers(0, n_classes, int(rows.max(initial=-1)) + 1)
    return draws[rows].astype(np.int32)


def allowed_classes(state: State, settings: Settings) -> np.ndarray | None:
    """The one class of each particle in the iterations that split one reference into K classes; None otherwise."""
    k, iteration = state.model.n_classes, state.progress.iteration
    if k == 1 or not settings.one_reference_for_all:
        return None
    if settings.first_iteration_cc and iteration == 1:
        return np.zeros(len(state.dataset), np.int32)
    if iteration == (2 if settings.first_iteration_cc else 1):
        return random_classes(state.dataset, k, settings.random_seed)
    return None


def typical_particles(be, plan: Plan, dataset: Dataset):
    """Particles that stand for all in the accuracy estimate: the first ones, with the optics of the very first.

    Returns
    -------
    Positions, Geometry
    (n_k,) float mean squared CTF, (n_k,) float 1 / (2 sigma^2)
    """
    usable = np.flatnonzero(dataset.usable)
    chosen = usable[dataset.particles.optics[usable] == dataset.particles.optics[usable[0]]][:N_ACCURACY]
    batch = batches.make_batch(dataset, chosen, np.zeros((len(chosen), 1, 1), np.float32))
    geometry = plan.geometry(batch.optics)
    ctf2 = (em.image_ctf(be, plan, batch, geometry) ** 2).mean(0)
    return chosen, geometry, ctf2, 0.5 / plan.model.sigma2_noise[batch.i_optics][geometry.shell]


def estimate_accuracy(be, plan: Plan, state: State) -> State:
    """Accuracies of the classes, from the CTFs of the first particles."""
    _, *typical = typical_particles(be, plan, state.dataset)
    rotation, shift = accuracy.accuracies(be, plan, *typical)
    progress = replace(state.progress, accuracy_rotation_deg=float(rotation.min()), accuracy_shift_A=float(shift.min()))
    return replace(
        state, model=replace(state.model, accuracy_rotation_deg=rotation, accuracy_shift_A=shift), progress=progress
    )


def start_iteration(be, state: State, settings: Settings, *, renew=True, limit_A=0.0) -> tuple[State, Plan]:
    """The next iteration's number, sampling and plan.

    Parameters
    ----------
    renew : estimate the accuracies
    limit_A : finest detail that is compared; 0 = what the references' resolution lets expect
    """
    progress = replace(state.progress, iteration=state.progress.iteration + 1)
    sampling = state.sampling
    if settings.allow_coarser_sampling and progress.iteration > 1:
        sampling = coarser_sampling(
            sampling, progress.accuracy_rotation_deg, progress.accuracy_shift_A, state.model, settings
        )
    factor = 0.0 if settings.skip_align or settings.skip_rotate else sampling.perturb_factor
    sampling = replace(sampling, perturb=grids.perturbation(settings.random_seed, progress.iteration, factor))
    state = replace(state, progress=progress, sampling=sampling)
    plan = make_plan(be, state.model, sampling, progress, settings, limit_A)
    if renew and not (settings.skip_align or plan.correlation):
        state = estimate_accuracy(be, plan, state)
        plan.model = state.model
    return state, plan


def n_used(state: State, settings: Settings, iteration: int) -> int:
    """How many particles an iteration goes through."""
    return subset_size(iteration, state.model.n_classes, int(state.dataset.usable.sum()), settings)


def particles_of(state: State, settings: Settings) -> np.ndarray:
    """Positions of the particles of this iteration."""
    rows, iteration = state.dataset.particles.row, state.progress.iteration
    order = np.flatnonzero(state.dataset.usable)
    n = n_used(state, settings, iteration)
    if n < len(order):
        order = particle_order(rows, settings.random_seed, iteration)
        order = np.sort(order[state.dataset.usable[order]][:n])
    return order


def expectation(
    be, plan: Plan, state: State, source, comm, parts, *, max_bad: float, advance: Callable[[int], None] = lambda n: None
):
    """Every particle of this iteration through the engine.

    Parameters
    ----------
    parts : positions of the particles of each set whose sums are kept apart

    Returns
    -------
    Accumulators of the parts, of all processes
    Dataset with the particles' new values
    """
    settings, dataset, accs, rows, bad_of_all = plan.settings, state.dataset, [], [], {}
    only = allowed_classes(state, settings)
    for part in parts:
        acc = em.Accumulator.empty(plan)
        pieces = batches.Pieces(plan.n_child_psi * plan.n_child_shift, dataset.particles.n_significant[part])
        for indices, images, bad in batches.read(dataset, source, batches.split(dataset, comm.share(part))):
            bad_of_all |= bad
            for piece in pieces.cut(len(indices)):
                some = indices[piece]
                batch = batches.make_batch(dataset, some, images[piece], None if only is None else only[some])
                rows.append(em.expect(be, plan, batch, acc))
                pieces.learn(rows[-1].n_significant)
            advance(comm.size * (len(indices) + len(bad)))  # the others have done about as many
        em.insert_banks(be, plan, acc)
        accs.append(acc)
    accs = [comm.sum(acc) for acc in accs]
    rows, bad_of_all = collect(comm, rows, bad_of_all)
    return accs, quarantine(with_rows(dataset, rows), bad_of_all, max_bad)


def with_rows(dataset: Dataset, rows: list[em.Rows]) -> Dataset:
    """The dataset with the engine's new values."""
    if not rows:
        return dataset
    join = lambda name: np.concatenate([getattr(r, name) for r in rows])
    index = join("index")
    euler = dataset.particles.euler_deg[index]
    euler[:, 2] = join("psi_deg")
    names = ("shift_A", "class_number", "norm", "log_likelihood", "p_max", "n_significant")
    return dataset.updated(index, euler_deg=euler, **{name: join(name) for name in names})


def iterate(
    be, state: State, settings: Settings, source, comm, *, max_bad=0.01, quantise=lambda d: d, advance=lambda n: None
) -> State:
    """One iteration: plan, expectation, maximisation.

    Parameters
    ----------
    source : reads images (io.images.ImageSource)
    quantise : rounds the particles' values as the files do, so that a continued run goes on from the same numbers
    advance : called with the number of particles done
    """
    clock = Clock()
    state, plan = start_iteration(be, state, settings)
    clock.lap("plan")
    parts = [particles_of(state, settings)]
    (acc,), dataset = expectation(be, plan, state, source, comm, parts, max_bad=max_bad, advance=advance)
    clock.lap("expectation")
    n = max(acc.n_particles, 1)
    state = replace(
        state, dataset=quantise(dataset), n_significant=acc.n_significant / n, coarse_size_px=plan.coarse_size
    )
    if not settings.skip_maximize:
        model, progress, unmasked = comm.map(lambda sums: maximise(be, plan, sums, state.progress), [acc])[0]
        # Groups count the particles that are left, as a run that goes on from the files counts them.
        model = replace(model, group_counts=dataset.group_counts)
        state = replace(state, model=model, progress=progress, unmasked=unmasked)
    clock.lap("maximisation")
    return replace(state, seconds=clock.seconds)
