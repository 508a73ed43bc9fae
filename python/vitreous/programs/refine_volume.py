"""What refine3d and class3d do alike: from options and files to the state, the loop, the files, the report."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine import filters, gold
from vitreous.engine.schedule3d import AutoOptions, local_width_deg, oversampled_step_deg
from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.io.particles import find_root, quantise
from vitreous.io.refine_files import read_refinement, write_refinement
from vitreous.job import parting, refine
from vitreous.job.forecast_volume import forecast_volume, stages_of, total
from vitreous.job.job import Job, command_line
from vitreous.job.progress import RunEta, duration, expectation_title, noise_line
from vitreous.job.rundir import RunDir, split_optimiser_name
from vitreous.model import healpix
from vitreous.model.state import Model, Progress, Refinement, Sampling
from vitreous.model.symmetry import Symmetry
from vitreous.programs.class_start import told, with_class_maps
from vitreous.programs.launch import open_job, record_options
from vitreous.programs.map_files import maps_of_star, read_map, same_grid
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
from vitreous.programs.volume_options import VolumeOptions

# The header's pixel size of a reference may be this far off, relatively: a hundredth is a shell at the hundredth shell.
PIXEL_TOLERANCE = 0.01
# Particles per class of the first of --fast_subsets: a map needs more than an average to show shape (RELION's choice).
SUBSET_PER_CLASS = 1500
# Of the programs' reports.
TITLES = {"refine3d": "3D refinement", "class3d": "3D classification", "initial-model": "3D initial model"}


@dataclass(frozen=True)
class Result:
    """What a run leaves: maps, particles and statistics, and where the files are."""

    maps: np.ndarray  # (K, box, box, box) float32; of a converged refinement the joined map
    half_maps: list  # two unregularised maps of a converged refinement, else empty
    fsc: np.ndarray | None
    particles: Any  # model.dataset.Particles
    models: list[Model]
    root: str
    report: Path | None


@dataclass(frozen=True)
class Course:
    """How a program's iterations go: automatic and in halves, or a given number of them."""

    auto: AutoOptions | None
    last_iteration: int
    join_A: float = 0.0
    correct_fsc: bool = False
    force_last: bool = False


def run(options: VolumeOptions, be, comm, course_of, n_classes: int) -> Result:
    """Run to convergence or to the last iteration; every iteration leaves files from which the run can go on.

    Parameters
    ----------
    course_of : options -> Course
    n_classes : of a new run
    """
    # Files are read once, and all have one seed.
    options, state = comm.map(lambda given: begin(given, course_of, n_classes), [options])[0]
    course = course_of(options)
    with open_job(options, comm, backend=be.name, threads=be.n_threads) as job:
        record_options(job, options)
        tell_notes(job, state.dataset)
        settings = make_settings(options, state)
        root = find_root(options.particles or options.continue_from, state.dataset.image_files)
        with image_source(job, comm, options, state.dataset, root) as source:
            parts = tell_memory(be, job, options, settings, state, course=course)
            if not options.continue_from:
                state = with_class_maps(be, comm, job, options, settings, state, source)
                settings = make_settings(options, state)  # they ask whether the classes begin alike
                state = comm.map(lambda s: initialise(be, job, options, settings, s, source), [state])[0]
            if comm.rank == 0:  # who writes the report
                import_plots_early()
            state = iterations(be, comm, job, options, settings, state, source, course)
        report = write_report(be, job, options, state, parts) if comm.rank == 0 else None
    maps = state.models[0].references
    return Result(maps, state.unfiltered, state.fsc, state.dataset.particles, state.models, job.dir.root, report)


def begin(options: VolumeOptions, course_of, n_classes: int):
    """All options, and the state before the next iteration."""
    options, state = resume(options, course_of) if options.continue_from else start(options, course_of, n_classes)
    options = with_seed_and_diameter(options, state.models[0])
    course = course_of(options)
    progress = replace(state.progress, random_seed=options.random_seed, n_iterations=course.last_iteration)
    state = replace(state, progress=progress)
    if course.auto and not options.continue_from:
        state = replace(state, dataset=with_halves(state.dataset, options))
    return options, state


def with_halves(dataset, options: VolumeOptions):
    """Half-sets as the particles file has them, or drawn at random."""
    half = dataset.particles.half
    if not half.any():
        return dataset.split_halves(options.random_seed)
    if not half.all():
        raise InputError(
            f"{options.particles}: rlnRandomSubset is 0 for {int((half == 0).sum())} of {len(half)} particles, expected 1 or 2 "
            "for all, or for none; remove the column to draw new half-sets"
        )
    return dataset


