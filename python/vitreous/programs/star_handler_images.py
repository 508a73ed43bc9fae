"""Mean and standard deviation of every image that a STAR file lists, read once and a few at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from vitreous.engine import select
from vitreous.errors import InputError
from vitreous.io.mrc import StackReader
from vitreous.io.star_tables import StarTables
from vitreous.io.table import factorise
from vitreous.programs.star_handler_operations import texts

BYTES_AT_ONCE = 64 << 20


def image_statistics(tables: StarTables, label: str, progress: Any, ask=lambda: None) -> tuple[np.ndarray, list[str]]:
    """Statistics of the images of a column, whole micrographs or ``000001@stack`` alike.

    Parameters
    ----------
    ask : called after every file; raises where a stop is asked for

    Returns
    -------
    (n, 2) float64                          mean and population standard deviation; NaN where an image cannot be used
    list                                    a line for each file that cannot be read or that holds such images
    """
    names = texts(tables, label, "discard_label")
    sections, at, stacks = zip(*(name.rpartition("@") for name in names)) if names else ((), (), ())
    files, file_of = factorise(list(stacks))
    found = np.full((len(names), 2), np.nan)
    bad: list[str] = []
    order = np.argsort(file_of, kind="stable")
    pieces = np.split(order, np.flatnonzero(np.diff(file_of[order])) + 1) if names else []
    with progress.bar("Calculating average and stddev for all images ...", len(names), "images") as bar:
        for rows in pieces:
            file = files[file_of[rows[0]]]
            try:
                wanted = [int(sections[row]) if at[row] else 1 for row in rows.tolist()]
                with StackReader(file) as reader:
                    _file_statistics(reader, np.array(wanted), rows, found, bad)
            except (InputError, ValueError) as error:
                bad.append(str(error))
            bar.advance(len(rows))
            ask()
    return found, bad


def _file_statistics(reader: StackReader, wanted, rows, found, bad: list[str]) -> None:
    there = (wanted >= 1) & (wanted <= reader.n_readable)
    if not there.all():
        bad.append(f"{reader.path}: {int((~there).sum())} images are not in the file, which holds {reader.n_readable}")
    rows, wanted = rows[there], wanted[there]
    step = max(1, BYTES_AT_ONCE // (4 * reader.header.nx * reader.header.ny))
    n_not_finite = 0
    for begin in range(0, len(rows), step):
        images = reader.read(wanted[begin : begin + step])
        with np.errstate(invalid="ignore"):
            mean, spread = images.mean(axis=(1, 2), dtype=np.float64), images.std(axis=(1, 2), dtype=np.float64)
        found[rows[begin : begin + step]] = np.column_stack([mean, spread])
        n_not_finite += int((~np.isfinite(mean)).sum())
    if n_not_finite:
        bad.append(f"{reader.path}: {n_not_finite} images hold NaN or infinity")


def discard_on_stats(
    tables: StarTables, label: str, n_sigma: float, progress: Any, ask=lambda: None
) -> tuple[StarTables, np.ndarray, np.ndarray]:
    """The rows whose images are like the others, the mask of those discarded, and the statistics; ``ask`` as above.

    Raises  InputError: no image could be read.
    """
    values, bad = image_statistics(tables, label, progress, ask)
    for line in bad[:10]:
        progress.warning(f"{line}: left out")
    if tables.n_rows and not np.isfinite(values).any():
        raise InputError(
            f"{tables.path}: none of its images can be read ({bad[0] if bad else 'none is listed'}), expected "
            "images; run in the folder that the names start from"
        )
    out, ensemble = select.outliers(values, n_sigma)
    for name, (mean, spread) in zip(("average", "stddev "), ensemble):
        progress.line(f" [ Average , stddev ] of the {name} Image value = [ {mean:g} , {spread:g} ] ")
    progress.line(f" Discarded {int(out.sum())} Images because of too large or too small average/stddev values ")
    return tables.take(~out), out, values
