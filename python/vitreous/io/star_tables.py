"""A STAR file as its optics groups, the one table that programs work on, and whatever else is in it.

Here RELION 3.0's dialect, with optics in every row and origins in px, becomes that of 3.1 and later, and back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import read_header
from vitreous.io.optics_star import group_indices, old_optics
from vitreous.io.particles import QUARANTINE
from vitreous.io.star import VERSION, Block, StarFile, read_star, write_star
from vitreous.io.table import Table, exists

MAIN = ("particles", "micrographs", "movies", "tilt_images")  # where RELION looks for the rows
# Labels whose unit changed from px to A with RELION 3.1
PX_TO_A = {
    "rlnOriginX": "rlnOriginXAngst",
    "rlnOriginY": "rlnOriginYAngst",
    "rlnOriginZ": "rlnOriginZAngst",
    "rlnOriginXPrior": "rlnOriginXPriorAngst",
    "rlnOriginYPrior": "rlnOriginYPriorAngst",
    "rlnOriginZPrior": "rlnOriginZPriorAngst",
    "rlnHelicalTrackLength": "rlnHelicalTrackLengthAngst",
}
MODEL_PX_TO_A = {
    "rlnAccuracyTranslations": "rlnAccuracyTranslationsAngst",
    "rlnSigmaOffsets": "rlnSigmaOffsetsAngst",
}
OPTICS_ORDER = ("rlnOpticsGroup", "rlnOpticsGroupName", "rlnAmplitudeContrast", "rlnBeamTiltX", "rlnBeamTiltY",
                "rlnSphericalAberration", "rlnVoltage", "rlnImagePixelSize")  # fmt: skip
# What RELION 3.0 has no optics table for: the columns that move into the rows
OPTICS_TO_ROWS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnBeamTiltX", "rlnBeamTiltY")
PIXEL_LABELS = ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize",
                "rlnTomoTiltSeriesPixelSize")  # fmt: skip


@dataclass(frozen=True)
class StarTables:
    """Optics groups, rows, and the other blocks of a file.

    Attributes
    ----------
    path : the file
    optics : data_optics, or None
    main : the table of particles, micrographs, movies or coordinates
    others : further blocks, in order; lists such as ``general`` come first when written
    notes : what was changed while reading
    """

    path: str
    optics: Block | None
    main: Block
    others: tuple[Block, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def n_rows(self) -> int:
        return self.main.n_rows

    def take(self, rows) -> StarTables:
        """The same file with the rows of ``rows`` (integers or a mask) in the main table.

        The list of particles that a run left out goes, as it counts rows; what is wrong with them is found again.
        """
        return replace(self, main=self.main.take(rows), others=without_row_numbers(self.others))

    def with_columns(self, columns: dict) -> StarTables:
        """The same file with other columns in the main table."""
        return replace(self, main=replace(self.main, columns=columns))

    def table(self) -> Table:
        return Table(self.path, self.main)

    def optics_index(self) -> np.ndarray:
        """For each row the index of its optics group, (n,) int32."""
        if self.optics is None:
            return np.zeros(self.n_rows, np.int32)
        return group_indices(self.table(), Table(self.path, self.optics))

    def write(self, path) -> None:
        """Write the file; values that only pass through are written as they are, NaN included."""
        first = [block for block in self.others if block.kind == "list"]
        last = [block for block in self.others if block.kind != "list"]
        optics = [] if self.optics is None else [self.optics]
        write_star(path, [*first, *optics, self.main, *last], allow_nan=True)


def without_row_numbers(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks that stay right when the rows of the main table change."""
    return tuple(block for block in blocks if block.name != QUARANTINE)


def read_tables(path, *, name: str = "", ignore_optics: bool = False, convert: bool = True) -> StarTables:
    """Read a STAR file.

    Parameters
    ----------
    path : STAR file of RELION 3.0 to 5
    name : of the block to work on; empty = particles, micrographs, movies, else the first loop
    ignore_optics : leave data_optics and all else away, and convert nothing
    convert : bring a table of RELION 3.0 into today's dialect

    Raises  InputError: no such file or block.
    """
    star = read_star(path)
    main = star[name] if name else main_block(star)
    if ignore_optics:
        return StarTables(str(path), None, main)
    others = tuple(block for block in star.values() if block is not main and block is not star.get("optics"))
    found = StarTables(str(path), star.get("optics"), main, others)
    if convert and found.optics is None and is_old(found):
        return to_31(found)
    return found


def main_block(star: StarFile) -> Block:
    """The block with the rows: RELION's names first, then the first loop that is not the optics table, then a list."""
    for name in MAIN:
        if name in star:
            return star[name]
    blocks = [block for name, block in star.items() if name != "optics"]
    loops = [block for block in blocks if block.kind == "loop"]
    return (loops or blocks or [star.first(*MAIN)])[0]  # the last says which blocks there are


def is_old(tables: StarTables) -> bool:
    """Whether a table has no optics groups because it is of a time before them; pick lists have none either."""
    old_version = tables.main.version is None or tables.main.version < VERSION
    pixel = {"rlnImagePixelSize", "rlnPixelSize"} & set(tables.main) or {
        "rlnDetectorPixelSize",
        "rlnMagnification",
    } <= set(tables.main)
    return old_version and bool(pixel)


