"""Which particles and micrographs go on: by class, value, micrograph, image statistics or distance; split, "
"regrouped."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.coordinates import SUFFIX_FILE, post_path
from vitreous.io.star import Block, read_star, write_star
from vitreous.io.star_tables import StarTables, read_tables
from vitreous.job.job import Job
from vitreous.programs import select_classes as by_class
from vitreous.programs import star_handler_operations as operations
from vitreous.programs.map_files import open_map_job
from vitreous.programs.option_text import value_rows
from vitreous.programs.select_options import Options
from vitreous.programs.select_scores import scored, write_ranked
from vitreous.programs.star_handler_images import discard_on_stats
from vitreous.report.select import select_report

__all__ = ["Options", "Result", "run"]

MICROGRAPH_TABLES = ("micrographs", "movies")
WITH_SELECT = ("minval", "maxval")
WITH_SCORE = ("select_min_nr_particles", "select_min_nr_classes")
CLASS_OPTIONS = (*by_class.CRITERIA, "recenter", "max_nr_parts_per_class", "sort")
ROW_OPTIONS = ("select", "select_by_str", "mics", "discard_on_stats", "remove_duplicates", "split", "regroup")


@dataclass
class Result:
    """What was selected, and where it is.

    Attributes
    ----------
    kind : particles or micrographs
    n_before, n_after : rows
    files : what was written, in order
    steps : (what was done, rows left) in order
    chosen : (n_classes,) bool, None where no class was chosen
    scores : of the classes, with --auto_select
    """

    kind: str
    n_before: int
    n_after: int = 0
    files: list[Path] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)
    chosen: np.ndarray | None = None
    scores: Any = None
    run: Any = None
    centres_px: np.ndarray | None = None


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Select and write; ``be`` and ``comm`` are those of every program and not needed here."""
    began = time.monotonic()
    folder = check(options)
    folder.mkdir(parents=True, exist_ok=True)
    with open_map_job(options, str(folder / "select")) as job:
        result = select(options, folder, job)
        for path in result.files:
            job.progress.line(f" Written: {path}")
        job.progress.line(f" Selected {result.n_after} of {result.n_before} {result.kind}")
        job.log.event(
            "selected",
            of=result.kind,
            n_before=result.n_before,
            n_after=result.n_after,
            files=[str(path) for path in result.files],
        )
        write_report(options, result, folder, time.monotonic() - began)
    return result


def check(options: Options) -> Path:
    """The folder of the results; raises InputError where options do not go together."""
    if options.star is None:
        raise InputError("--i: found nothing, expected a STAR file; give --i run_it025_model.star, say")
    named = options.output or (options.fn_parts and os.path.dirname(options.fn_parts))
    if not named:
        raise InputError("--o: found nothing, expected a folder; give --o Select/job009/")
    if options.output and Path(options.output).suffix == ".star":
        raise InputError(
            f"--o {options.output}: found the name of a file, expected a folder; give --fn_parts "
            f"{options.output} for the particles"
        )
    for name in WITH_SCORE:
        if options.is_given(name) and not options.auto_select and options.min_score is None:
            raise InputError(f"--{name}: found without a score, expected with one; add --auto_select")
        if options.is_given(name) and options.best_classes is not None:
            raise InputError(f"--{name}: found with --best_classes, which takes classes away again, expected one of them; leave one out")
    for name in WITH_SELECT:
        if options.is_given(name) and options.select is None:
            raise InputError(f"--{name}: found without --select, expected with it; give --select and a label")
    if (options.nr_split or options.size_split or options.random_order) and not options.split:
        raise InputError("--nr_split, --size_split and --random_order: found without --split; add --split")
    return Path(named)


def select(options: Options, folder: Path, job: Job) -> Result:
    """All steps in the order of the documentation, and their files."""
    path = options.star
    if Path(path).name.startswith(SUFFIX_FILE):  # RELION 3's list of picks: one line that names the micrographs
        path = Path(path).read_text().strip()
    classes_wanted = any(getattr(options, name) not in (None, False) for name in CLASS_OPTIONS)
    star = read_star(path, blocks=("model_classes", "optimiser_general"))
    of_class = "model_classes" in star or "optimiser_general" in star
    found = by_class.read_classification(path) if of_class or classes_wanted or options.regroup else None
    if classes_wanted and found is None:
        return only_numbers(options, folder, job, path)
    tables = found.particles if found is not None else read_tables(path)
    for note in tables.notes:
        job.warning(note)
    kind = "micrographs" if tables.main.name in MICROGRAPH_TABLES else "particles"
    result = Result(kind, tables.n_rows, run=found)
    if found is not None and (of_class or classes_wanted):
        by_rows = any(getattr(options, name) not in (None, False) for name in ROW_OPTIONS)
        backup = folder / "backup_selection.star"
        if classes_wanted or options.selection or backup.exists() or not by_rows:
            tables = take_classes(options, found, folder, result, job)
    elif not any(getattr(options, name) not in (None, False) for name in ROW_OPTIONS):
        tables = saved_micrographs(options, tables, folder, result)
    tables = take_rows(options, tables, folder, result, job)
    if options.regroup:
        tables = by_class.regroup(tables, found and found.model, found and found.star, options.regroup)
        n_groups = len(set(tables.main["rlnGroupName"].tolist()))
        result.steps.append((f"regrouped into {n_groups} groups", tables.n_rows))
    if not tables.n_rows:
        raise InputError(
            f"{path}: no {kind} are left ({'; '.join(f'{what}: {n}' for what, n in result.steps)}), expected "
            "some; widen the criteria"
        )
    write_rows(options, tables, folder, result, job)
    return result


