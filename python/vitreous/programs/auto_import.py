"""What an automatic run begins with, brought into its project: a table whose files can be reached from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import read_header
from vitreous.io.particles import find_root
from vitreous.io.star_tables import StarTables, pixel_sizes, read_tables

MICROGRAPHS, PARTICLES = "micrographs", "particles"
CTF = "rlnDefocusU"


def bring_in(path: str, started_in: str, folder: str) -> tuple[dict[str, Any], str]:
    """Write the table into the project and tell what it holds.

    Parameters
    ----------
    path : absolute, of micrographs or particles
    started_in : folder that names of files may start from, besides those above the STAR file
    folder : of the job, in the project

    Returns
    -------
    facts, one line
    """
    tables = read_tables(path)
    kind = kind_of(tables, path)
    label = "rlnMicrographName" if kind == MICROGRAPHS else "rlnImageName"
    table = tables.table()
    table.require(label, "the files", f"give a table of {kind}")
    names = [str(name) for name in table.strings(label)]
    if not names:
        raise InputError(f"--i {path}: has no rows, expected {kind}; give a table that has some")
    files = list(dict.fromkeys(name.rpartition("@")[2] for name in names))
    reached = reachable(path, started_in, folder, files)
    named = np.array([with_file(name, reached) for name in names], object)
    out = f"{folder}/{kind}.star"
    tables.with_columns(tables.main.columns | {label: named}).write(out)
    header = read_header(reached[files[0]])
    pixel = pixel_size_A(tables, path, kind)
    facts = {"kind": kind, kind: out, f"n_{kind}": len(names), "has_ctf": CTF in table, "pixel_A": pixel}
    if kind == MICROGRAPHS:
        facts |= {"micrograph_pixel_A": pixel, "micrograph_px": [header.nx, header.ny]}
        if CTF not in table:
            raise InputError(f"--i {path}: has no {CTF}, expected the CTF of the micrographs; give micrographs_ctf.star, or "
                             "make one with vitreous import")  # fmt: skip
    else:
        facts |= {"box": header.nx}
    size = f"{header.nx} x {header.ny} px of {pixel:.4g} A"
    return facts, f"{len(names)} {kind} of {size}{'' if CTF in table else ', without CTF'}"


def kind_of(tables: StarTables, path: str) -> str:
    """Whether a table is of micrographs or of particles."""
    if tables.main.name == MICROGRAPHS or ("rlnMicrographName" in tables.main and "rlnImageName" not in tables.main):
        return MICROGRAPHS
    if "rlnImageName" in tables.main:
        return PARTICLES
    raise InputError(
        f"--i {path}: has neither rlnMicrographName nor rlnImageName, expected micrographs or particles; give "
        "micrographs_ctf.star or particles.star"
    )


def pixel_size_A(tables: StarTables, path: str, kind: str) -> float:
    """The pixel of the micrographs or of the particles' images, A."""
    labels = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize") if kind == MICROGRAPHS else ("rlnImagePixelSize",)
    sizes = pixel_sizes(tables, labels)
    if sizes is None or not (sizes > 0).all():
        raise InputError(f"--i {path}: has no {labels[0]}, expected it in data_optics; add it")
    if np.ptp(sizes) > 0.01 * sizes.min():
        raise InputError(
            f"--i {path}: has pixels of {sizes.min():g} to {sizes.max():g} A, expected one size; run each optics group by itself"
        )
    return float(sizes[0])


def reachable(path: str, started_in: str, folder: str, files: list[str]) -> dict[str, str]:
    """File -> its name from the project, through a link in the job's folder where the table has a name that is not absolute."""
    here = [f"{started_in}/{file}" for file in files]
    root = Path(started_in) if Path(here[0]).exists() else find_root(path, files)
    found = {}
    for file in files:
        if Path(file).is_absolute():
            found[file] = file
            continue
        parts = [part for part in Path(file).parts if part != ".."]
        link = Path(folder) / parts[0]
        if not link.is_symlink():
            first = Path(file).parts[: len(Path(file).parts) - len(parts) + 1]
            link.symlink_to(root.absolute().joinpath(*first))
        found[file] = str(Path(folder).joinpath(*parts))
    return found


def with_file(name: str, reached: dict[str, str]) -> str:
    """A name of an image with its file as it is reached."""
    number, at, file = name.rpartition("@")
    return f"{number}{at}{reached[file]}"


