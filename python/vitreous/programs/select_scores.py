"""Scores of a classification's class averages: what they are made from, and the files that carry them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitreous.engine import class_score
from vitreous.errors import InputError
from vitreous.io.star import StarFile, read_star, write_star
from vitreous.io.table import exists
from vitreous.job.job import Job
from vitreous.programs.select_classes import Classification, is_2d, read_images

ACCURACIES = ("rlnAccuracyRotations", "rlnAccuracyTranslationsAngst")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of all classes.

    Attributes
    ----------
    score : (n_classes,) float64 in 0..1
    parts : name -> (n_classes,) float64 in 0..1    what the score is the product of
    """

    score: np.ndarray
    parts: dict[str, np.ndarray]


def optimiser_of(model: str, given: str) -> str | None:
    """The optimiser file of a model: what the user gave, or the file beside it."""
    beside_it = model.replace("_half1_model.star", "_model.star").removesuffix("_model.star") + "_optimiser.star"
    return next((path for path in (given, beside_it) if path.endswith("_optimiser.star") and exists(path)), None)


def diameter_A(path: str | None) -> float:
    """Diameter of the particles' circle by an optimiser file; infinite, which stands for the box, where it is not known."""
    if path is None:
        return np.inf
    value = float(read_star(path, ("optimiser_general",))["optimiser_general"].value("rlnParticleDiameter", -1.0))
    return value if value > 0 else np.inf


def scored(run: Classification, given: str, job: Job) -> tuple[Classification, Scores]:
    """The classification with rlnClassScore, and the scores with their parts.

    Parameters
    ----------
    given : the file that the user named

    Raises  InputError: its classes are maps.
    """
    if not is_2d(run):
        raise InputError(
            f"--auto_select: {run.model} has maps, expected 2D class averages; choose by --max_class_resolution and "
            "--min_class_share"
        )
    images, pixel_A = read_images(run, np.arange(run.n_classes))
    diameter = diameter_A(optimiser_of(run.model, given))
    if not np.isfinite(diameter):
        job.warning(f"{run.model}: no optimiser file beside it has rlnParticleDiameter; scores are of the whole box")
    looks = class_score.look(images, pixel_A, diameter)
    table = run.table
    known = [table.numbers(label) for label in ACCURACIES if label in table]
    resolution = table.numbers("rlnEstimatedResolution", np.nan)
    score, parts = class_score.scores(looks, run.n_particles, resolution, known)
    return replace(run, star=with_scores(run.star, score)), Scores(score, dict(parts))


def with_scores(star: StarFile, score: np.ndarray) -> StarFile:
    """A model's blocks with rlnClassScore in model_classes."""
    classes = star["model_classes"]
    return StarFile(
        {**star, "model_classes": replace(classes, columns=classes.columns | {"rlnClassScore": score})}, star.path
    )


def write_ranked(run: Classification, root: Path, given: str) -> list[Path]:
    """``root_model.star`` with the scores, ``root_data.star`` and ``root_optimiser.star``, as relion_class_ranker has them.

    The references stay where they are; the last file is left out where the run's own is not at hand.
    """
    names = {name: root.with_name(f"{root.name}_{name}.star") for name in ("model", "data", "optimiser")}
    score = run.table.numbers("rlnClassScore")
    write_star(names["model"], list(with_scores(read_star(run.model), score).values()), allow_nan=True)
    run.particles.write(names["data"])
    path = optimiser_of(run.model, given)
    if path is None:
        return [names["model"], names["data"]]
    star = read_star(path)
    general = star["optimiser_general"]
    for label, name in (("rlnModelStarFile", "model"), ("rlnExperimentalDataStarFile", "data")):
        general[label] = [str(names[name])]
    general["rlnOutputRootName"] = [str(root)]
    write_star(names["optimiser"], list(star.values()), allow_nan=True)
    return list(names.values())