def start(options: VolumeOptions, course_of, n_classes: int):
    """Options and state of a new run, with the first references masked and low-passed but without noise spectra."""
    dataset = checked_particles(options)
    first = dataset.optics[0]
    maps = first_references(options, first.box, first.pixel_size_A, n_classes)
    model = new_model(options, dataset, maps)
    auto = course_of(options).auto
    n_models = 2 if auto else 1
    sampling = make_sampling(options, first.pixel_size_A)
    if auto and not sampling.sigma_deg:  # already at the order of local searches: around the angles of the particles file
        sampling = replace(sampling, sigma_deg=local_width_deg(sampling, auto))
    progress = Progress(increment_px=options.incr_size)
    return options, Refinement(quantise(dataset), [model] * n_models, sampling, progress, options.sym)


def first_references(options: VolumeOptions, box: int, pixel_size_A: float, n_classes: int) -> np.ndarray:
    """(K, box, box, box) float32 references of --ref on the particles' grid, low-passed: one map for all, or one for each."""
    names = maps_of_star(options.ref, "ref")[1] if options.ref.endswith(".star") else [options.ref]
    if len(names) not in (1, n_classes):
        raise InputError(f"--ref {options.ref}: holds {len(names)} maps, expected {n_classes} as --K has it, or one; give --K {len(names)}")
    maps = np.stack([reference_of_file(options, name, box, pixel_size_A) for name in names])
    return np.repeat(maps, n_classes, 0) if len(names) == 1 else maps


def reference_of_file(options: VolumeOptions, name: str, box: int, pixel_size_A: float) -> np.ndarray:
    """(box, box, box) float32 map on the particles' grid, low-passed."""
    volume, map_A = read_map(name, "ref", options.ref_angpix)
    map_A = map_A or pixel_size_A
    if len(set(volume.shape)) != 1:
        raise InputError(f"--ref {name}: has shape {volume.shape}, expected a cube; crop or pad it to one")
    same = volume.shape[0] == box and abs(map_A - pixel_size_A) <= PIXEL_TOLERANCE * pixel_size_A
    if not same and not options.trust_ref_size:
        raise InputError(
            f"--ref {name}: has {volume.shape[0]} voxels of {map_A:g} A, expected {box} of {pixel_size_A:g} A as the "
            "particles; pass --trust_ref_size to bring it onto that grid, or --ref_angpix where its header is wrong"
        )
    if not same:
        volume = on_grid(volume, map_A, box, pixel_size_A)
    if options.ini_high:
        volume = filters.filtered(volume, filters.low_pass(box * pixel_size_A / options.ini_high, box, 2))
    return np.asarray(volume, np.float32)