def only_numbers(options: Options, folder: Path, job: Job, path: str) -> Result:
    """Classes of a particle file whose model is not at hand: by their numbers alone."""
    tables = read_tables(path)
    if options.classes is None or options.recenter or options.sort:
        raise InputError(
            f"--i {path}: there is no _model.star beside it, expected one for this choice of classes; give the "
            "_model.star, or choose with --classes"
        )
    numbers = tables.table()
    numbers.require("rlnClassNumber", "the class of every particle", "give the _data.star of a classification")
    numbers = numbers.integers("rlnClassNumber")
    chosen = by_class.numbers_of(options.classes, "classes", int(numbers.max(initial=1)), "class numbers")
    if options.invert_selection:
        chosen = sorted(set(np.unique(numbers).tolist()) - set(chosen))
    result = Result("particles", tables.n_rows)
    tables = tables.take(by_class.select.rows_of_classes(numbers, chosen, options.max_nr_parts_per_class))
    result.steps.append((f"in {len(chosen)} classes", tables.n_rows))
    tables = take_rows(options, tables, folder, result, job)
    write_rows(options, tables, folder, result, job)
    return result


def take_classes(options: Options, found: by_class.Classification, folder: Path, result: Result, job: Job) -> StarTables:
    """The particles of the chosen classes; writes class_averages.star and backup_selection.star."""
    if options.auto_select:
        found, result.scores = scored(found, options.star, job)
        result.run = found
        result.files += write_ranked(found, folder / options.fn_root, options.star)
    chosen = by_class.choose(options, found, folder / "backup_selection.star")
    result.chosen = chosen
    if not chosen.any():
        best = f" (the best score is {result.scores.score.max():.2f})" if options.auto_select else ""
        raise InputError(
            f"{found.model}: no class is chosen{best}, expected at least one of {found.n_classes}; widen the criteria"
        )
    if by_class.is_2d(found):
        path = Path(options.fn_imgs or folder / "class_averages.star")
        path.parent.mkdir(parents=True, exist_ok=True)
        written, result.centres_px = by_class.write_averages(options, found, chosen, path)
        result.files.append(written)
    elif options.recenter:
        raise InputError(f"--recenter: {found.model} has maps, expected class averages; leave --recenter out")
    write_selection(folder / "backup_selection.star", chosen)
    numbers = found.particles.table().integers("rlnClassNumber", 1)
    order = by_class.display_order(options, found, chosen)
    rows = by_class.select.rows_of_classes(numbers, order, options.max_nr_parts_per_class)
    result.steps.append((f"in {int(chosen.sum())} of {found.n_classes} classes", len(rows)))
    return found.particles.take(rows)


def saved_micrographs(options: Options, tables: StarTables, folder: Path, result: Result) -> StarTables:
    """Micrographs that a saved selection names."""
    path = options.selection or str(folder / "backup_selection.star")
    if result.kind != "micrographs" or (options.selection is None and not Path(path).exists()):
        raise InputError(
            f"--i {options.star}: found no criterion, expected which rows to take; give --mics 1-5,8, or "
            "--select rlnCtfMaxResolution --maxval 6, say"
        )
    selected = by_class.read_selection(path, tables.n_rows, "micrographs")
    return _with_micrographs(tables, ~selected if options.invert_selection else selected, folder, result)


def _with_micrographs(tables: StarTables, selected: np.ndarray, folder: Path, result: Result) -> StarTables:
    if result.kind == "micrographs":
        write_selection(folder / "backup_selection.star", selected)
    result.steps.append(("of the chosen micrographs", int(selected.sum())))
    return tables.take(selected)


def write_selection(path: Path, selected: np.ndarray) -> None:
    """backup_selection.star: rlnSelected of every item in the order of the input."""
    write_star(path, [Block("", "loop", {"rlnSelected": selected.astype(np.int64)})])


