"""3D initial models: particles in, K maps and the best of them with its symmetry out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine.align_symmetry import align
from vitreous.engine.schedule import limited_size
from vitreous.engine.schedule3d import AutoOptions
from vitreous.engine.schedule_gradient import subset_size, trial_iterations
from vitreous.io.moment_files import read_moments, write_moments
from vitreous.io.mrc import write_mrc
from vitreous.io.particles import find_root, quantise
from vitreous.io.refine_files import RefinePaths
from vitreous.job import gradient, parting
from vitreous.job.forecast_volume import Stage, stages_of
from vitreous.job.progress import RunEta, expectation_title, noise_line
from vitreous.job.rundir import split_optimiser_name
from vitreous.model.state import Model, Progress, Refinement
from vitreous.programs import class_start, refine_volume
from vitreous.programs.initial_model_options import MOST_SIGNIFICANT, Options
from vitreous.programs.launch import open_job, record_options
from vitreous.programs.refine_common import (
    check_background,
    checked_particles,
    image_source,
    import_plots_early,
    new_model,
    note_without_moments,
    retire_earlier_run,
    tell_notes,
    tell_quarantined,
    with_seed_and_diameter,
)
from vitreous.programs.refine_volume import Course

__all__ = ["Options", "Result", "run"]


@dataclass(frozen=True)
class Result:
    """What a run leaves, and where the files are."""

    map: np.ndarray  # (box, box, box) float32: the largest class, with the symmetry's axes in their places
    maps: np.ndarray  # (K, box, box, box) float32 as the last iteration left them
    particles: Any  # model.dataset.Particles
    model: Model
    root: str
    report: Path | None


def run(options: Options, be, comm) -> Result:
    """Run to the last iteration, then find the axes of the symmetry in the largest class and impose it."""
    options, state = comm.map(begin, [options])[0]  # files are read once, and all have one seed
    with open_job(options, comm, backend=be.name, threads=be.n_threads) as job:
        record_options(job, options)
        tell_notes(job, state.dataset)
        settings = make_settings(options, state)
        root = find_root(options.particles or options.continue_from, state.dataset.image_files)
        with image_source(job, comm, options, state.dataset, root) as source:
            model = state.models[0]
            size_px = limited_size(model.box, model, options.gradient().last_limit_A)
            n_held = 2 if options.starts > 1 and not options.continue_from else 1  # the best start so far, and another
            then = stages_of_parting(be, options, settings, state) if may_part(options, state) else []
            parts = refine_volume.tell_memory(
                be, job, options, settings, state, size_px=size_px, gradient=True, n_held=n_held, then=then
            )
            if not options.continue_from:
                comm.map(lambda s: check(options, settings, s, source), [state])
                settings, state = begun(be, comm, job, options, settings, state, source)
            elif state.moments is None:
                job.warning(note_without_moments(options.continue_from))
                state = gradient.without_moments(state)
            if comm.rank == 0:  # who writes the report
                import_plots_early()
            is_whole = state.progress.iteration >= options.iter and parting.is_parted(state)  # of a run that goes on
            state = iterations(be, comm, job, options, settings, state, source)
            if may_part(options, state) and not is_whole:
                state = replace(state, moments=None)  # which no step needs any more
                state = with_parted_classes(be, comm, job, options, settings, state, source)
        best = comm.map(lambda s: final_map(be, job, options, s), [state])[0]
        report = refine_volume.write_report(be, job, options, state, parts) if comm.rank == 0 else None
    return Result(best, state.models[0].references, state.dataset.particles, state.models[0], job.dir.root, report)


def begin(options: Options):
    """Options and state of a new run, or of one that goes on."""
    options, state = resume(options) if options.continue_from else start(options)
    options = with_seed_and_diameter(options, state.models[0])
    progress = replace(state.progress, random_seed=options.random_seed, n_iterations=options.iter)
    return options, replace(state, progress=progress)


def start(options: Options):
    """Options and state of a new run; the maps are zero where none is given."""
    dataset = checked_particles(options)
    first = dataset.optics[0]
    if options.ref:
        maps = refine_volume.first_references(options, first.box, first.pixel_size_A, options.K)
    else:
        maps = np.zeros((options.K, *(first.box,) * 3), np.float32)
    sampling = refine_volume.make_sampling(options, first.pixel_size_A)
    symmetry = options.sym if options.run_in_sym else "C1"
    progress = Progress(increment_px=options.incr_size)
    return options, Refinement(quantise(dataset), [new_model(options, dataset, maps)], sampling, progress, symmetry)


def resume(options: Options):
    """Options and state of a run that goes on from the files of one iteration."""
    options, state = refine_volume.resume(options, course)
    root, _ = split_optimiser_name(options.continue_from)
    paths, shape = RefinePaths(root, state.progress.iteration), gradient.whole_lattice(state).shape
    return options, replace(state, moments=read_moments(paths, state.models[0].n_classes, shape))


def make_settings(options: Options, state: Refinement):
    """The engine's settings; only a few poses of a particle go on to the fine pass."""
    most = options.maxsig or MOST_SIGNIFICANT * state.models[0].n_classes
    return replace(refine_volume.make_settings(options, state), max_significant=most)


