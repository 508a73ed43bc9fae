"""2D classification: particles in, class averages and tables out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine.schedule import coarse_size, current_size
from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.io.moment_files import write_moments
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import find_root, quantise
from vitreous.io.references import read_references
from vitreous.io.run_files import RunPaths, read_iteration, write_iteration
from vitreous.job import classify
from vitreous.job.forecast import forecast
from vitreous.job.job import Job, command_line
from vitreous.job.progress import RunEta, duration, expectation_title, noise_line
from vitreous.job.rundir import RunDir, split_optimiser_name
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Progress, Sampling
from vitreous.programs.class2d_course import (
    course_of,
    most_significant,
    settings_of_the_end,
    with_first_moments,
    with_saved_moments,
    with_weight_of_the_end,
)
from vitreous.programs.class2d_options import Options
from vitreous.programs.launch import open_job, record_options
from vitreous.programs.option_text import read_record
from vitreous.programs.refine_common import (
    check_background,
    checked_particles,
    engine_settings,
    image_source,
    import_plots_early,
    iteration_values,
    new_model,
    report_fields,
    retire_earlier_run,
    save_report,
    saved_settings,
    tell_notes,
    tell_quarantined,
    with_seed_and_diameter,
)

__all__ = ["Options", "Result", "run"]

# In the optimiser files of every version, from beginning to end; without them a run would go on with other options.
LABELS_OF_ANY_RUN = (
    "rlnNumberOfIterations",
    "rlnParticleDiameter",
    "rlnDoZeroMask",
    "rlnDoSkipAlign",
    "rlnDoCorrectCtf",
    "rlnFixSigmaOffsetEstimates",
    "rlnMaxNumberOfPooledParticles",
)


@dataclass(frozen=True)
class Result:
    """What a run leaves: class averages, particles and statistics, and where the files are."""

    classes: np.ndarray  # (K, box, box) float32
    particles: Any  # model.dataset.Particles
    model: Model
    dataset: Dataset
    root: str
    report: Path | None


def run(options: Options, be, comm) -> Result:
    """Run to the last iteration; every iteration leaves files from which the run can go on."""
    options, state = comm.map(begin, [options])[0]  # files are read once, and all have one seed
    with open_job(options, comm, backend=be.name, threads=be.n_threads) as job:
        record_options(job, options)
        tell_notes(job, state.dataset)
        references = None if options.continue_from else first_references(options, state.model)
        settings = make_settings(options, state.model, references)
        root = find_root(options.particles or options.continue_from, state.dataset.image_files)
        with image_source(job, comm, options, state.dataset, root) as source:
            parts = tell_memory(be, job, options, state, settings)
            if not options.continue_from:
                state = comm.map(lambda s: initialise(be, job, options, settings, s, source, references), [state])[0]
            if comm.rank == 0:  # who writes the report
                import_plots_early()
            state = iterations(be, comm, job, options, settings, state, source)
        report = write_report(be, job, options, state, parts) if comm.rank == 0 else None
    return Result(state.model.references, state.dataset.particles, state.model, state.dataset, job.dir.root, report)


# Start and resume


def begin(options: Options) -> tuple[Options, classify.State]:
    """All options, and the state before the next iteration."""
    options, state = resume(options) if options.continue_from else start(options)
    options = with_seed_and_diameter(options, state.model)
    progress = replace(state.progress, random_seed=options.random_seed, n_iterations=options.iter)
    return options, replace(state, progress=progress)


def start(options: Options) -> tuple[Options, classify.State]:
    """State of a new run from the particles file: no references and no noise yet."""
    options = options.with_gradient_defaults()
    dataset = checked_particles(options)
    first = dataset.optics[0]
    box, pixel = first.box, first.pixel_size_A
    model = new_model(options, dataset, np.zeros((options.K, box, box), np.float32))
    progress = Progress(increment_px=options.incr_size)
    return options, classify.State(quantise(dataset), model, make_sampling(options, pixel), progress)


def make_sampling(options: Options, pixel_size_A: float) -> Sampling:
    """Coarse sampling from the options; offsets in Angstrom."""
    order = 0 if options.skip_align else options.oversampling
    reach = 0.0 if options.skip_align else options.offset_range * pixel_size_A
    step = options.offset_step * pixel_size_A
    return Sampling(options.psi_step, reach, step, order, options.perturb, 0.0, options.psi_step, reach, step)


def resume(options: Options) -> tuple[Options, classify.State]:
    """Options and state of a run that goes on from the files of one iteration."""
    root, _ = split_optimiser_name(options.continue_from)
    found = read_iteration(options.continue_from)
    missing = [label for label in LABELS_OF_ANY_RUN if label not in found.optimiser]
    if missing:
        raise InputError(
            f"{options.continue_from}: found no {missing[0]}, expected what every optimiser file has; it was cut short: "
            "copy it again, or continue from an earlier iteration"
        )
    record = RunDir(root).options
    chosen = read_record(record, Options) if record.is_file() else {}
    pixel = found.model.pixel_size_A
    saved = Options.saved_values(found.optimiser, found.model_general, found.sampling_general, pixel)
    if not options.is_given("output"):
        saved["output"] = root
    options = options.continued(with_weight_of_the_end(saved, found.optimiser), chosen).with_gradient_defaults()
    options.check_flags_without_gradient(InputError)
    model = replace(found.model, tau2_fudge=options.tau2_fudge, padding=float(options.pad))
    if options.is_given("offset") and options.origin("offset") == "user":
        model = replace(model, sigma_offset_A=options.offset)
    sampling = found.sampling
    asked = make_sampling(options, pixel)
    if any(
        options.origin(name) == "user"
        for name in ("psi_step", "offset_range", "offset_step", "oversampling", "skip_align")
    ):
        sampling = asked
    sampling = replace(sampling, oversampling=asked.oversampling, perturb_factor=asked.perturb_factor)
    dataset = found.dataset
    if not found.sampling_general and sampling is not asked and not options.is_given("psi_step"):
        # RELION writes none for iteration 0.
        note = (
            f"{options.continue_from}: found no sampling file beside it, which tells the search's steps; going on with --psi_step "
            f"{options.psi_step:g} --offset_range {options.offset_range:g} --offset_step {options.offset_step:g}; give the run's own"
        )
        dataset = replace(dataset, input=replace(dataset.input, notes=(*dataset.input.notes, note)))
    state = classify.State(dataset, model, sampling, found.progress)
    return options, with_saved_moments(options, root, state)


def first_references(options: Options, model: Model) -> np.ndarray | None:
    """(K, box, box) float32 references of --ref, one repeated K times; None without --ref."""
    if not options.ref:
        return None
    images = read_references(options.ref, model.box, model.pixel_size_A)
    if len(images) not in (1, options.K):
        raise InputError(
            f"--ref {options.ref}: found {len(images)} references, expected 1 or --K {options.K}; give --K {len(images)}"
        )
    return np.ascontiguousarray(np.broadcast_to(images, model.references.shape), np.float32)


def make_settings(options: Options, model: Model, references) -> Settings:
    """The engine's settings from the options, with masks and spectra read."""
    mask = None
    if options.solvent_mask:
        mask, _ = read_mrc(options.solvent_mask)
        mask = np.asarray(mask, np.float32).squeeze()
        if mask.shape != (model.box, model.box) or mask.min() < -1e-6 or mask.max() > 1 + 1e-6:
            raise InputError(
                f"--solvent_mask {options.solvent_mask}: found shape {mask.shape}, values {mask.min():g} to {mask.max():g}, "
                f"expected ({model.box}, {model.box}) and 0 to 1; rescale the mask"
            )
    first = model.references if references is None else references  # a run that goes on has its references in its files
    one_map = model.n_classes > 1 and bool(first.any()) and bool((first == first[0]).all())
    settings = engine_settings(
        options,
        model,
        solvent_mask=mask,
        center_classes=options.center_classes,
        skip_align=options.skip_align,
        skip_rotate=options.skip_rotate,
        always_cc=options.always_cc,
        one_reference_for_all=one_map,
        allow_coarser_sampling=options.allow_coarser_sampling,
        fast_subsets=options.fast_subsets,
        skip_maximize=options.skip_maximize,
    )
    return replace(settings, max_significant=most_significant(options) or 0)


