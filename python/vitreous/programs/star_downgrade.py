"""STAR files of RELION 3.1 and later for programs that read those of 3.0: Warp, M, and old RELIONs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vitreous.errors import InputError
from vitreous.io.star import Block, read_star, write_star
from vitreous.io.star_tables import StarTables, model_to_30, pixel_sizes, read_tables, to_30
from vitreous.io.table import Table
from vitreous.job.progress import Progress
from vitreous.model.rotation import euler_to_matrix, matrix_to_euler
from vitreous.programs import star_handler_operations as operations
from vitreous.programs.options import Common, ProgramOptions, again, option

MODES = ("dynamo2m", "full30")
POSITIONS = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")


class Options(ProgramOptions):
    """An older dialect of a STAR file."""

    PROGRAM: ClassVar[str] = "star-downgrade"
    SUMMARY: ClassVar[str] = "a STAR file for Warp and M (seven columns), or as RELION 3.0 wrote it"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous star-downgrade --s run_it019_data.star --o run_rln3.0_data.star",
        "vitreous star-downgrade --i run_it025_data.star --mode full30",
    )

    star: str | None = option(
        None, "STAR file of particles or micrographs; with --mode full30 also a _model.star", group="input", flag="i",
        metavar="FILE", unset="required",
    )  # fmt: skip
    s: str | None = option(
        None, "the same as --i, as relion_star_downgrade calls it", group="input", metavar="FILE", unset="none"
    )
    output: str | None = option(
        None, "the result", group="output", flag="o", metavar="FILE", unset="<input>_rln3.0.star beside the input"
    )
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    mode: str = option(
        "dynamo2m", "dynamo2m: positions and angles alone, in seven columns; full30: all columns, as RELION 3.0 has "
                    "them",
        group="basic", metavar="MODE",
    )  # fmt: skip
    coord_angpix: float | None = option(
        None, "pixel size of the coordinates, by which origins are divided in dynamo2m", group="basic", unit="A",
        unset="rlnImagePixelSize", gt=0,
    )  # fmt: skip
    tomostar: bool = option(
        False, "with dynamo2m: names of tomograms end in .tomostar, as M looks for them", group="basic"
    )


def run(options: Options, be: Any = None, comm: Any = None) -> Path:
    """Write the older file; returns its name. ``be`` and ``comm`` are those of every program and not needed here."""
    name = options.star or options.s
    if name is None:
        raise InputError("--i: found nothing, expected a STAR file; give --i run_data.star")
    if options.star and options.s:
        raise InputError(f"--s {options.s}: found with --i {options.star}, expected one of them; leave one out")
    if options.mode not in MODES:
        raise InputError(f"--mode {options.mode}: expected {' or '.join(MODES)}; give one of them")
    progress = Progress(options.verb)
    path = Path(options.output or Path(name).with_name(f"{Path(name).stem}_rln3.0.star"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.mode == "full30" and "model_general" in (star := read_star(name)):
        write_star(path, model_to_30(star), allow_nan=True)
        progress.line(f" Written: {path} with {len(star)} tables")
        return path
    tables = read_tables(name, convert=False)
    older = to_30(tables) if options.mode == "full30" else seven_columns(tables, options, progress)
    older.write(path)
    progress.line(f" Written: {path} with {older.n_rows} item(s)")
    return path


def seven_columns(tables: StarTables, options: Options, progress: Progress) -> StarTables:
    """Micrograph, position with the origin taken in, and angles: what Warp and M need.

    Where subtomograms have angles of their own, these turn origins and are joined with the particles' angles.
    """
    table = tables.table()
    name = "rlnMicrographName" if "rlnMicrographName" in table else "rlnTomoName"
    table.require(name, "the micrograph or tomogram of every particle", "add the column")
    for label in POSITIONS:
        to_do = "give --mode full30 for particles without depth, or a file of subtomograms"
        table.require(label, "the position of every particle in px", to_do)
    pixel_A = _coordinate_pixel_A(tables, options.coord_angpix, progress)
    origins_A = operations.origins_A(tables, 3)
    euler = np.column_stack([table.numbers(label, 0.0) for label in operations.EULER])
    if operations.SUBTOMOGRAM_EULER[0] in tables.main:
        frames = operations.subtomogram_matrices(tables)
        origins_A = np.einsum("nij,nj->ni", frames, origins_A)
        euler = matrix_to_euler(frames @ euler_to_matrix(euler))
    columns = {"rlnMicrographName": _names(tables.main[name], options.tomostar)}
    for i, label in enumerate(POSITIONS):
        columns[label] = table.numbers(label) - origins_A[:, i] / pixel_A
    columns |= dict(zip(operations.EULER, euler.T))
    return StarTables(tables.path, None, Block("", "loop", columns, version=None))


def _names(column: np.ndarray, tomostar: bool) -> np.ndarray:
    names = [str(name) for name in column.tolist()]
    if tomostar:
        names = [str(Path(name).with_suffix(".tomostar")) if Path(name).suffix in (".mrc", ".tomostar", ".st")
                 else f"{name}.tomostar" for name in names]  # fmt: skip
    return np.array(names, object)


def _coordinate_pixel_A(tables: StarTables, given_A: float | None, progress: Progress) -> np.ndarray:
    """Pixel size that turns origins into coordinates, one or (n,); a warning where another one seems right."""
    if given_A is not None:
        return np.array(given_A)
    pixel_A = pixel_sizes(tables, ("rlnImagePixelSize",))
    if pixel_A is None and not any(label in tables.main for label in operations.ORIGINS):
        return np.array(1.0)  # nothing to divide
    if pixel_A is None:
        raise InputError(f"{tables.path}: has no rlnImagePixelSize in data_optics, expected it to bring origins from "
                         f"A to "
                         "px; give --coord_angpix")  # fmt: skip
    for label in ("rlnTomoTiltSeriesPixelSize", "rlnMicrographPixelSize"):
        if tables.optics is not None and label in tables.optics:
            other_A = Table(tables.path, tables.optics).numbers(label)
            if not np.allclose(other_A, Table(tables.path, tables.optics).numbers("rlnImagePixelSize"), rtol=1e-4):
                progress.warning(
                    f"{tables.path}: images have {pixel_A[0]:g} A/px and {label} is {other_A[0]:g} A: if the "
                    f"coordinates are in px of the latter, give --coord_angpix {other_A[0]:g}"
                )
            break
    return pixel_A