def on_grid(volume, map_A: float, box: int, pixel_size_A: float) -> np.ndarray:
    """(box, box, box) float32: a cubic map resampled to another pixel size by Fourier cropping or padding, then cropped or padded."""
    n = volume.shape[0]
    m = 2 * round(n * map_A / pixel_size_A / 2)
    ft = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))
    both = min(n, m)
    out = np.zeros((m,) * 3, complex)
    centre = lambda side: slice(side // 2 - both // 2, side // 2 - both // 2 + both)
    out[(centre(m),) * 3] = ft[(centre(n),) * 3]
    resized = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(out)).real) * (m / n) ** 3
    both = min(m, box)
    cropped = np.zeros((box,) * 3, np.float32)
    cropped[(slice(box // 2 - both // 2, box // 2 - both // 2 + both),) * 3] = resized[(centre_of(m, both),) * 3]
    return cropped


def centre_of(side: int, n: int) -> slice:
    """The n samples around the centre of an axis."""
    return slice(side // 2 - n // 2, side // 2 - n // 2 + n)


def make_sampling(options: VolumeOptions, pixel_size_A: float) -> Sampling:
    """Coarse sampling from the options; offsets in Angstrom."""
    skip = getattr(options, "skip_align", False)
    reach = 0.0 if skip else options.offset_range * pixel_size_A
    step, psi = options.offset_step * pixel_size_A, healpix.step_deg(options.healpix_order)
    over = 0 if skip else options.oversampling
    return Sampling(
        psi, reach, step, over, options.perturb, 0.0, psi, reach, step, options.healpix_order, options.sigma_deg
    )


def resume(options: VolumeOptions, course_of):
    """Options and state of a run that goes on from the files of one iteration."""
    root, _ = split_optimiser_name(options.continue_from)
    state, labels = read_refinement(options.continue_from)
    record = RunDir(root).options
    chosen = read_record(record, type(options)) if record.is_file() else {}
    pixel = state.models[0].pixel_size_A
    saved = options.saved_values(labels.optimiser, labels.model_general, labels.sampling_general, pixel)
    if not options.is_given("output"):
        saved["output"] = root
    own = {name: saved.pop(name) for name in ("healpix_order", "offset_range", "offset_step") if name in saved}
    options = options.continued({**saved, **{k: v for k, v in own.items() if not options.is_given(k)}}, chosen)
    models = [replace(m, tau2_fudge=options.tau2_fudge, padding=float(options.pad)) for m in state.models]
    wanted = 2 if course_of(options).auto else 1
    if len(models) != wanted:
        raise InputError(
            f"{options.continue_from}: is of a run with {len(models)} model, expected {wanted}; "
            f"give it to vitreous {'class3d' if wanted == 2 else 'refine3d'}"
        )
    sampling = replace(state.sampling, oversampling=options.oversampling, perturb_factor=options.perturb)
    changed = [n for n in ("healpix_order", "offset_range", "offset_step", "sigma_ang") if options.origin(n) == "user"]
    if changed and not course_of(options).auto:
        sampling = make_sampling(options, pixel)
    return options, replace(state, models=models, sampling=sampling)


def make_settings(options: VolumeOptions, state: Refinement) -> Settings:
    """The engine's settings from the options, with masks and spectra read."""
    model, mask = state.models[0], None
    if options.solvent_mask:
        mask, _ = read_map(options.solvent_mask, "solvent_mask")
        same_grid(options.solvent_mask, "solvent_mask", mask, (model.box,) * 3, "the reference")
        if mask.min() < -1e-6 or mask.max() > 1 + 1e-6:
            raise InputError(
                f"--solvent_mask {options.solvent_mask}: has values {mask.min():g} to {mask.max():g}, expected 0 to 1; "
                "make one with vitreous mask-create"
            )
    one_map = model.n_classes > 1 and bool((model.references == model.references[0]).all())
    return engine_settings(
        options,
        model,
        solvent_mask=mask,
        skip_align=getattr(options, "skip_align", False),
        one_reference_for_all=one_map,
        fast_subsets=getattr(options, "fast_subsets", False),
        subset_per_class=SUBSET_PER_CLASS,
    )


def initialise(be, job: Job, options: VolumeOptions, settings: Settings, state: Refinement, source) -> Refinement:
    """Noise spectra and the files of iteration 0."""
    if not options.dont_check_norm:
        check_background(options, settings, state.dataset, source)
    state = replace(state, models=[gold.flattened(state.models[0], settings)] * len(state.models))
    job.progress.line(noise_line(options.nr_parts_sigma2noise))
    told = set(state.dataset.quarantined)
    state = refine.initialise(
        be, state, settings, source, n_noise=options.nr_parts_sigma2noise, max_bad=options.max_bad_fraction
    )
    tell_quarantined(job, state.dataset, told)
    retire_earlier_run(job)
    write(job, options, state)
    return state


# The loop


def iterations(be, comm, job, options, settings, state: Refinement, source, course: Course) -> Refinement:
    """Iterate to convergence or to the end, writing, logging and telling after each."""
    if course.force_last:
        state = replace(state, progress=replace(state.progress, has_converged=True))
    eta = RunEta([float(len(state.dataset))] * max(course.last_iteration - state.progress.iteration, 0))
    while state.progress.iteration < course.last_iteration:
        job.check_abort()
        began, before = time.perf_counter(), set(state.dataset.quarantined)
        n = refine.n_used(state, settings, state.progress.iteration + 1)
        title = expectation_title(state.progress.iteration + 1, course.last_iteration)
        with job.progress.bar(title.split(" of ")[0] if course.auto else title, n) as bar:
            state = refine.iterate(
                be,
                state,
                settings,
                source,
                comm,
                auto=course.auto,
                join_A=course.join_A,
                correct_fsc=course.correct_fsc,
                max_bad=options.max_bad_fraction,
                quantise=quantise,
                advance=bar.advance,
            )
        middle = time.perf_counter()
        if comm.rank == 0:
            write(job, options, state)
            state.seconds["files"] = time.perf_counter() - middle
            tell_quarantined(job, state.dataset, before)
            log_iteration(job, state, course, eta.finished(time.perf_counter() - began))
        if course.auto and state.progress.has_converged:
            job.progress.line(" Auto-refine: Refinement has converged: the last map is of all particles")
            break
    else:
        if course.auto:
            job.warning(
                f"--auto_iter_max {course.last_iteration}: reached before convergence; the maps are of the half-sets, go on "
                "with --continue and a larger number, or --force_converge"
            )
    return state


def write(job: Job, options: VolumeOptions, state: Refinement, **more: int) -> None:
    """The files of the iteration, and the final ones where it has converged; the optimiser's last.

    Parameters
    ----------
    more : labels of data_optimiser_general that no option tells
    """
    final = len(state.models) == 2 and state.progress.has_converged
    rest = {"command": command_line(), "program": f"vitreous {__version__}"}
    write_refinement(job.dir.root, state, saved_settings(options) | more, converged=final, **rest)


def event_values(state: Refinement) -> dict[str, Any]:
    """All numbers of an iteration, for the log."""
    sampling, progress = state.sampling, state.progress
    return iteration_values(state, state.models[0]) | {
        "healpix_order": sampling.healpix_order, "angular_step_deg": oversampled_step_deg(sampling),
        "offset_step_A": sampling.offset_step_A / 2**sampling.oversampling, "local": sampling.sigma_deg > 0,
        "accuracy_deg": progress.accuracy_rotation_deg, "accuracy_A": progress.accuracy_shift_A, "fsc": state.fsc,
    }  # fmt: skip


def log_iteration(job: Job, state: Refinement, course: Course, left_s: float) -> None:
    """One event with all numbers, one line with those that a user watches."""
    model, progress, sampling = state.models[0], state.progress, state.sampling
    step = oversampled_step_deg(sampling)
    job.log.event("iteration", **event_values(state))
    taken = duration(sum(state.seconds.values()))
    left = "" if course.auto or progress.iteration >= course.last_iteration else f", about {duration(left_s)} left"
    job.progress.line(
        f"   resolution {model.current_resolution_A:6.2f} A  step {step:.2g} deg{' local' if sampling.sigma_deg else ''}  "
        f"Pmax {model.average_p_max:.3f}  changes: angle {progress.change_angle_deg:.2f} deg  offset "
        f"{progress.change_offset_A:.2f} A  accuracy {progress.accuracy_rotation_deg:.2f} deg  {taken}{left}"
    )


def tell_memory(
    be, job: Job, options: VolumeOptions, settings: Settings, state: Refinement, *, course=None, size_px=0, gradient=False,
    n_held=1, then=(),
) -> dict[str, int]:  # fmt: skip
    """Print the predicted peak; InputError where it does not fit.

    Parameters
    ----------
    course : what is still to be done; None = many iterations, not steered
    size_px : Fourier box of the largest iteration; 0 = up to Nyquist, as the last one of a refinement is
    gradient : iterations step along the gradient
    n_held : states that are there at once
    then : stages of ordinary iterations that follow (job/parting.py)
    """
    alone = course is not None and course.last_iteration - state.progress.iteration == 1
    box = state.models[0].box

    def forecast(stages, gradient: bool, n_held: int):
        return forecast_volume(
            state.dataset, state.models, stages, Symmetry.parse(state.symmetry), preread=options.preread_images,
            n_threads=be.n_threads, gradient=gradient, n_held=n_held,
        )  # fmt: skip

    stages = stages_of(be, state, settings, course and course.auto, size_px or box, gradient=gradient, alone=alone)
    parts = max([forecast(stages, gradient, n_held), *(forecast([stage], False, parting.N_HELD) for stage in then)], key=total)
    shrink = "give --pad 1, which takes an eighth of the memory for maps, or smaller images"
    job.tell_memory(parts, shrink)
    return parts


def write_report(be, job: Job, options: VolumeOptions, state: Refinement, parts: dict[str, int]) -> Path:
    """report.html beside the outputs; matplotlib is imported only here."""
    from vitreous.report.refine3d import Refine3dRun, columns_of, refine3d_report

    fields = report_fields(be, job, options, state, state.models[0], parts, reference=options.ref or "of the run", **told(job))
    run_ = Refine3dRun(
        title=f"{TITLES[options.PROGRAM]}: {job.dir.root}",
        fsc={} if state.fsc is None else {"half-sets": state.fsc},
        particles=columns_of(state.dataset, state.before, state.symmetry),
        symmetry=state.symmetry,
        **fields,
    )
    return save_report(job, refine3d_report(run_))
