"""What the classification and refinement programs do alike: reading images, checks on the particles, what they tell."""

from __future__ import annotations

import secrets
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.io.images import ImageSource
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star
from vitreous.job.job import Job, command_line
from vitreous.job.log import read_events
from vitreous.job.memory import human, peak_bytes
from vitreous.model.dataset import Dataset
from vitreous.model.masks import soft_circle
from vitreous.model.state import Model
from vitreous.programs.option_text import value_rows
from vitreous.programs.options import flag_of
from vitreous.programs.refine_shared_options import RefinementOptions

# A background this far from mean 0 or standard deviation 1 was not normalised.
BACKGROUND_MEAN, BACKGROUND_SD = 0.5, (0.5, 2.0)
# What the state of an iteration tells better than the options.
IN_STATE = ("o", "iter", "auto_iter_max", "random_seed", "oversampling", "incr_size")


def checked_particles(options: RefinementOptions) -> Dataset:
    """The particles of --i; InputError where they are none, or no 2D images with an even box."""
    dataset = read_particles(options.particles, need_ctf=options.ctf, max_bad_fraction=options.max_bad_fraction)
    if not len(dataset):
        raise InputError(f"{options.particles}: found no particles, expected at least one; check the file")
    for optics in dataset.optics:
        if optics.dimensionality != 2 or optics.box % 2:
            raise InputError(
                f"{options.particles}: optics group {optics.name} has {optics.dimensionality}D images of box "
                f"{optics.box}, expected 2D images with an even box; extract the particles again"
            )
    return dataset


def new_model(options: RefinementOptions, dataset: Dataset, references: np.ndarray) -> Model:
    """A model with given references, on the grid of the first optics group, and nothing else known.

    Parameters
    ----------
    references : (K, box, box) or (K, box, box, box) float32
    """
    k, n_shells = len(references), references.shape[-1] // 2 + 1
    per_class = lambda: np.zeros((k, n_shells))
    unknown = lambda: np.full(k, 999.0)
    return Model(
        dataset.optics[0].pixel_size_A,
        references,
        np.full(k, 1 / k),
        np.ones((len(dataset.optics), n_shells)),
        per_class(),
        per_class(),
        per_class(),
        per_class(),
        np.zeros((k, 2)),
        unknown(),
        unknown(),
        unknown(),
        np.zeros(k),
        dataset.group_names,
        dataset.group_counts,
        np.ones(len(dataset.group_names)),
        sigma_offset_A=options.offset,
        tau2_fudge=options.tau2_fudge,
        padding=float(options.pad),
    )


def engine_settings(options: RefinementOptions, model: Model, **others) -> Settings:
    """The engine's settings from the options that all these programs have, and others."""
    return Settings(
        particle_diameter_A=options.particle_diameter,
        mask_edge_px=options.maskedge,
        zero_mask=options.zero_mask,
        ctf=options.ctf,
        intact_first_peak=options.ctf_intact_first_peak,
        phase_flipped=options.ctf_phase_flipped,
        only_flip_phases=options.only_flip_phases,
        ctf_uncorrected_ref=options.ctf_uncorrected_ref,
        norm=options.do_norm,
        scale=options.do_scale,
        adaptive_fraction=options.adaptive_fraction,
        max_significant=options.maxsig or 0,
        min_sigma2_offset_A2=options.min_sigma2_offset,
        fix_sigma_noise=options.fix_sigma_noise,
        fix_sigma_offset=options.fix_sigma_offset,
        fixed_tau2=read_tau2(options.tau, model) if options.tau else None,
        minres_map=options.minres_map,
        flatten_solvent=options.flatten_solvent,
        strict_highres_A=options.strict_highres_exp or 0.0,
        strict_lowres_A=options.strict_lowres_exp or 0.0,
        coarse_size_px=options.coarse_size or 0,
        first_iteration_cc=options.firstiter_cc,
        ini_high_A=options.ini_high or 0.0,
        random_seed=options.random_seed,
        **others,
    )


def import_plots_early() -> None:
    """Import the plotting library in a thread: the kernels leave the interpreter free, and the report need not wait.

    No daemon: a run that fails at once waits for it, as a thread that is cut off within C++ takes the process with it.
    """
    threading.Thread(target=import_module, args=("matplotlib.backends.backend_svg",)).start()


