"""Coordinates of particles in micrographs: one STAR file per micrograph, and the two kinds of lists that lead to them.

Positions are in pixels of the micrograph from its first pixel, which is 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.star import Block, read_star, write_star

JOB = re.compile(r"job\d{3,}")
SUFFIX_FILE = "coords_suffix_"  # how the names of RELION 3's lists begin


def post_path(name: str) -> str:
    """A micrograph's name without the job that made it: MotionCorr/job002/Movies/x.mrc -> Movies/x.mrc.

    Names without a jobNNN component stay whole; an absolute name loses its root, so that outputs stay in their folder.
    """
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    i_job = next((i for i, part in enumerate(parts) if JOB.match(part)), -1)
    return "/".join(parts[i_job + 1 :] or parts)


def coordinate_path(folder: str, micrograph: str, suffix: str) -> Path:
    """Where a micrograph's coordinates are: folder / its path without job and extension + suffix.

    Parameters
    ----------
    suffix : e.g. "_autopick.star"
    """
    return Path(folder) / (str(Path(post_path(micrograph)).with_suffix("")) + suffix)


def write_coordinates(path, columns: dict[str, np.ndarray]) -> None:
    """Write the coordinates of one micrograph; of none, an empty file, as RELION does.

    Parameters
    ----------
    columns : label -> (n,) values, in the order of the file; the folder is made
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(next(iter(columns.values()))):
        write_star(path, [Block("", columns=dict(columns))])
        return
    with atomic_write(path):
        pass


def read_coordinates(path) -> Block:
    """Coordinates of one micrograph; an empty file is a table without rows.

    Raises  InputError: no such file, or no columns rlnCoordinateX and rlnCoordinateY.
    """
    try:
        empty = Path(path).stat().st_size == 0
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected coordinates; check the name") from None
    if empty:
        return Block("", columns={"rlnCoordinateX": np.zeros(0), "rlnCoordinateY": np.zeros(0)})
    blocks = read_star(path)
    block = next((b for b in blocks.values() if "rlnCoordinateX" in b), next(iter(blocks.values())))
    for label in ("rlnCoordinateX", "rlnCoordinateY"):
        block[label]  # an InputError that names the nearest column
    return block


def write_coordinate_list(path, micrographs: Sequence[str], files: Sequence[str]) -> None:
    """The list of RELION 4 and newer: each micrograph and its coordinate file; an empty file where there are none."""
    columns = {"rlnMicrographName": list(micrographs), "rlnMicrographCoordinates": [str(f) for f in files]}
    if micrographs:
        write_star(path, [Block("coordinate_files", columns=columns)])
        return
    with atomic_write(path):
        pass


def write_suffix_file(path, micrographs_star: str) -> None:
    """The list of RELION 3: one line with the micrographs' STAR file; the name of the file tells the suffix."""
    with atomic_write(path) as file:
        file.write(f"{micrographs_star}\n".encode())


def read_coordinate_list(path) -> dict[str, str]:
    """Micrograph -> coordinate file, from a list of either kind.

    Parameters
    ----------
    path : ``autopick.star`` with the block coordinate_files, or ``coords_suffix_autopick.star`` with the name of the
        micrographs' STAR file; of the latter's micrographs, those whose coordinate file exists

    Raises  InputError: no list.
    """
    path = Path(path)
    if path.name.startswith(SUFFIX_FILE):
        return _from_suffix_file(path)
    if path.exists() and path.stat().st_size == 0:
        return {}
    blocks = read_star(path)
    block = blocks.first("coordinate_files")
    return dict(zip(block["rlnMicrographName"].tolist(), block["rlnMicrographCoordinates"].tolist()))


def _from_suffix_file(path: Path) -> dict[str, str]:
    try:
        star = path.read_text().strip()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected one line; check the name") from None
    if not Path(star).is_file():
        raise InputError(
            f"{path}: names {star!r}, expected the micrographs' STAR file, seen from this folder; run in the "
            "project's folder"
        )
    suffix = "_" + path.name.removeprefix(SUFFIX_FILE)
    names = read_star(star).first("micrographs", "")["rlnMicrographName"].tolist()
    found = {name: coordinate_path(str(path.parent), name, suffix) for name in names}
    return {name: str(file) for name, file in found.items() if file.exists()}