def check(options: Options, settings, state: Refinement, source) -> None:
    """InputError where the particles are not normalised."""
    if not options.dont_check_norm:
        check_background(options, settings, state.dataset, source)


def course(options: Options) -> Course:
    """A given number of iterations; the sampling is chosen as they go."""
    return Course(None, options.iter)


def begun(be, comm, job, options: Options, settings, state: Refinement, source):
    """Settings, and the state of iteration 0; or after a trial, of that start which explains the particles best."""
    if comm.rank == 0:
        retire_earlier_run(job)
    n_starts, best = 1 if options.ref else options.starts, None
    for i_start in range(n_starts):
        settings, first = first_state(be, comm, job, options, settings, state, source, i_start)
        tried, events = trial(be, comm, job, options, settings, first, source, i_start) if n_starts > 1 else (first, [])
        better = best is None or is_better(comm, tried, best[1])
        if better:
            best = gradient.without_moments(first), tried, events  # steps change moments in place
        if n_starts > 1:
            tell_start(job, options, tried, i_start, better)
    first, tried, events = best
    if comm.rank == 0:
        tell_quarantined(job, tried.dataset, set(first.dataset.quarantined))
        for values in events:
            job.log.event("iteration", **values)
        for found in (first, tried)[:n_starts]:
            write(job, options, found)
    return settings, tried


def is_better(comm, state: Refinement, best: Refinement) -> bool:
    """Whether a start explains the particles better than the best so far; one process decides for all."""
    likelihoods = [s.models[0].log_likelihood for s in (state, best)]
    return comm.map(lambda pair: bool(np.isfinite(pair[0]) and not pair[0] <= pair[1]), [likelihoods])[0]


def first_state(be, comm, job, options: Options, settings, state: Refinement, source, i_start: int):
    """Settings and the state of iteration 0 of a start."""
    state = with_first_maps(be, comm, options, settings, state, source, i_start)
    settings = make_settings(options, state)  # they ask whether the classes begin alike
    return settings, comm.map(lambda s: initialise(be, job, options, settings, s, source, tell=i_start == 0), [state])[0]


def trial(be, comm, job, options: Options, settings, state: Refinement, source, i_start: int):
    """The state after those iterations in which a wrong start falls behind, and their events for the log.

    All starts see the same mini-batches.
    """
    sizes, events = batch_sizes(options, state)[: trial_iterations(options.gradient())], []
    with job.progress.bar(f"Start {i_start + 1} of {options.starts}", sum(sizes)) as bar:
        for _ in sizes:
            job.check_abort()
            state = iterated(be, comm, options, settings, state, source, bar)
            events.append(refine_volume.event_values(state))
    return state, events


def tell_start(job, options: Options, state: Refinement, i_start: int, is_best: bool) -> None:
    """How well a start explains the particles of its last mini-batch, which is that of all starts."""
    iteration, likelihood = state.progress.iteration, state.models[0].log_likelihood
    job.log.event("start tried", number=i_start + 1, iteration=iteration, log_likelihood=likelihood)
    better = ", the best so far" if is_best and i_start else ""
    of_particle = likelihood / batch_sizes(options, state)[iteration - 1]
    job.progress.line(f"   log-likelihood {of_particle:.2f} a particle after {iteration} iterations{better}")


def with_first_maps(be, comm, options: Options, settings, state: Refinement, source, start: int) -> Refinement:
    """The state with maps of random orientations, or with --ref as it was read."""
    if options.ref:
        return state
    first = {"n_first": options.nr_parts_sigma2noise, "use_blobs": not options.no_init_blobs, "start": start}
    maps = gradient.first_maps(be, comm, state, settings, source, **first)
    return replace(state, models=[replace(state.models[0], references=maps)])


def initialise(be, job, options: Options, settings, state: Refinement, source, tell: bool) -> Refinement:
    """Noise spectra, priors and moments of iteration 0."""
    n_first = options.nr_parts_sigma2noise
    if tell:
        job.progress.line(noise_line(n_first))
    told = set(state.dataset.quarantined)
    state = gradient.initialise(be, state, settings, source, n_first=n_first, max_bad=options.max_bad_fraction)
    if tell:
        tell_quarantined(job, state.dataset, told)
    return state


def batch_sizes(options: Options, state: Refinement) -> list[int]:
    """Particles of each iteration."""
    n_particles, n_classes, steering = int(state.dataset.usable.sum()), state.models[0].n_classes, options.gradient()
    return [subset_size(i + 1, n_particles, n_classes, steering) for i in range(options.iter)]