def initialise(
    be, job: Job, options: Options, settings: Settings, state: classify.State, source, references
) -> classify.State:
    """Noise spectra, first references and the files of iteration 0."""
    if not options.dont_check_norm:
        check_background(options, settings, state.dataset, source)
    job.progress.line(noise_line(options.nr_parts_sigma2noise))
    told = set(state.dataset.quarantined)
    state = classify.initialise(
        be,
        state,
        settings,
        source,
        n_noise=options.nr_parts_sigma2noise,
        references=references,
        use_blobs=not options.no_init_blobs,
        max_bad=options.max_bad_fraction,
    )
    tell_quarantined(job, state.dataset, told)
    retire_earlier_run(job)
    state = with_first_moments(options, state)
    write(job, options, state)
    return state


# The loop


def iterations(
    be, comm, job: Job, options: Options, settings: Settings, state: classify.State, source
) -> classify.State:
    """Iterate to the end, writing, logging and telling after each."""
    total, course = options.iter, course_of(options, settings)
    if total <= state.progress.iteration and options.continue_from:
        job.warning(
            f"--iter {total}: found a run that has done {state.progress.iteration} iterations, expected more to do; "
            f"give --iter {state.progress.iteration + 1} or more to go on"
        )
    eta = RunEta([float(course.n_used(state, i)) for i in range(state.progress.iteration + 1, total + 1)])
    ended = False
    while state.progress.iteration < total and not ended:
        job.check_abort()
        began, before, iteration = time.perf_counter(), set(state.dataset.quarantined), state.progress.iteration + 1
        with job.progress.bar(expectation_title(iteration, total), course.n_used(state, iteration)) as bar:
            how = {"max_bad": options.max_bad_fraction, "quantise": quantise, "advance": bar.advance}
            state = course.iterate(be, state, settings, source, comm, **how)
        mid = time.perf_counter()
        reached = state.model.current_resolution_A <= (options.abort_at_resolution or 0)
        ended = reached or settings.skip_maximize
        if comm.rank == 0:
            if ended or iteration == total or iteration % course.write_every == 0:
                write(job, options, state)
            state.seconds["files"] = time.perf_counter() - mid
            tell_quarantined(job, state.dataset, before)
            log_iteration(job, options, state, eta.finished(time.perf_counter() - began))
        if reached:
            job.progress.line(f" Stopped: {state.model.current_resolution_A:.1f} A has reached --abort_at_resolution")
    return state


