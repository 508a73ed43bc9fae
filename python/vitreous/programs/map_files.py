"""Maps as programs read and write them: checks with file and flag, and a job for programs whose --o is a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc
from vitreous.io.star import read_star
from vitreous.io.table import Table, beside
from vitreous.job.job import Job, command_line
from vitreous.programs.launch import describe
from vitreous.programs.option_text import record
from vitreous.programs.options import ProgramOptions

MAP_SUFFIXES = (".mrc", ".map", ".mrcs", ".rec", ".ccp4")


def read_map(path: str, flag: str, angpix: float | None = None) -> tuple[np.ndarray, float]:
    """A map whose voxels are numbers, and its pixel size.

    Parameters
    ----------
    path : MRC file
    flag : the option that named it, for messages
    angpix : pixel size that the user gave, A; None = the header's

    Returns
    -------
    (nz, ny, nx) float32
    float                            A; 0 where nobody knows

    Raises  InputError: no such file, or a voxel that is no number.
    """
    if not Path(path).exists():
        raise InputError(
            f"--{flag} {path}: is not there, expected an MRC file; check the name, which starts from the "
            "folder that the program runs in"
        )
    volume, header_A = read_mrc(path)
    n_bad = volume.size - int(np.count_nonzero(np.isfinite(volume)))
    if n_bad:
        raise InputError(
            f"--{flag} {path}: {n_bad} voxels are NaN or infinite, expected numbers; replace them with "
            "vitreous image-handler --remove_nan"
        )
    return volume, float(angpix or header_A)


def maps_of_star(path: str, flag: str) -> tuple[Table, list[str]]:
    """The classes of a model.star, or of any table with rlnReferenceImage, and the files of their maps.

    Raises  InputError: no such column, or 2D classes.
    """
    tables = [Table(path, block) for block in read_star(path).values()]
    table = next((table for table in tables if "rlnReferenceImage" in table), None)
    if table is None:
        raise InputError(
            f"--{flag} {path}: found no column rlnReferenceImage, expected the classes of a 3D run; give a run_itNNN_model.star or a map"
        )
    names = [beside(Path(path), image) for image in table.strings("rlnReferenceImage")]
    if any("@" in name for name in names):
        raise InputError(f"--{flag} {path}: found 2D classes ({names[0]}), expected 3D maps; give a model.star of a 3D run")
    return table, names


def same_grid(path: str, flag: str, volume: np.ndarray, shape: tuple[int, ...], other: str) -> None:
    """Raise an InputError where a map has not the size of another one."""
    if volume.shape != shape:
        sizes = [" x ".join(map(str, s[::-1])) for s in (volume.shape, shape)]
        raise InputError(
            f"--{flag} {path}: is {sizes[0]} px, expected {sizes[1]} as {other}; bring it onto that grid "
            "with vitreous image-handler --rescale_angpix and --new_box"
        )


def output_name(name: str) -> str:
    """--o as the name of a map: .mrc is added where it ends in no known suffix."""
    return name if Path(name).suffix.lower() in MAP_SUFFIXES else f"{name}.mrc"


def open_map_job(options: ProgramOptions, root: str, comm: Any = None, **start: Any) -> Job:
    """A job for a program whose files begin with ``root``; see ``launch.open_job``. ``comm`` None is one process."""
    return Job(
        options.PROGRAM,
        root,
        rank=comm.rank if comm else 0,
        n_processes=comm.size if comm else 1,
        n_on_machine=comm.node_size if comm else 1,
        verb=getattr(options, "verb", 1),
        pipeline_control=getattr(options, "pipeline_control", None),
        record=record(options, command_line(), __version__),
        start={"version": __version__, "options": describe(options), **start},
    )