def to_31(tables: StarTables) -> StarTables:
    """A table of RELION 3.0 with its optics groups apart and its origins in A.

    Particles get rlnImagePixelSize, and size and dimensionality of their images where these can be read; micrographs
    get rlnMicrographPixelSize. Source: RELION's own conversion, whose order of columns is kept.
    """
    table = tables.table()
    columns, index, moved = old_optics(table)
    columns = {label: columns[label] for label in OPTICS_ORDER if label in columns}
    notes = [f"{tables.path}: of RELION 3.0: {len(columns['rlnOpticsGroup'])} optics groups were made from its rows; "
             f"check "
             "them"]  # fmt: skip
    pixel_A = columns["rlnImagePixelSize"]
    if "rlnImageName" in table:
        columns |= _image_sizes(table, index, len(pixel_A), notes)
    else:
        del columns["rlnImagePixelSize"]
        columns |= {"rlnMicrographPixelSize": pixel_A, "rlnMicrographOriginalPixelSize": pixel_A}
    kept = {label: c for label, c in table.columns.items() if label not in moved and label not in PX_TO_A}
    kept["rlnOpticsGroup"] = index.astype(np.int64) + 1
    for px, angstrom in PX_TO_A.items():
        if px in table.columns:
            kept[angstrom] = table.numbers(px) * pixel_A[index]
    name = tables.main.name or ("particles" if "rlnImageName" in table else "micrographs")
    main = Block(name, "loop", kept, where=tables.main.where, comments=tables.main.comments)
    others = tuple(replace(block, version=VERSION) for block in tables.others)
    return StarTables(tables.path, Block("optics", "loop", columns), main, others, tuple(notes))


def _image_sizes(table: Table, index, n_groups: int, notes: list[str]) -> dict[str, np.ndarray]:
    names = table.strings("rlnImageName")
    first = [names[int(np.argmax(index == i))].rpartition("@")[2] for i in range(n_groups)]
    places = (Path(), *Path(table.path).absolute().parents)
    found = [next((place / name for place in places if exists(place / name)), None) for name in first]
    try:
        headers = [read_header(path) for path in found if path is not None]
    except InputError:
        headers = []
    if len(headers) < n_groups:
        notes.append(f"{first[0]}: cannot be read, so rlnImageSize and rlnImageDimensionality are left out")
        return {}
    flat = [Path(name).suffix != ".mrc" for name in first]
    return {
        "rlnImageSize": np.array([header.nx for header in headers]),
        "rlnImageDimensionality": np.array([2 if f or header.nz == 1 else 3 for f, header in zip(flat, headers)]),
    }


def pixel_sizes(tables: StarTables, labels: Iterable[str] = PIXEL_LABELS) -> np.ndarray | None:
    """Pixel size of every row in A by the first of the labels that the optics groups have, (n,) float64; None "
    "without."""
    for label in labels:
        if tables.optics is not None and label in tables.optics:
            return Table(tables.path, tables.optics).numbers(label)[tables.optics_index()]
    return None


def to_30(tables: StarTables) -> StarTables:
    """A table as RELION 3.0 has it: optics in every row, origins in px, one block without a name or version.

    The magnification is 10000, so that rlnDetectorPixelSize (um) is the pixel size in A.

    Raises  InputError: nothing tells the pixel size.
    """
    if tables.optics is None:
        raise InputError(
            f"{tables.path}: has no data_optics, expected a file of RELION 3.1 or later; this one needs no downgrade"
        )
    labels = PIXEL_LABELS if "rlnImageName" in tables.main else PIXEL_LABELS[1:] + PIXEL_LABELS[:1]
    pixel_A = pixel_sizes(tables, labels)
    optics = Table(tables.path, tables.optics)
    if pixel_A is None:
        raise optics.missing("rlnImagePixelSize", "the pixel size of the images in A", "add it to data_optics")
    to_px = {angstrom: px for px, angstrom in PX_TO_A.items()}
    columns = {}
    for label, column in tables.main.columns.items():
        if label in to_px:
            columns[to_px[label]] = tables.table().numbers(label) / pixel_A
        elif label != "rlnOpticsGroup":
            columns[label] = column
    index = tables.optics_index()
    for label in OPTICS_TO_ROWS:
        if label in optics and label not in columns:
            columns[label] = optics.numbers(label)[index]
    columns |= {"rlnMagnification": np.full(tables.n_rows, 10000.0), "rlnDetectorPixelSize": pixel_A}
    # Twelve digits bring origins back to the same A; more would only be rounding.
    columns = {label: np.round(c, 12) if c.dtype == np.float64 else c for label, c in columns.items()}
    return StarTables(tables.path, None, Block("", "loop", columns, version=None, precise=True))


def model_to_30(star: StarFile) -> list[Block]:
    """The blocks of a model.star with errors and spreads of origins in px, and without versions."""
    general = Table(star.path, star["model_general"])
    pixel_A = float(general.numbers("rlnPixelSize")[0])
    to_px = {angstrom: px for px, angstrom in MODEL_PX_TO_A.items()}
    blocks = []
    for block in star.values():
        table = Table(star.path, block)
        columns = {to_px.get(label, label): table.numbers(label) / pixel_A if label in to_px else column
                   for label, column in block.columns.items()}  # fmt: skip
        blocks.append(replace(block, columns=columns, version=None))
    return blocks
