"""One operation on a STAR file, with relion_star_handler's flags."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import select
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.star_tables import StarTables, read_tables
from vitreous.job.progress import Progress
from vitreous.programs import star_handler_operations as operations
from vitreous.programs.star_handler_images import discard_on_stats
from vitreous.programs.star_handler_options import Options
from vitreous.report.select import counts_figure, eps

__all__ = ["Options", "run"]

OPERATIONS = ("compare", "select", "select_by_str", "discard_on_stats", "combine", "split", "operate", "center",
              "remove_column", "add_column", "hist_column", "remove_duplicates")  # fmt: skip
# Options that only mean something with one of the operations
BELONGS_TO = {
    "select_include": "select_by_str", "select_exclude": "select_by_str", "check_duplicates": "combine",
    "nr_split": "split", "size_split": "split", "random_order": "split", "label1": "compare", "label2": "compare",
    "label3": "compare", "max_dist": "compare", "set_to": "operate", "multiply_by": "operate", "add_to": "operate",
    "operate2": "operate", "operate3": "operate", "add_column_value": "add_column", "copy_column_from": "add_column",
    "in_percent": "hist_column", "show_cumulative": "hist_column", "hist_bins": "hist_column",
    "hist_min": "hist_column", "hist_max": "hist_column", "image_angpix": "remove_duplicates",
    "center_X": "center", "center_Y": "center",
    "center_Z": "center", "minval": "select", "maxval": "select",
}  # fmt: skip


def run(options: Options, be: Any = None, comm: Any = None) -> list[Path]:
    """Do the operation; returns the files written. ``be`` and ``comm`` are those of every program and not needed "
    "here."""
    name = check(options)
    progress = Progress(options.verb)
    how = {"name": options.i_tablename or "", "ignore_optics": options.ignore_optics}
    if name == "combine":
        tables = operations.combine(_told(operations.read_many(options.star, **how), progress), progress)
        if options.check_duplicates:
            operations.tell_duplicates(tables, options.check_duplicates, progress)
        outputs = {options.output: tables}
    else:
        tables = _told([read_tables(options.star, **how)], progress)[0]
        if name == "hist_column":
            return [histogram(options, tables, progress)]
        outputs = result(options, name, tables, progress, how)
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    for path, part in outputs.items():
        part.write(path)
        progress.line(f" Written: {path} with {part.n_rows} item(s)")
        if not part.n_rows and name != "compare":
            progress.warning(f"{path}: no row is left, so the file holds no table of them")
    if name == "split" and Path(options.output).parent != Path():
        kind = "micrographs" if tables.main.name in ("micrographs", "movies") else "particles"
        operations.write_output_nodes(Path(options.output).parent, list(outputs), kind)
    return [Path(path) for path in outputs]


def check(options: Options) -> str:
    """The operation asked for, empty for none; raises InputError where it is not clear."""
    if options.star is None:
        raise InputError("--i: found nothing, expected a STAR file; give --i particles.star")
    asked = [name for name in OPERATIONS if getattr(options, name) not in (None, False)]
    if len(asked) > 1:
        raise InputError(
            f"found {' and '.join('--' + name for name in asked)}, expected one operation at a time; run "
            "star-handler once for each"
        )
    for name, operation in BELONGS_TO.items():
        if options.is_given(name) and operation not in asked:
            raise InputError(
                f"--{name}: found without --{operation}, expected with it; add --{operation}, or leave it out"
            )
    return asked[0] if asked else ""


def _told(files: list[StarTables], progress: Progress) -> list[StarTables]:
    for tables in files:
        for note in tables.notes:
            progress.warning(note)
    return files