def saved_settings(options: RefinementOptions) -> dict:
    """Label of data_optimiser_general -> value, of the options that RELION knows."""
    settings = {}
    for name, field in type(options).model_fields.items():
        saved = field.json_schema_extra["saved"]
        if saved and saved[0] == "optimiser" and flag_of(name, field) not in IN_STATE:
            settings[saved[1]] = getattr(options, name)
    settings["rlnDoCorrectNorm"], settings["rlnDoCorrectScale"] = options.do_norm, options.do_scale
    return settings


def with_seed_and_diameter(options: RefinementOptions, model: Model) -> RefinementOptions:
    """The options with the seed and the particle's diameter that the user left open."""
    if options.random_seed is None:
        options = options.derive("from the clock", random_seed=secrets.randbelow(2**31 - 1))
    if options.particle_diameter is None:
        whole = (model.box - options.maskedge) * model.pixel_size_A
        options = options.derive("the box less the mask edge", particle_diameter=whole)
    return options


def image_source(job: Job, comm, options: RefinementOptions, dataset: Dataset, root) -> ImageSource:
    """Reader of the particles' images; on scratch one process of each machine makes the copies that all read."""
    if not options.scratch_dir:
        return open_source(options, dataset, root)
    first = open_source(options, dataset, root) if comm.node_rank == 0 else None
    comm.gather([])  # now the copies are there
    source = open_source(options, dataset, root) if first is None else first
    job.progress.line(f" {source.scratch_note}")
    return source


def open_source(options: RefinementOptions, dataset: Dataset, root) -> ImageSource:
    """Reader of the particles' images by this process."""
    particles = dataset.particles
    boxes = np.array([o.box for o in dataset.optics])[particles.optics]
    return ImageSource(
        particles.image_file,
        particles.image_section,
        dataset.image_files,
        root,
        box=boxes,
        preread=options.preread_images,
        scratch_dir=options.scratch_dir,
        keep_free_scratch_GB=options.keep_free_scratch,
        keep_scratch=options.keep_scratch,
    )


def check_background(options: RefinementOptions, settings: Settings, dataset: Dataset, source) -> None:
    """InputError where the first particles' background is far from mean 0 and standard deviation 1."""
    first = np.flatnonzero(dataset.usable)[:50]
    first = first[dataset.particles.optics[first] == dataset.particles.optics[first[0]]] if len(first) else first
    images, bad = source.read(first)
    good = [i for i, index in enumerate(first) if int(index) not in bad]
    if not good:
        return
    optics = dataset.optics[dataset.particles.optics[first[0]]]
    outside = soft_circle(optics.box, settings.particle_diameter_A / (2 * optics.pixel_size_A), 0) == 0
    if outside.sum() < 16:
        return
    background = images[good][:, outside].astype(np.float64)
    mean, sd = background.mean(1), background.std(1)
    if (
        abs(np.median(mean / np.maximum(sd, 1e-30))) > BACKGROUND_MEAN
        or not BACKGROUND_SD[0] <= np.median(sd) <= BACKGROUND_SD[1]
    ):
        raise InputError(
            f"{dataset.image_name(int(first[good[0]]))}: the background outside the particle's circle has mean {np.median(mean):.3g} and "
            f"standard deviation {np.median(sd):.3g}, expected 0 and 1; normalise the particles at extraction, check "
            f"--particle_diameter ({settings.particle_diameter_A:g} A), or pass --dont_check_norm"
        )


def read_tau2(path: str, model: Model) -> np.ndarray:
    """(S,) signal power of --tau."""
    for block in read_star(path).values():
        if "rlnReferenceTau2" in block.columns:
            tau2 = np.atleast_1d(np.asarray(block.columns["rlnReferenceTau2"], float))
            if len(tau2) == model.n_shells:
                return tau2
            raise InputError(
                f"--tau {path}: found {len(tau2)} shells, expected {model.n_shells}, half the box and one; use one box size"
            )
    raise InputError(f"--tau {path}: found no column rlnReferenceTau2, expected one; give a model.star")