def write(job: Job, options: Options, state: classify.State) -> None:
    """The files of the iteration; the optimiser's last."""
    settings = saved_settings(options) | settings_of_the_end(options)
    if state.moments is not None:
        write_moments(RunPaths(job.dir.root, state.progress.iteration), state.moments, state.model.pixel_size_A)
    write_iteration(
        job.dir.root,
        state.model,
        state.sampling,
        state.progress,
        state.dataset,
        settings,
        unmasked=state.unmasked,
        command=command_line(),
        program=f"vitreous {__version__}",
    )


def log_iteration(job: Job, options: Options, state: classify.State, left_s: float) -> None:
    """One event with all numbers, one line with those that a user watches."""
    model, progress = state.model, state.progress
    job.log.event(
        "iteration",
        **iteration_values(state, model),
        class_accuracy_deg=model.accuracy_rotation_deg,
        class_accuracy_A=model.accuracy_shift_A,
    )
    taken = sum(state.seconds.values())
    left = f", about {duration(left_s)} left" if progress.iteration < options.iter else ""
    job.progress.line(
        f"   resolution {model.current_resolution_A:6.2f} A  Pmax {model.average_p_max:.3f}  changes: class {progress.change_class:5.1%} "
        f"angle {progress.change_angle_deg:5.1f} deg  offset {progress.change_offset_A:5.2f} A  {taken:.2g} s{left}"
    )


# Telling


def tell_memory(be, job: Job, options: Options, state: classify.State, settings: Settings) -> dict[str, int]:
    """Print the predicted peak at full resolution; InputError where even the first iteration does not fit."""
    model, sampling = state.model, state.sampling
    predict = lambda size: forecast(
        state.dataset,
        model,
        sampling,
        size,
        coarse_size(model, sampling, settings, size),
        preread=options.preread_images,
        n_threads=be.n_threads,
        gradient=options.grad,
    )
    shrink = "give fewer classes (--K), a coarser --psi_step, or smaller images"
    first = min(
        model.box,
        2 * (round(0.07 * model.box) + options.incr_size)
        if not options.continue_from
        else current_size(model, state.progress),
    )
    job.check_memory(predict(first), shrink)
    parts = predict(model.box)
    try:
        job.tell_memory(parts, shrink)
    except InputError as error:
        job.warning(f"should the resolution reach the sampling limit, {error}")
    return parts


def write_report(be, job: Job, options: Options, state: classify.State, parts: dict[str, int]) -> Path:
    """report.html beside the outputs; matplotlib is imported only here."""
    from vitreous.report.class2d import Class2dRun, class2d_report, columns_of

    run_ = Class2dRun(
        title=f"2D classification: {job.dir.root}",
        particles=columns_of(state.dataset.particles, state.dataset.usable),
        class_images=state.unmasked if options.flatten_solvent else None,
        **report_fields(be, job, options, state, state.model, parts),
    )
    classes = job.dir.iteration_file(state.progress.iteration, "classes.mrcs")
    return save_report(job, class2d_report(run_), f"classes: {classes}   ")
