"""The loop of a gradient-driven run: mini-batches in two pseudo-half-sets against one set of references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vitreous.engine import filters, gold, gradient, gradient3d, initial, schedule3d, schedule_gradient
from vitreous.engine.em import joined
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.maximise import changed
from vitreous.engine.reconstruct3d import reconstruct
from vitreous.engine.settings import Settings
from vitreous.engine.slices3d import CtfChoice
from vitreous.job import refine
from vitreous.job.classify import Clock, first_particles
from vitreous.job.volume_sums import insert_particles
from vitreous.model.sampling import random_orientations
from vitreous.model.state import Refinement
from vitreous.model.volume import VolumeLattice

# The random key of the first maps' orientations.
FIRST_VIEWS = 8
STARTS_APART = 1000  # between the seeds of the first maps of a run's starts
# The counter of iterations without gain does not run before this one: the first maps change too much.
FIRST_STALL = 10


def first_maps(
    be, comm, state: Refinement, settings: Settings, source, *, n_first: int, use_blobs: bool, start: int = 0
) -> np.ndarray:
    """(K, box, box, box) float32: maps of the first particles at random orientations, or blobs of their contrast.

    Parameters
    ----------
    n_first : particles, at least five a class
    start : number of the start; each has other maps
    """
    model, seed = state.models[0], settings.random_seed + STARTS_APART * start
    order = first_particles(state.dataset, n_first, 5 * model.n_classes, seed)
    class_of = np.zeros(len(state.dataset), np.int32)
    class_of[order] = np.arange(len(order)) % model.n_classes
    euler_deg = random_orientations(state.dataset.particles.row[order], seed, FIRST_VIEWS)
    random = state.dataset.updated(order, euler_deg=euler_deg, shift_A=np.zeros((len(order), 2)))
    size = initial.start_size(model.box, model.pixel_size_A, settings.ini_high_A)
    lattice = VolumeLattice(model.box, model.padding, size / 2)
    choice = CtfChoice(settings.ctf, settings.intact_first_peak, settings.phase_flipped, settings.only_flip_phases)
    which = {"order": order, "volume_of": class_of, "max_bad": 1.0}  # the noise estimate reads them again, and counts
    sums, _ = insert_particles(be, comm, random, source, lattice, model.pixel_size_A, choice, **which)
    maps = np.stack([reconstruct(be, s, lattice).volume for s in sums])
    if use_blobs:
        maps = initial.blobs(maps, settings.particle_diameter_A / model.pixel_size_A, seed)
    if settings.ini_high_A > 0:
        gain = filters.low_pass(model.box * model.pixel_size_A / settings.ini_high_A, model.box, 2)
        maps = np.stack([filters.filtered(m, gain) for m in maps])
    return np.ascontiguousarray(maps, np.float32)


def initialise(be, state: Refinement, settings: Settings, source, *, n_first: int, max_bad: float) -> Refinement:
    """Noise spectra, priors of the first maps, and moments."""
    state = replace(state, models=[gold.flattened(state.models[0], settings)])
    state = refine.initialise(be, state, settings, source, n_noise=n_first, max_bad=max_bad)
    return without_moments(state)


def without_moments(state: Refinement) -> Refinement:
    """The state with moments as before the first step."""
    return replace(state, moments=gradient.no_moments(state.models[0].n_classes, whole_lattice(state).shape))


def whole_lattice(state: Refinement) -> VolumeLattice:
    """The lattice of the moments: out to the Nyquist frequency."""
    model = state.models[0]
    return VolumeLattice(model.box, model.padding, model.box / 2)


def iterate(
    be,
    state: Refinement,
    settings: Settings,
    source,
    comm,
    options: GradientOptions,
    *,
    auto: schedule3d.AutoOptions | None,
    max_bad: float = 0.01,
    quantise=lambda d: d,
    advance: Callable[[int], None] = lambda n: None,
) -> Refinement:
    """One iteration: sampling, expectation of a mini-batch, a step along the gradient.

    Parameters
    ----------
    auto : refines the sampling as iterations no longer gain; None keeps it
    """
    clock, iteration = Clock(), state.progress.iteration + 1
    model, settings, how = gradient.of_iteration(state.models[0], settings, iteration, options)
    steps = settings.residual_sums
    state, (plan,), _ = refine.start_iteration(be, replace(state, models=[model]), settings, auto, **how)
    clock.lap("plan")
    rows, usable = state.dataset.particles.row, state.dataset.usable
    parts = schedule_gradient.mini_batch(rows, usable, model.n_classes, settings.random_seed, iteration, options)
    accs, dataset = refine.expectation(
        be, [plan, plan], parts, state, settings, source, comm, max_bad=max_bad, advance=advance
    )
    clock.lap("expectation")
    n_particles, n_significant = (sum(getattr(a, name) for a in accs) for name in ("n_particles", "n_significant"))
    progress = changed(state.progress, *accs)
    directions = sum(a.directions for a in accs)
    everything = sum(map(len, parts)) == int(usable.sum())
    options = replace(options, mu=0.0) if everything or not steps else options
    model, copied = maximise(be, comm, plan, accs, state, options, steps)
    weights = averaged_directions(directions, state.direction_weights, options.mu)
    if copied is not None:
        weights = shared_directions(weights, model.class_weight, *copied)
    resolution_A, progress = refine.resolution(model, progress, settings, 1)
    progress = schedule3d.stalled(progress, state.sampling)
    if iteration < FIRST_STALL:
        progress = replace(progress, n_iter_without_gain=0)
    model = replace(model, current_resolution_A=resolution_A, group_counts=dataset.group_counts)
    clock.lap("maximisation")
    return replace(
        state,
        dataset=quantise(dataset),
        before=state.dataset,
        models=[model],
        progress=progress,
        direction_weights=[weights],
        seconds=clock.seconds,
        n_significant=n_significant / max(n_particles, 1),
        coarse_size_px=plan.coarse_size,
    )


def maximise(be, comm, plan, accs, state: Refinement, options: GradientOptions, steps: bool):
    """The model after a step along the gradient, or after an ordinary iteration; and which class was copied to which."""
    if steps:
        return gradient3d.maximise(be, plan, accs, state.moments, options, spread=comm.map)
    return gold.maximise_classes(be, plan, joined(*accs), spread=comm.map), None


def shared_directions(weights, class_weight, idle: int, best: int):
    """Shares of the directions after ``idle`` began again as a copy of ``best``: each row sums to its class's weight."""
    if weights is None:
        return None
    weights = np.array(weights)
    weights[idle] = weights[best]
    return weights * (class_weight / np.maximum(weights.sum(1), 1e-30))[:, None]


def averaged_directions(found, old, mu: float):
    """Shares of the directions, averaged with those before where these are of the same grid; None where nothing is known."""
    if not found.any():
        return old[0] if old else None
    found = found / found.sum()
    known = old[0] if old else None
    if known is None:
        known = np.full_like(found, 1 / found.size)
    return mu * known + (1 - mu) * found if known.shape == found.shape else found
