"""The loop of a gradient-driven classification in 2D: mini-batches in two pseudo-half-sets against one set of references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vitreous.engine import gradient, gradient2d, schedule_gradient
from vitreous.engine.em import joined
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.maximise import changed
from vitreous.engine.maximise import maximise as maximise_em
from vitreous.engine.plan import Plan
from vitreous.engine.reconstruct import Lattice
from vitreous.engine.schedule import updated_resolution
from vitreous.engine.settings import Settings
from vitreous.job import classify
from vitreous.job.classify import Clock, State
from vitreous.model.state import Model


def without_moments(state: State) -> State:
    """The state with moments as before the first step."""
    return replace(state, moments=gradient.no_moments(state.model.n_classes, whole_lattice(state.model).shape))


def whole_lattice(model: Model) -> Lattice:
    """The lattice of the moments: out to the Nyquist frequency."""
    return Lattice(model.box, model.padding, model.box / 2)


def iterate(
    be,
    state: State,
    settings: Settings,
    source,
    comm,
    options: GradientOptions,
    *,
    max_bad: float = 0.01,
    quantise=lambda d: d,
    advance: Callable[[int], None] = lambda n: None,
) -> State:
    """One iteration: expectation of a mini-batch, a step along the gradient; parameters as of ``classify.iterate``."""
    clock, iteration = Clock(), state.progress.iteration + 1
    model, settings, how = gradient.of_iteration(state.model, settings, iteration, options)
    state, plan = classify.start_iteration(be, replace(state, model=model), settings, **how)
    clock.lap("plan")
    rows, usable = state.dataset.particles.row, state.dataset.usable
    parts = schedule_gradient.mini_batch(rows, usable, model.n_classes, settings.random_seed, iteration, options)
    accs, dataset = classify.expectation(be, plan, state, source, comm, parts, max_bad=max_bad, advance=advance)
    clock.lap("expectation")
    n_particles, n_significant = (sum(getattr(a, name) for a in accs) for name in ("n_particles", "n_significant"))
    if sum(map(len, parts)) == int(usable.sum()):
        options = replace(options, mu=0.0)
    model, progress, unmasked = maximise(be, comm, plan, accs, state, options)
    clock.lap("maximisation")
    return replace(
        state,
        dataset=quantise(dataset),
        model=replace(model, group_counts=dataset.group_counts),
        progress=progress,
        unmasked=unmasked,
        seconds=clock.seconds,
        n_significant=n_significant / max(n_particles, 1),
        coarse_size_px=plan.coarse_size,
    )


def maximise(be, comm, plan: Plan, accs, state: State, options: GradientOptions):
    """Model, progress and unmasked references after a step along the gradient, or after an ordinary iteration."""
    if not plan.settings.residual_sums:
        return comm.map(lambda sums: maximise_em(be, plan, sums, state.progress), [joined(*accs)])[0]
    model, unmasked = gradient2d.maximise(be, plan, accs, state.moments, options, spread=comm.map)
    resolution_A, progress = updated_resolution(model, changed(state.progress, *accs), plan.settings)
    return replace(model, current_resolution_A=resolution_A), progress, unmasked
