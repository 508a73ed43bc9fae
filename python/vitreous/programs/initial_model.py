"""3D initial models: particles in, K maps and the best of them with its symmetry out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine.align_symmetry import align
from vitreous.engine.schedule3d import AutoOptions
from vitreous.engine.schedule_gradient import subset_size
from vitreous.io.moment_files import with_moments, write_moments
from vitreous.io.mrc import write_mrc
from vitreous.io.particles import find_root, quantise
from vitreous.io.refine_files import RefinePaths
from vitreous.job import gradient
from vitreous.job.progress import RunEta, expectation_title, noise_line
from vitreous.job.rundir import split_optimiser_name
from vitreous.model.state import Model, Progress, Refinement
from vitreous.programs import refine_volume
from vitreous.programs.initial_model_options import MOST_SIGNIFICANT, Options
from vitreous.programs.launch import open_job, record_options
from vitreous.programs.refine_common import (
    check_background,
    checked_particles,
    image_source,
    import_plots_early,
    new_model,
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
        most = options.maxsig or MOST_SIGNIFICANT * state.models[0].n_classes
        settings = replace(refine_volume.make_settings(options, state), max_significant=most)
        root = find_root(options.particles or options.continue_from, state.dataset.image_files)
        with image_source(job, comm, options, state.dataset, root) as source:
            parts = refine_volume.tell_memory(be, job, options, settings, state)
            if not options.continue_from:
                state = with_first_maps(be, comm, options, settings, state, source)
                state = comm.map(lambda s: initialise(be, job, options, settings, s, source), [state])[0]
            import_plots_early()
            state = iterations(be, comm, job, options, settings, state, source)
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
    state = with_moments(state, root, gradient.whole_lattice(state).shape)
    return options, state if state.moments else gradient.without_moments(state)


def course(options: Options) -> Course:
    """A given number of iterations; the sampling is chosen as they go."""
    return Course(None, options.iter)


def with_first_maps(be, comm, options: Options, settings, state: Refinement, source) -> Refinement:
    """The state with maps of random orientations, or with --ref as it was read."""
    if options.ref:
        return state
    first = {"n_first": options.nr_parts_sigma2noise, "use_blobs": not options.no_init_blobs}
    maps = gradient.first_maps(be, comm, state, settings, source, **first)
    return replace(state, models=[replace(state.models[0], references=maps)])


def initialise(be, job, options: Options, settings, state: Refinement, source) -> Refinement:
    """Noise spectra and the files of iteration 0."""
    if not options.dont_check_norm:
        check_background(options, settings, state.dataset, source)
    n_first = options.nr_parts_sigma2noise
    job.progress.line(noise_line(n_first))
    told = set(state.dataset.quarantined)
    state = gradient.initialise(be, state, settings, source, n_first=n_first, max_bad=options.max_bad_fraction)
    tell_quarantined(job, state.dataset, told)
    retire_earlier_run(job)
    write(job, options, state)
    return state


def iterations(be, comm, job, options: Options, settings, state: Refinement, source) -> Refinement:
    """Iterate to the end; files of every tenth iteration and of the last."""
    steering, auto = options.gradient(), AutoOptions(last_order=options.max_healpix_order + options.oversampling)
    n_particles = int(state.dataset.usable.sum())
    sizes = [subset_size(i + 1, n_particles, state.models[0].n_classes, steering) for i in range(options.iter)]
    eta = RunEta([float(n) for n in sizes[state.progress.iteration :]])
    while state.progress.iteration < options.iter:
        job.check_abort()
        iteration, began, told = state.progress.iteration + 1, time.perf_counter(), set(state.dataset.quarantined)
        with job.progress.bar(expectation_title(iteration, options.iter), sizes[iteration - 1]) as bar:
            state = gradient.iterate(
                be, state, settings, source, comm, steering, auto=auto, max_bad=options.max_bad_fraction,
                quantise=quantise, advance=bar.advance,
            )  # fmt: skip
        middle = time.perf_counter()
        if comm.rank == 0:
            if iteration % options.grad_write_iter == 0 or iteration == options.iter:
                write(job, options, state)
            state.seconds["files"] = time.perf_counter() - middle
            tell_quarantined(job, state.dataset, told)
            refine_volume.log_iteration(job, state, course(options), eta.finished(time.perf_counter() - began))
    return state


def write(job, options: Options, state: Refinement) -> None:
    """The files of the iteration, the optimiser's last."""
    paths = RefinePaths(job.dir.root, state.progress.iteration)
    write_moments(paths, state.moments, state.models[0].pixel_size_A)
    refine_volume.write(job, options, state, rlnDoGradientRefine=1)


def final_map(be, job, options: Options, state: Refinement) -> np.ndarray:
    """The largest class, turned so that its symmetry's axes lie where RELION has them, and averaged over the group."""
    model = state.models[0]
    volume = model.references[int(np.argmax(model.class_weight))]
    if options.sym != "C1" and not options.run_in_sym:
        found = align(volume, model.pixel_size_A, options.sym, apply_symmetry=True, n_threads=be.n_threads)
        job.log.event("symmetry", symmetry=options.sym, score=found.score, weakest=found.weakest, rotation=found.rotation.tolist())
        job.progress.line(f" Symmetry {options.sym}: its copies correlate by {found.score:.2f}, the weakest by {found.weakest:.2f}")
        if not found.is_shown:
            job.warning(
                f"--sym {options.sym}: the map does not show it, its weakest copy agrees to {found.weakest:.2f}; try vitreous "
                f"align-symmetry --detect on {state_map(job, state)}, or another --random_seed"
            )
        volume = found.volume
    write_mrc(str(Path(job.dir.root).parent / "initial_model.mrc"), volume, model.pixel_size_A, stack=False)
    return volume


def state_map(job, state: Refinement) -> str:
    """File of the largest class."""
    paths = RefinePaths(job.dir.root, state.progress.iteration)
    return paths.map(0, int(np.argmax(state.models[0].class_weight)))