def iterated(be, comm, options: Options, settings, state: Refinement, source, bar) -> Refinement:
    """The state after one more iteration."""
    return gradient.iterate(
        be, state, settings, source, comm, options.gradient(), max_bad=options.max_bad_fraction, quantise=quantise,
        auto=AutoOptions(last_order=options.max_healpix_order + options.oversampling), advance=bar.advance,
    )  # fmt: skip


def iterations(be, comm, job, options: Options, settings, state: Refinement, source) -> Refinement:
    """Iterate to the end; files of every tenth iteration and of the last."""
    sizes = batch_sizes(options, state)
    eta = RunEta([float(n) for n in sizes[state.progress.iteration :]])
    while state.progress.iteration < options.iter:
        job.check_abort()
        iteration, began, told = state.progress.iteration + 1, time.perf_counter(), set(state.dataset.quarantined)
        with job.progress.bar(expectation_title(iteration, options.iter), sizes[iteration - 1]) as bar:
            state = iterated(be, comm, options, settings, state, source, bar)
        middle = time.perf_counter()
        if comm.rank == 0:
            if iteration % options.grad_write_iter == 0 or iteration == options.iter:
                write(job, options, state)
            state.seconds["files"] = time.perf_counter() - middle
            tell_quarantined(job, state.dataset, told)
            refine_volume.log_iteration(job, state, course(options), eta.finished(time.perf_counter() - began))
    return state


def may_part(options: Options, state: Refinement) -> bool:
    """Whether the classes are asked whether they are states of one map."""
    return state.models[0].n_classes > 1 and not options.keep_classes


def stages_of_parting(be, options: Options, settings, state: Refinement) -> list[Stage]:
    """The searches that tell states of one map from other classes."""
    model = state.models[0]
    size_px = limited_size(model.box, model, parting.detail_A(settings))
    samplings = parting.wide(state.sampling, options.max_healpix_order), parting.local(state.sampling)
    return [stages_of(be, replace(state, sampling=s), settings, None, size_px)[-1] for s in samplings]


def with_parted_classes(be, comm, job, options: Options, settings, state: Refinement, source) -> Refinement:
    """The state with classes that are states of one structure, where they explain the particles better; written again."""
    k = state.models[0].n_classes
    told = set(state.dataset.quarantined)
    with job.progress.bar("Classes: states of one map", parting.rounds(int(state.dataset.usable.sum()), k)) as bar:
        found = parting.parted(
            be, comm, state, settings, source, check=job.check_abort, max_bad=options.max_bad_fraction,
            quantise=quantise, advance=bar.advance,
        )  # fmt: skip
    state = found.state
    class_start.tell_parted(comm, job, found)
    if comm.rank == 0:
        tell_quarantined(job, state.dataset, told)
        if found.n_particles:
            paths = RefinePaths(job.dir.root, state.progress.iteration)
            Path(paths.optimiser).unlink(missing_ok=True)  # until all files of the iteration are new, it is none to go on from
            write(job, options, gradient.without_moments(state))
            job.log.event("iteration", **refine_volume.event_values(state))  # in place of that of the last iteration
    return state


def write(job, options: Options, state: Refinement) -> None:
    """The files of the iteration, the optimiser's last."""
    paths = RefinePaths(job.dir.root, state.progress.iteration)
    write_moments(paths, state.moments, state.models[0].pixel_size_A)
    refine_volume.write(job, options, state, rlnDoGradientRefine=1)


def final_map(be, job, options: Options, state: Refinement) -> np.ndarray:
    """The largest class, turned so that its symmetry's axes lie where RELION has them, and averaged over the group."""
    model, largest = state.models[0], int(np.argmax(state.models[0].class_weight))
    volume = model.references[largest]
    if options.sym != "C1" and not options.run_in_sym:
        name = RefinePaths(job.dir.root, state.progress.iteration).map(0, largest)
        volume = symmetric(be, job, options.sym, volume, model.pixel_size_A, name)
    write_mrc(str(Path(job.dir.root).parent / "initial_model.mrc"), volume, model.pixel_size_A, stack=False)
    return volume


def symmetric(be, job, symmetry: str, volume: np.ndarray, pixel_size_A: float, name: str) -> np.ndarray:
    """A map turned to a point group's axes and averaged; as it is where it holds nothing, with a warning."""
    try:
        found = align(volume, pixel_size_A, symmetry, apply_symmetry=True, n_threads=be.n_threads)
    except ValueError as error:
        job.warning(f"{name}: no axes were found ({error}); look at the map, and try another --random_seed")
        return volume
    job.log.event("symmetry", symmetry=symmetry, score=found.score, weakest=found.weakest, rotation=found.rotation.tolist())
    job.progress.line(f" Symmetry {symmetry}: its copies correlate by {found.score:.2f}, the weakest by {found.weakest:.2f}")
    if not found.is_shown:
        job.warning(
            f"--sym {symmetry}: the map does not show it, its weakest copy agrees to {found.weakest:.2f}; try vitreous "
            f"align-symmetry --detect --i {name}, or another --random_seed"
        )
    return found.volume