def take_rows(options: Options, tables: StarTables, folder: Path, result: Result, job: Job) -> StarTables:
    """Rows by value, text, micrograph, image statistics and distance, in this order."""
    if options.select is not None:
        tables = operations.select_range(tables, options.select, options.minval, options.maxval)
        result.steps.append((f"{options.select} from {options.minval:g} to {options.maxval:g}", tables.n_rows))
    if options.select_by_str is not None:
        tables = operations.select_text(tables, options.select_by_str, options.select_include, options.select_exclude)
        result.steps.append((f"by text in {options.select_by_str}", tables.n_rows))
    if options.mics is not None:
        tables = _with_micrographs(tables, chosen_micrographs(options, tables), folder, result)
    if options.discard_on_stats:
        tables, out, _ = discard_on_stats(
            tables, options.discard_label, options.discard_sigma, job.progress, job.check_abort
        )
        result.steps.append((f"image statistics within {options.discard_sigma:g} sigma", tables.n_rows))
        job.log.event("discarded", n=int(out.sum()))
    if options.remove_duplicates is not None:
        tables, removed = operations.remove_duplicates(
            tables, options.remove_duplicates, options.image_angpix, 1.0, job.progress
        )
        name = operations.part_name(str(options.fn_parts or folder / "particles.star"), "_removed")
        removed.write(name)
        result.files.append(Path(name))
        result.steps.append((f"no two within {options.remove_duplicates:g} A", tables.n_rows))
    return tables


def chosen_micrographs(options: Options, tables: StarTables) -> np.ndarray:
    """Rows whose micrograph is listed, (n,) bool."""
    names = [str(name) for name in operations.require(tables, "rlnMicrographName", "mics").tolist()]
    if not Path(options.mics).is_file():
        rows = by_class.numbers_of(options.mics, "mics", tables.n_rows, "row numbers")
        selected = np.isin(1 + np.arange(tables.n_rows), rows)
    else:
        wanted = {post_path(name) for name in micrograph_names(options.mics)}
        selected = np.array([post_path(name) in wanted for name in names], bool)
        if not selected.any():
            raise InputError(
                f"--mics {options.mics}: none of its {len(wanted)} micrographs is in {tables.path}, expected "
                f"names such as {names[0] if names else 'those there'}; check the list"
            )
    return ~selected if options.invert_selection and result_is_rows(options) else selected


def result_is_rows(options: Options) -> bool:
    """Whether --invert_selection is about micrographs, as no class is chosen."""
    return not any(getattr(options, name) not in (None, False) for name in by_class.CRITERIA)


def micrograph_names(path: str) -> list[str]:
    """rlnMicrographName of a STAR file, or the first words of a text file's lines."""
    if Path(path).suffix != ".star":
        lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    tables = read_tables(path)
    return [str(name) for name in operations.require(tables, "rlnMicrographName", "mics").tolist()]


def write_rows(options: Options, tables: StarTables, folder: Path, result: Result, job: Job) -> None:
    """The file of the rows, or its parts; of micrographs under both names that RELION uses."""
    result.n_after = tables.n_rows
    if result.kind == "micrographs":
        names = [Path(options.fn_imgs or folder / "micrographs.star"), folder / "micrographs_selected.star"]
    else:
        names = [Path(options.fn_parts or folder / "particles.star")]
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
    if not options.split:
        for name in names:
            tables.write(name)
            result.files.append(name)
        return
    seed = None
    if options.random_order:
        seed = options.random_seed if options.random_seed is not None else secrets.randbelow(2**31)
        job.progress.line(f" + Random order with --random_seed {seed}")
    parts = [part for part in operations.split(tables, options.nr_split, options.size_split, seed) if part.n_rows]
    written = [operations.part_name(str(names[0]), f"_split{i}") for i in range(1, len(parts) + 1)]
    for name, part in zip(written, parts):
        part.write(name)
    result.n_after = sum(part.n_rows for part in parts)
    result.steps.append((f"in {len(parts)} files", result.n_after))
    result.files += map(Path, written)
    operations.write_output_nodes(folder, written, result.kind)


def write_report(options: Options, result: Result, folder: Path, seconds: float) -> None:
    """report.html of the selection."""
    images, numbers, counts, pixel_A = None, None, None, 0.0
    if result.chosen is not None and by_class.is_2d(result.run):
        rows = np.arange(result.run.n_classes)
        images, pixel_A = by_class.read_images(result.run, rows)
        numbers, counts = rows + 1, result.run.n_particles
    rows = [row[1:] for row in value_rows(options) if row[2] is not None]
    rows += [("version", __version__, "", ""), ("time", f"{seconds:.1f}", "s", "")]
    html = select_report(
        result.kind, result.n_before, result.steps, rows, images, numbers, counts, result.chosen, pixel_A, result.scores
    )
    with atomic_write(folder / "report.html") as file:
        file.write(html.encode())
