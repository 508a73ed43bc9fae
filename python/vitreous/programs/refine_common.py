"""What the classification and refinement programs do alike: reading images, checks on the particles, what they tell."""

from __future__ import annotations

import numpy as np

from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.io.images import ImageSource
from vitreous.io.star import read_star
from vitreous.job.job import Job
from vitreous.model.dataset import Dataset
from vitreous.model.masks import soft_circle
from vitreous.model.state import Model
from vitreous.programs.options import flag_of
from vitreous.programs.refine_shared_options import RefinementOptions

# A background this far from mean 0 or standard deviation 1 was not normalised.
BACKGROUND_MEAN, BACKGROUND_SD = 0.5, (0.5, 2.0)
# What the state of an iteration tells better than the options.
IN_STATE = ("o", "iter", "auto_iter_max", "random_seed", "oversampling", "incr_size")


def saved_settings(options: RefinementOptions) -> dict:
    """Label of data_optimiser_general -> value, of the options that RELION knows."""
    settings = {}
    for name, field in type(options).model_fields.items():
        saved = field.json_schema_extra["saved"]
        if saved and saved[0] == "optimiser" and flag_of(name, field) not in IN_STATE:
            settings[saved[1]] = getattr(options, name)
    settings["rlnDoCorrectNorm"], settings["rlnDoCorrectScale"] = options.do_norm, options.do_scale
    return settings


def image_source(options: RefinementOptions, dataset: Dataset, root) -> ImageSource:
    """Reader of the particles' images."""
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
            f"{len(new)} particles cannot be used and are left out, the first is {first}; all are in {job.dir.log}"
        )
