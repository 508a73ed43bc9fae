"""Selection by class: which classes, their averages, their particles, and groups joined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import class_score, select
from vitreous.errors import InputError
from vitreous.io.mrc import StackReader, write_mrc
from vitreous.io.star import Block, StarFile, read_star, write_star
from vitreous.io.star_tables import StarTables, read_tables
from vitreous.io.table import Table, beside, exists, factorise
from vitreous.programs.select_options import Options

MODEL_ENDINGS = ("_half1_model.star", "_half2_model.star", "_model.star")
MODEL_BLOCKS = ("optimiser_general", "model_general", "model_classes", "model_groups")
CRITERIA = (
    "classes", "min_class_share", "min_class_parts", "max_class_resolution", "best_classes", "min_score", "auto_select"
)  # fmt: skip
DEFAULT_SCORE = 0.5  # of --auto_select, as of relion_class_ranker


@dataclass(frozen=True)
class Classification:
    """A finished classification as its files tell it.

    Attributes
    ----------
    model : the file of the classes
    star : its blocks
    particles : its particle table
    n_particles : (n_classes,) int          particles in each class
    """

    model: str
    star: StarFile
    particles: StarTables
    n_particles: np.ndarray

    @property
    def n_classes(self) -> int:
        return len(self.n_particles)

    @property
    def table(self) -> Table:
        return Table(self.model, self.star["model_classes"])

    def column(self, label: str, flag: str) -> np.ndarray:
        """Numbers of model_classes, (n_classes,) float64."""
        self.table.require(
            label, f"a value for every class, because of {flag}", "leave the option out, or give another file"
        )
        return self.table.numbers(label)


def read_classification(path: str) -> Classification | None:
    """The classification that a model, optimiser or data file belongs to; None for particles without one."""
    star = read_star(path, MODEL_BLOCKS)
    if "optimiser_general" in star:
        path = model_of_optimiser(path)
        star = read_star(path, MODEL_BLOCKS)
    if "model_classes" not in star:
        model = next((name for name in model_names(path) if exists(name)), None)
        if model is None:
            return None
        return _classification(model, read_star(model, MODEL_BLOCKS), read_tables(path))
    data = next((path.removesuffix(end) + "_data.star" for end in MODEL_ENDINGS if path.endswith(end)), None)
    if data is None or not exists(data):
        raise InputError(
            f"{path}: there is no {data or '_data.star'} beside it, expected the particles of this model; give "
            "the files of one iteration together"
        )
    return _classification(path, star, read_tables(data))


def _classification(model: str, star: StarFile, particles: StarTables) -> Classification:
    n_classes = star["model_classes"].n_rows
    numbers = particles.table().integers("rlnClassNumber", 1 if n_classes == 1 else 0)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= n_classes:
        raise InputError(
            f"{particles.path}: rlnClassNumber goes from {numbers.min()} to {numbers.max()}, expected 0 to "
            f"{n_classes} as in {model}; give the files of one iteration"
        )
    return Classification(model, star, particles, np.bincount(numbers, minlength=n_classes + 1)[1:])


def model_of_optimiser(path: str) -> str:
    """The model file of an optimiser file: by its name, else by what is written in it."""
    root = path.removesuffix("_optimiser.star")
    places = [f"{root}_model.star", f"{root}_half1_model.star"] if root != path else []
    general = read_star(path)["optimiser_general"]
    for label in ("rlnModelStarFile", "rlnModelStarFile2"):
        if label in general:
            places.append(beside(path, str(general.value(label))))
    found = next((place for place in places if exists(place)), None)
    if found is None:
        raise InputError(
            f"{path}: none of {', '.join(places) or 'its model files'} is there, expected the model of this "
            "iteration; give the _model.star"
        )
    return found


def model_names(path: str) -> list[str]:
    """Where the model of a data file may be."""
    root = path.removesuffix("_data.star")
    return [] if root == path else [f"{root}_model.star", f"{root}_half1_model.star"]


def numbers_of(text: str, flag: str, largest: int, what: str) -> list[int]:
    """Numbers from text such as ``1,4,7-12``, in order, each once."""
    found: list[int] = []
    for word in text.replace(",", " ").split():
        first, dash, last = word.partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            raise InputError(
                f"--{flag} {text}: found {word!r}, expected numbers such as 1,4,7-12; write them so"
            ) from None
        if not 1 <= low <= high <= largest:
            raise InputError(
                f"--{flag} {text}: found {word}, expected {what} between 1 and {largest}; give those that are there"
            )
        found += [number for number in range(low, high + 1) if number not in found]
    return found


def choose(options: Options, run: Classification, backup: Path) -> np.ndarray:
    """Which classes are selected, (n_classes,) bool."""
    given = [name for name in CRITERIA if getattr(options, name) not in (None, False)]
    chosen = np.ones(run.n_classes, bool)
    if options.selection is not None or not given:
        if options.selection is None and not backup.exists():
            raise InputError(
                f"--i {options.star}: found no criterion, expected which classes to take; give --classes 1,4,7-12, "
                "or --max_class_resolution, --min_class_share and the like"
            )
        chosen &= read_selection(options.selection or str(backup), run.n_classes, "classes")
    if options.classes is not None:
        listed = numbers_of(options.classes, "classes", run.n_classes, "class numbers")
        chosen &= np.isin(1 + np.arange(run.n_classes), listed)
    if options.min_class_share is not None:
        chosen &= run.n_particles >= options.min_class_share * max(run.n_particles.sum(), 1)
    if options.min_class_parts is not None:
        chosen &= run.n_particles >= options.min_class_parts
    if options.max_class_resolution is not None:
        resolution = run.column("rlnEstimatedResolution", "--max_class_resolution")
        chosen &= (resolution > 0) & (resolution <= options.max_class_resolution)
    if options.min_score is not None or options.auto_select:
        chosen &= class_score.choose(
            run.column("rlnClassScore", "--min_score"), np.where(chosen, run.n_particles, 0),
            DEFAULT_SCORE if options.min_score is None else options.min_score,
            options.select_min_nr_particles or 0, options.select_min_nr_classes or 0,
        )  # fmt: skip
    if options.best_classes is not None:
        order = np.argsort(np.where(chosen, -run.n_particles, 1), kind="stable")
        best = np.zeros(run.n_classes, bool)
        best[order[: options.best_classes]] = True
        chosen &= best
    return ~chosen if options.invert_selection else chosen


def read_selection(path: str, n: int, what: str) -> np.ndarray:
    """rlnSelected of every item, (n,) bool; numbers above 1 are selection types and count as selected."""
    star = read_star(path)
    selected = Table(path, next(iter(star.values()))).integers("rlnSelected")
    if len(selected) != n:
        raise InputError(
            f"{path}: has {len(selected)} rows, expected {n}, one for each of the {what}; it belongs to another file"
        )
    return selected > 0


def display_order(options: Options, run: Classification, chosen: np.ndarray) -> list[int]:
    """Numbers of the chosen classes in the order in which their particles are written."""
    order = np.arange(run.n_classes)
    if options.sort is not None:
        order = np.argsort(run.column(options.sort, "--sort"), kind="stable")
        order = order[::-1] if options.reverse else order
    return [int(i) + 1 for i in order if chosen[i]]


def averages(run: Classification, chosen: np.ndarray) -> tuple[Block, np.ndarray, float]:
    """The rows of the selected classes with their numbers, their images (n, ny, nx), and the pixel size in A."""
    rows = np.flatnonzero(chosen)
    block = run.star["model_classes"].take(rows)
    columns = block.columns | {"rlnClassNumber": rows + 1}
    images, pixel_A = read_images(run, rows)
    return Block("", "loop", columns), images, pixel_A


def is_2d(run: Classification) -> bool:
    """Whether the references are images, of which a class average can be made."""
    return "rlnReferenceImage" in run.table and all("@" in name for name in run.table.strings("rlnReferenceImage"))


def read_images(run: Classification, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """References of classes, (n, ny, nx) float32, and the pixel size of their file or of the model, A."""
    names = [run.table.strings("rlnReferenceImage")[row] for row in rows.tolist()]
    images, pixel_A = [], 0.0
    for name in names:
        section, _, file = beside(run.model, name).rpartition("@")
        with StackReader(file) as reader:
            images.append(reader.read([int(section)])[0])
            pixel_A = pixel_A or reader.pixel_size_A
    if not pixel_A and "model_general" in run.star:
        pixel_A = float(run.star["model_general"].value("rlnPixelSize", 1.0))
    return np.array(images), pixel_A or 1.0


def write_averages(options: Options, run: Classification, chosen: np.ndarray, path: Path) -> tuple[Path, Any]:
    """class_averages.star, with --recenter also the moved images; returns (path, centres of mass in px or None)."""
    block, images, pixel_A = averages(run, chosen)
    centres = None
    if options.recenter:
        moved, centres = select.recentred(images)
        stack = path.with_suffix(".mrcs")
        write_mrc(stack, moved, pixel_A)
        block["rlnReferenceImage"] = np.array([f"{i:06d}@{stack}" for i in range(1, len(moved) + 1)], object)
    write_star(path, [block], allow_nan=True)
    return path, centres


def regroup(tables: StarTables, model: str | None, star: StarFile | None, n_groups: int) -> StarTables:
    """Particles with rlnGroupName of about ``n_groups`` groups of similar intensity scale."""
    if star is None or "model_groups" not in star:
        raise InputError(
            f"--regroup: there is no model_groups beside {tables.path}, expected the scales of its groups; give the "
            "_model.star, or a _data.star with its _model.star beside it"
        )
    groups = Table(model, star["model_groups"])
    old = _group_of_rows(tables, groups)
    try:
        new = select.regrouped(old, tables.optics_index(), groups.numbers("rlnGroupScaleCorrection"), n_groups)
    except ValueError as error:
        raise InputError(
            f"--regroup {n_groups}: {error}, expected at least {select.FEWEST_PER_GROUP}; ask for fewer groups"
        ) from None
    digits = len(str(n_groups))
    names = np.array([f"group_{i:0{digits}d}" for i in range(int(new.max()) + 1)], object)
    columns = {label: column for label, column in tables.main.columns.items() if label != "rlnGroupNumber"}
    return tables.with_columns(columns | {"rlnGroupName": names[new]})


def _group_of_rows(tables: StarTables, groups: Table) -> np.ndarray:
    """For each row the index of its group in model_groups, (n,) int64."""
    table = tables.table()
    if "rlnGroupName" in table and "rlnGroupName" in groups:
        known = {name: i for i, name in enumerate(groups.strings("rlnGroupName"))}
        names, codes = factorise(table.strings("rlnGroupName"))
        found = np.array([known.get(name, -1) for name in names], np.int64)[codes]
    else:
        table.require("rlnGroupNumber", "the group of every particle", "give the _data.star of a classification")
        known = {number: i for i, number in enumerate(groups.integers("rlnGroupNumber").tolist())}
        numbers, codes = np.unique(table.integers("rlnGroupNumber"), return_inverse=True)
        found = np.array([known.get(number, -1) for number in numbers.tolist()], np.int64)[codes.ravel()]
    if (found < 0).any():
        label = "rlnGroupName" if "rlnGroupName" in table and "rlnGroupName" in groups else "rlnGroupNumber"
        raise table.bad_value(
            label, int(np.argmin(found)), f"a group of {groups.path}", "give the files of one iteration"
        )
    return found
