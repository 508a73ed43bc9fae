"""Picks made in any viewer, in and out, as relion_manualpick leaves and takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io import coordinates_foreign as foreign
from vitreous.io.atomic import atomic_write
from vitreous.io.coordinates import (
    coordinate_path,
    read_coordinate_list,
    read_coordinates,
    write_coordinate_list,
    write_coordinates,
    write_suffix_file,
)
from vitreous.io.mrc import read_header
from vitreous.io.star import Block, write_star
from vitreous.io.star_tables import StarTables, read_tables
from vitreous.job.job import Job
from vitreous.programs import star_handler_operations as operations
from vitreous.programs.manual_pick_options import Options
from vitreous.programs.map_files import open_map_job
from vitreous.programs.option_text import value_rows
from vitreous.report.select import picks_report

__all__ = ["Options", "Result", "run"]

# What RELION gives a pick made by hand
OF_HAND = {"rlnAnglePsi": -999.0, "rlnAutopickFigureOfMerit": 0.0, "rlnClassNumber": 0}


@dataclass(frozen=True)
class Result:
    """Coordinate files and number of picks by micrograph, and the files written for other programs."""

    coordinates: dict[str, Path]
    counts: dict[str, int]
    exported: tuple[Path, ...] = ()

    @property
    def n_picks(self) -> int:
        return sum(self.counts.values())


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Import, export, and write the lists; ``be`` and ``comm`` are those of every program and not needed here."""
    check(options)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open_map_job(options, str(folder / options.pickname)) as job:
        tables = read_tables(options.micrographs)
        names = [str(name) for name in operations.require(tables, "rlnMicrographName", "i").tolist()]
        if options.imports:
            for row, picks in imported(options, names, job).items():
                write_coordinates(coordinate_path(options.folder, names[row], suffix(options)), picks)
        if options.coord_list:
            files = {name: Path(file) for name, file in read_coordinate_list(options.coord_list).items()}
        else:
            files = {name: coordinate_path(options.folder, name, suffix(options)) for name in names}
        files = {name: file for name, file in files.items() if file.exists()}
        if not files:
            raise InputError(
                f"--odir {options.folder}: has no picks of these {len(names)} micrographs, expected some; give "
                '--import "picks/*.box", or pick in a viewer that writes one of the formats of the documentation'
            )
        exported = export(options, files, job) if options.export else ()
        counts = {name: read_coordinates(file).n_rows for name, file in files.items()}
        result = Result(files, counts, exported)
        if not options.coord_list:
            write_lists(options, tables, result)
        finish(options, result, job)
    return result


def check(options: Options) -> None:
    """Refuse options that contradict each other or lack another."""
    if options.micrographs is None:
        raise InputError("--i: found nothing, expected a STAR file of micrographs; give --i micrographs_ctf.star")
    if options.export is not None and options.export not in foreign.EXPORTED:
        raise InputError(
            f"--export {options.export}: expected one of {', '.join(foreign.EXPORTED)}; coordinates in STAR files "
            "are always written"
        )
    if options.coord_list and (options.imports or not options.export):
        raise InputError(
            "--coord_list: found without --export, or with --import, expected with --export alone; add --export box"
        )
    if options.overwrite and options.append:
        raise InputError("--overwrite, --append: found both, expected one; leave one out")
    if not options.pickname or "/" in options.pickname:
        raise InputError(f"--pickname: found {options.pickname!r}, expected a word without a slash; give one")


def suffix(options: Options) -> str:
    """End of the coordinate files' names."""
    return f"_{options.pickname}.star"


def imported(options: Options, names: list[str], job: Job) -> dict[int, foreign.Picks]:
    """Row of the micrograph -> its picks, of all files of --import.

    Raises  InputError: nothing could be matched, most picks lie outside, or picks would be lost.
    """
    finder = foreign.MicrographFinder(names)
    found: dict[int, list[foreign.Picks]] = {}
    strangers: list[str] = []
    for file in operations.input_names(options.imports, "import"):
        for name, picks in foreign.read_picks(file).items():
            rows = finder.find(name or file)
            if len(rows) > 1:
                raise InputError(
                    f"{file}: {name or 'its name'} may belong to {names[rows[0]]} or {names[rows[1]]}, expected one "
                    "micrograph; name the micrographs differently, or import into one folder at a time"
                )
            if rows:
                found.setdefault(rows[0], []).append(picks)
            else:
                strangers.append(name or file)
    if not found:
        raise InputError(
            f"--import {options.imports}: {strangers[0]} belongs to none of the {len(names)} micrographs, expected "
            f"names "
            f"such as {Path(names[0]).stem if names else 'theirs'}; rename the files"
        )
    for name in strangers[:5]:
        job.warning(f"{name}: belongs to none of the {len(names)} micrographs and is left out")
    if len(strangers) > 5:
        job.warning(f"{len(strangers) - 5} more files or names belong to none of the micrographs")
    return cleaned(options, names, found, job)