def retire_earlier_run(job: Job) -> None:
    """Rename the optimiser files of an earlier run of this name: whoever goes on must not go on from its last iteration."""
    old = [job.dir.iteration_file(i, "optimiser.star") for i in job.dir.iterations()]
    for path in old:
        path.replace(f"{path}.old")
    if old:
        job.warning(
            f"{old[-1]}: is of an earlier run with this --o, whose files are being replaced; its optimiser files now end in .old"
        )


def tell_notes(job: Job, dataset: Dataset) -> None:
    """What the reader of the particles file noticed."""
    for note in getattr(dataset.input, "notes", ()):
        job.warning(note)
    tell_quarantined(job, dataset, set())


def note_without_moments(continue_from: str) -> str:
    """What is told of a gradient-driven run that goes on from files without moments, those of RELION for one."""
    return f"{continue_from}: has no moments of vitreous beside it; the run goes on from its maps alone"


def tell_quarantined(job: Job, dataset: Dataset, known: set[int]) -> None:
    """Particles newly set aside: each in the log, the first few on the screen."""
    position = (
        {int(row): i for i, row in enumerate(dataset.particles.row)} if len(dataset.quarantined) > len(known) else {}
    )
    new = [row for row in dataset.quarantined if row not in known]
    for row in new:
        job.log.event("quarantined", image=dataset.image_name(position[row]), cause=dataset.quarantined[row])
    if new:
        first = f"{dataset.image_name(position[new[0]])} ({dataset.quarantined[new[0]]})"
        job.progress.warning(
            f"{len(new)} particle{'s cannot be used and are' if len(new) > 1 else ' cannot be used and is'} left out, the first "
            f"is {first}; all are in {job.dir.log}"
        )


def iteration_values(state, model: Model) -> dict[str, Any]:
    """What the log's event of an iteration has in 2D and in 3D.

    Parameters
    ----------
    state : job.classify.State or model.state.Refinement
    """
    progress = state.progress
    return {
        "iteration": progress.iteration,
        "resolution_A": model.current_resolution_A,
        "current_size_px": model.current_size_px,
        "coarse_size_px": state.coarse_size_px,
        "p_max": model.average_p_max,
        "n_significant": state.n_significant,
        "log_likelihood": model.log_likelihood,
        "change_angle_deg": progress.change_angle_deg,
        "change_offset_A": progress.change_offset_A,
        "change_class": progress.change_class,
        "sigma_offset_A": model.sigma_offset_A,
        "class_weight": model.class_weight,
        "class_resolution_A": model.class_resolution_A,
        "seconds": state.seconds,
        "peak_memory_bytes": peak_bytes(),
    }


def report_fields(
    be, job: Job, options: RefinementOptions, state, model: Model, parts: dict[str, int], **inputs: Any
) -> dict[str, Any]:
    """The fields of report.parts.Run that follow from the run alone.

    Parameters
    ----------
    state : job.classify.State or model.state.Refinement
    parts : what takes memory -> predicted bytes
    inputs : more of what was read
    """
    dataset = state.dataset
    events = {event["iteration"]: event for event in read_events(job.dir.log, "iteration")}
    position = {int(row): i for i, row in enumerate(dataset.particles.row)}
    return {
        "option_rows": value_rows(options),
        "events": [events[i] for i in sorted(events) if i <= state.progress.iteration],
        "model": model,
        "inputs": {
            "particles": options.particles or options.continue_from,
            "number of particles": len(dataset),
            "micrographs": len(dataset.sources),
            **inputs,
            "box": f"{model.box} px",
            "pixel size": f"{model.pixel_size_A:g} A",
        },
        "machine": {
            "command": command_line(),
            "version": f"vitreous {__version__}",
            "arithmetic": f"{be.name}, {be.lib.__name__}",
            "threads": f"{be.n_threads} of each of {job.n_processes} processes" if job.n_processes > 1 else be.n_threads,
            "random seed": options.random_seed,
            "finished": time.strftime("%Y-%m-%d %H:%M"),
        },
        "memory_bytes": parts,
        "peak_bytes": peak_bytes(),
        "quarantined": [(dataset.image_name(position[row]), cause) for row, cause in dataset.quarantined.items()],
    }


def save_report(job: Job, page: str, outputs: str = "") -> Path:
    """Write the report and tell where it is, with other outputs, and the peak of memory."""
    path = job.write_report(page)
    job.progress.line(f" Report: {path}   {outputs}peak memory {human(peak_bytes())}")
    return path