def result(options: Options, name: str, tables: StarTables, progress: Progress, how: dict) -> dict[str, StarTables]:
    """File name -> tables of every operation but --combine and --hist_column."""
    out = options.output
    if name == "select":
        tables = operations.select_range(tables, options.select, options.minval, options.maxval)
    elif name == "select_by_str":
        tables = operations.select_text(tables, options.select_by_str, options.select_include, options.select_exclude)
    elif name == "discard_on_stats":
        tables = discard_on_stats(tables, options.discard_label, options.discard_sigma, progress)[0]
    elif name == "center":
        centre = (options.center_X, options.center_Y, options.center_Z)
        tables = operations.centre(tables, centre, options.angpix)
    elif name == "operate":
        labels = [label for label in (options.operate, options.operate2, options.operate3) if label]
        tables = operations.operate(tables, labels, options.set_to, options.multiply_by, options.add_to)
    elif name == "add_column":
        tables = operations.add_column(
            tables, options.add_column, options.add_column_value, options.copy_column_from, progress
        )
    elif name == "remove_column":
        tables = operations.remove_column(tables, options.remove_column)
    elif name == "remove_duplicates":
        kept, removed = operations.remove_duplicates(
            tables, options.remove_duplicates, options.image_angpix, options.angpix, progress
        )
        return {out: kept, operations.part_name(out, "_removed"): removed}
    elif name == "split":
        return split(options, tables, progress)
    elif name == "compare":
        return compare(options, tables, progress, how)
    return {out: tables}


def split(options: Options, tables: StarTables, progress: Progress) -> dict[str, StarTables]:
    """The parts that have rows, by name."""
    seed = None
    if options.random_order:
        seed = options.random_seed if options.random_seed is not None else secrets.randbelow(2**31)
        progress.line(f" + Random order with --random_seed {seed}")
    parts = operations.split(tables, options.nr_split, options.size_split, seed)
    empty = sum(part.n_rows == 0 for part in parts)
    if empty:
        progress.warning(
            f"--nr_split {options.nr_split}: {tables.n_rows} rows are too few: {empty} files would be empty and "
            "are not written"
        )
    left = tables.n_rows - sum(part.n_rows for part in parts)
    if left:
        progress.warning(
            f"--nr_split {options.nr_split} --size_split {options.size_split}: {left} rows are left over and in no file"
        )
    named = {operations.part_name(options.output, f"_split{i}"): part for i, part in enumerate(parts, 1)}
    return {name: part for name, part in named.items() if part.n_rows}


def compare(options: Options, tables: StarTables, progress: Progress, how: dict) -> dict[str, StarTables]:
    """The three files of a comparison."""
    labels = [label for label in (options.label1, options.label2, options.label3) if label]
    if options.label1 is None:
        raise InputError("--compare: found no --label1, expected the label to compare; give --label1 rlnImageName, say")
    second = _told([read_tables(options.compare, **how)], progress)[0]
    both, only1, only2 = operations.compare(tables, second, labels, options.max_dist)
    progress.line(f"{both.n_rows} entries occur in both input STAR files.")
    progress.line(f"{only1.n_rows} entries occur only in the 1st input STAR file.")
    progress.line(f"{only2.n_rows} entries occur only in the 2nd input STAR file.")
    names = [operations.part_name(options.output, word) for word in ("_both", "_only1", "_only2")]
    return dict(zip(names, (both, only1, only2)))


def histogram(options: Options, tables: StarTables, progress: Progress) -> Path:
    """Print the distribution of a column and draw it; returns the figure's file."""
    values = operations.numbers(tables, options.hist_column, "hist_column")
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        raise InputError(f"--hist_column {options.hist_column}: {tables.table().where()} has no number there, "
                         f"expected some; "
                         "give another label")  # fmt: skip
    edges, counts = select.histogram(values, options.hist_bins, options.hist_min, options.hist_max)
    q1, median, q3 = select.quartiles(values)
    progress.line(f"Number of items: {len(values)}")
    progress.line(f"Min: {values[0]:g} Q1: {q1:g} Median: {median:g} Q3: {q3:g} Max: {values[-1]:g}")
    progress.line(f"Mean: {values.mean():g} Std: {values.std():g}")
    progress.line(f"Bin size: {len(counts)} width: {edges[1] - edges[0]:g}")
    shown, unit = counts, "number of items"
    if options.in_percent or options.show_cumulative:
        total = counts if options.in_percent else np.cumsum(counts)
        shown, unit = 100 * total / len(values), "percent of items"
    ends = ["-INF", *(f"{edge:g}" for edge in edges), "+INF"]
    for i, value in enumerate(shown):
        progress.line(f"[{ends[i]}, {ends[i + 1]}{']' if i == len(shown) - 1 else ')'}: {value:g}")
    path = Path(options.output).with_suffix(".eps")
    with atomic_write(path) as file:
        file.write(eps(counts_figure(edges, shown, options.hist_column, unit)))
    progress.line(f" Done! written out {path}")
    return path