def cleaned(options: Options, names: list[str], found: dict, job: Job) -> dict[int, foreign.Picks]:
    """Picks in px of the micrograph, complete, inside, and joined with those that are there."""
    out, n_all, n_outside = {}, 0, 0
    for row, several in sorted(found.items()):
        shape = shape_of(names[row], job)
        parts = []
        for picks in several:
            picks = placed(options, picks, shape, names[row])
            keep = foreign.usable(picks, shape)
            n_all, n_outside = n_all + len(keep), n_outside + int((~keep).sum())
            if not keep.all():
                job.warning(
                    f"{names[row]}: {int((~keep).sum())} of {len(keep)} picks lie outside or are no numbers, left out"
                )
            if options.minimum_pick_fom is not None and foreign.FOM in picks:
                keep &= np.asarray(picks[foreign.FOM]) >= options.minimum_pick_fom
            parts.append({label: np.asarray(column)[keep] for label, column in picks.items()})
        path = coordinate_path(options.folder, names[row], suffix(options))
        if path.exists() and not options.overwrite:
            old = read_coordinates(path)
            if not options.append and old.n_rows:
                raise InputError(f"{path}: has {old.n_rows} picks already, expected none; give --append or --overwrite")
            if old.n_rows:
                parts.insert(0, dict(old.columns))
        out[row] = joined(parts)
    if n_all and n_outside > n_all / 2:
        raise InputError(
            f"--import {options.imports}: {n_outside} of {n_all} picks lie outside of their micrographs, expected px "
            f"from "
            "the first pixel; give --coord_scale where they are in px of binned images, or check the micrographs"
        )
    return out


def placed(options: Options, picks: foreign.Picks, shape: tuple[int, int] | None, name: str) -> foreign.Picks:
    """Picks scaled, and turned over where y was counted from the other side."""
    picks = dict(picks)
    for label in (foreign.X, foreign.Y, foreign.Z):
        if label in picks:
            picks[label] = np.asarray(picks[label], np.float64) * options.coord_scale
    if options.flip_y:
        if shape is None:
            raise InputError(
                f"{name}: cannot be read, expected its height for --flip_y; run in the folder that its name starts from"
            )
        picks[foreign.Y] = shape[0] - 1 - picks[foreign.Y]
    return picks


def shape_of(name: str, job: Job) -> tuple[int, int] | None:
    """(ny, nx) of a micrograph; None, with a warning, where it cannot be read."""
    try:
        header = read_header(name)
    except InputError as error:
        job.warning(f"{error}; its picks are not checked")
        return None
    return header.ny, header.nx


def joined(parts: list[foreign.Picks]) -> foreign.Picks:
    """Picks one after the other, with the columns of a pick made by hand where a part lacks them."""
    labels = list(dict.fromkeys([foreign.X, foreign.Y, *(label for part in parts for label in part), *OF_HAND]))
    out = {}
    for label in labels:
        columns = []
        for part in parts:
            n = len(part[foreign.X])
            if label in part:
                columns.append(np.asarray(part[label]))
            elif any(np.asarray(other[label]).dtype == object for other in parts if label in other):
                columns.append(np.array(["None"] * n, object))
            else:
                columns.append(np.full(n, OF_HAND.get(label, 0)))
        out[label] = np.concatenate(columns)
    return out


def export(options: Options, files: dict[str, Path], job: Job) -> tuple[Path, ...]:
    """One file of picks for each micrograph, named after it."""
    written: dict[Path, str] = {}
    for name, file in files.items():
        block = read_coordinates(file)
        keep = np.ones(block.n_rows, bool)
        if options.minimum_pick_fom is not None and foreign.FOM in block:
            keep = block[foreign.FOM] >= options.minimum_pick_fom
        path = Path(options.folder) / (Path(name).stem + foreign.EXPORTED[options.export])
        if path in written:
            raise InputError(
                f"--export: {name} and {written[path]} have one name, expected different ones; export one folder of "
                "micrographs at a time"
            )
        foreign.write_picks(path, options.export, block[foreign.X][keep], block[foreign.Y][keep], options.box_size)
        written[path] = name
    job.progress.line(f" Exported {len(written)} files to {options.folder}")
    return tuple(written)


def write_lists(options: Options, tables: StarTables, result: Result) -> None:
    """Both kinds of lists of picks, the micrographs that have some, and which these are."""
    folder = Path(options.folder)
    with_picks = [name for name, n in result.counts.items() if n]
    write_coordinate_list(
        folder / f"{options.pickname}.star", with_picks, [str(result.coordinates[name]) for name in with_picks]
    )
    write_suffix_file(folder / f"coords_suffix_{options.pickname}.star", options.micrographs)
    names = [str(name) for name in tables.main["rlnMicrographName"].tolist()]
    selected = np.isin(np.array(names, object), with_picks)
    columns = {"rlnMicrographName": np.array(names, object), "rlnSelected": selected.astype(np.int64)}
    write_star(folder / "local_selection.star", [Block("", "loop", columns)])
    chosen = Path(options.selection or folder / "micrographs_selected.star")
    chosen.parent.mkdir(parents=True, exist_ok=True)
    tables.take(selected).write(chosen)


def finish(options: Options, result: Result, job: Job) -> None:
    """Words, the log and the report."""
    n_mics = sum(n > 0 for n in result.counts.values())
    job.progress.line(f" {result.n_picks} picks in {n_mics} micrographs")
    job.log.event(
        "picks", n_picks=result.n_picks, n_micrographs=n_mics, exported=[str(path) for path in result.exported]
    )
    rows = [row[1:] for row in value_rows(options) if row[2] is not None]
    with atomic_write(Path(options.folder) / "report.html") as file:
        file.write(picks_report(result.counts, rows).encode())
