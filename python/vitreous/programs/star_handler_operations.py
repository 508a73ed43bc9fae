"""What star-handler and select do to a STAR file: from tables to tables, with words about it."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import select
from vitreous.errors import InputError
from vitreous.io.labels import label_type, nearest_label
from vitreous.io.star import Block, as_column, write_star
from vitreous.io.star_tables import StarTables, pixel_sizes, read_tables, without_row_numbers
from vitreous.io.table import Table, factorise
from vitreous.model.rotation import euler_to_matrix

EULER = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
COORDINATES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
CENTRED_COORDINATES = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
SUBTOMOGRAM_EULER = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
# What a missing optics column means, so that files with and without it can be joined
OPTICS_DEFAULTS: dict[str, Any] = {
    "rlnBeamTiltX": 0.0, "rlnBeamTiltY": 0.0, "rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0,
    "rlnMagMat11": 1.0, "rlnOddZernike": "[0,0,0,0,0,0]", "rlnEvenZernike": "[0,0,0,0,0,0,0,0,0]",
    "rlnCtfDataAreCtfPremultiplied": 0,
}  # fmt: skip


def require(tables: StarTables, label: str, flag: str) -> np.ndarray:
    """A column of the main table; an InputError that names the flag and the nearest label where it is missing."""
    if label not in tables.main:
        near = nearest_label(label, tables.main)
        raise InputError(
            f"--{flag} {label}: {tables.table().where()} has no such column, expected one of its "
            f"{len(tables.main.columns)}; " + (f"did you mean {near}?" if near else "check the label")
        )
    return tables.main[label]


def numbers(tables: StarTables, label: str, flag: str) -> np.ndarray:
    """A column of numbers, (n,) float64; text is an InputError."""
    column = require(tables, label, flag)
    if column.dtype == object:
        raise InputError(
            f"--{flag} {label}: {tables.table().where()} holds text there, expected numbers; use "
            "--select_by_str for text"
        )
    return column.astype(np.float64)


def texts(tables: StarTables, label: str, flag: str) -> list[str]:
    """A column of text; numbers of a known label are an InputError."""
    column = require(tables, label, flag)
    if column.dtype != object:
        raise InputError(
            f"--{flag} {label}: {tables.table().where()} holds numbers there, expected text; use --select "
            "with --minval and --maxval for numbers"
        )
    return column.tolist()


def select_range(tables: StarTables, label: str, low: float, high: float) -> StarTables:
    """Rows whose value lies between the limits, both included."""
    values = numbers(tables, label, "select")
    return tables.take((values >= low) & (values <= high))


def select_text(tables: StarTables, label: str, include: str | None, exclude: str | None) -> StarTables:
    """Rows whose text contains one word, or does not contain another."""
    if (include is None) == (exclude is None):
        found = "neither" if include is None else "both"
        raise InputError(f"--select_by_str {label}: found {found} of --select_include and --select_exclude, expected "
                         f"one; "
                         "give one")  # fmt: skip
    word = include if exclude is None else exclude
    contains = np.fromiter((word in text for text in texts(tables, label, "select_by_str")), bool, tables.n_rows)
    return tables.take(contains if exclude is None else ~contains)


def remove_duplicates(
    tables: StarTables, distance_A: float, image_angpix: float | None, default_A: float, progress: Any
) -> tuple[StarTables, StarTables]:
    """The rows that stay and those that were removed: of close pairs in one micrograph the last stays.

    Parameters
    ----------
    distance_A : pairs up to this far apart are duplicates
    image_angpix : pixel size of the coordinates, A; None = rlnMicrographPixelSize of data_optics, else the particles'
    default_A : pixel size for a file without optics groups
    """
    in_tomogram = "rlnTomoName" in tables.main
    source = require(tables, "rlnTomoName" if in_tomogram else "rlnMicrographName", "remove_duplicates")
    position_A = positions_A(tables, image_angpix, default_A, in_tomogram, progress)
    codes = factorise([str(name) for name in source.tolist()])[1]
    removed = select.duplicates(position_A, codes, distance_A)
    progress.line(f"Removed {int(removed.sum())} duplicated objects from {tables.n_rows} objects.")
    gone = tables.take(removed)
    return tables.take(~removed), StarTables(tables.path, None, replace(gone.main, name=""))


def positions_A(tables: StarTables, image_angpix, default_A: float, in_tomogram: bool, progress: Any) -> np.ndarray:
    """Where the particles are, coordinate minus origin, (n, 2 or 3) in A."""
    n_axes = 3 if in_tomogram else 2
    if in_tomogram and CENTRED_COORDINATES[0] in tables.main:
        position = np.column_stack([numbers(tables, label, "remove_duplicates") for label in CENTRED_COORDINATES])
    else:
        pixel_A = coordinate_pixel_A(tables, image_angpix, default_A, progress)
        columns = [numbers(tables, label, "remove_duplicates") for label in COORDINATES[:n_axes]]
        position = np.column_stack(columns) * np.reshape(pixel_A, (-1, 1))
    return (
        position - np.einsum("...ij,...j->...i", subtomogram_matrices(tables), origins_A(tables, n_axes))
        if (in_tomogram and SUBTOMOGRAM_EULER[0] in tables.main)
        else position - origins_A(tables, n_axes)
    )


def origins_A(tables: StarTables, n_axes: int) -> np.ndarray:
    """The origins, (n, n_axes) in A; 0 where the file has none."""
    return np.column_stack([tables.table().numbers(label, 0.0) for label in ORIGINS[:n_axes]])


def subtomogram_matrices(tables: StarTables) -> np.ndarray:
    """The rotations of the subtomograms' own frames, (n, 3, 3): subtomogram to tomogram axes."""
    return euler_to_matrix(np.column_stack([tables.table().numbers(label, 0.0) for label in SUBTOMOGRAM_EULER]))


def coordinate_pixel_A(tables: StarTables, image_angpix: float | None, default_A: float, progress: Any) -> np.ndarray:
    """Pixel size of rlnCoordinateX and Y, one or (n,)."""
    if image_angpix is not None:
        progress.line(f" + Using the provided pixel size for original micrographs before extraction: {image_angpix:g}")
        return np.array(image_angpix)
    labels = (
        "rlnTomoTiltSeriesPixelSize",
        "rlnMicrographPixelSize",
        "rlnImagePixelSize",
        "rlnMicrographOriginalPixelSize",
    )
    found = pixel_sizes(tables, labels)
    if found is None:
        progress.line(f" + No optics group tells the pixel size: taking --angpix {default_A:g} A for the coordinates")
        return np.array(default_A)
    known = [label for label in labels if label in tables.optics]
    sizes = ", ".join(f"{size:g}" for size in np.unique(found))
    progress.line(f" + Pixel size of the coordinates: {sizes} A ({known[0]})")
    if known[0] == "rlnImagePixelSize" and "rlnMicrographOriginalPixelSize" in tables.optics:
        original = np.unique(Table(tables.path, tables.optics).numbers("rlnMicrographOriginalPixelSize"))
        if not np.allclose(original, np.unique(found)[: len(original)], rtol=1e-3):
            progress.warning(
                f"{tables.path}: the particles have {sizes} A/px, the movies had "
                f"{', '.join(f'{size:g}' for size in original)}: if the particles were scaled when they were "
                "extracted, give the micrographs' pixel size as --image_angpix"
            )
    return found


def centre(tables: StarTables, centre_px, default_A: float) -> StarTables:
    """The same particles with origins that bring a point of the reference to the centre."""
    euler = np.column_stack([numbers(tables, label, "center") for label in EULER])
    n_axes = 3 if ORIGINS[2] in tables.main else 2
    pixel_A = pixel_sizes(tables, ("rlnImagePixelSize",))
    moved = select.centred_origins(
        origins_A(tables, n_axes), euler, centre_px, default_A if pixel_A is None else pixel_A
    )
    return tables.with_columns(tables.main.columns | dict(zip(ORIGINS, moved.T)))


def split(tables: StarTables, n_parts: int | None, size: int | None, seed: int | None) -> list[StarTables]:
    """The parts of a file; with a seed the rows are drawn in random order."""
    if n_parts is None and size is None:
        raise InputError(
            "--split: found neither --nr_split nor --size_split, expected one or both; give --nr_split 2, say"
        )
    order = np.arange(tables.n_rows)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(tables.n_rows)
    return [tables.take(order[begin:end]) for begin, end in select.parts(tables.n_rows, n_parts, size)]


def part_name(output: str, word: str) -> str:
    """``a/b.star`` and ``_only1`` -> ``a/b_only1.star``."""
    path = Path(output)
    name = str(path.with_suffix(""))
    return f"{'./' if output.startswith('./') else ''}{name}{word}{path.suffix or '.star'}"


def write_output_nodes(folder: Path, names: list[str], kind: str) -> None:
    """The list of results that RELION's graphical interface looks for, with the columns of 3.1 and of 4 and 5."""
    number, label = {"particles": (3, "ParticleGroupMetadata.star.relion"),
                     "micrographs": (1, "MicrographGroupMetadata.star.relion")}[kind]  # fmt: skip
    columns = {
        "rlnPipeLineNodeName": np.array(names, object),
        "rlnPipeLineNodeType": np.full(len(names), number),
        "rlnPipeLineNodeTypeLabel": np.array([label] * len(names), object),
    }
    write_star(folder / "RELION_OUTPUT_NODES.star", [Block("output_nodes", "loop", columns)])


def compare(first: StarTables, second: StarTables, labels: list[str], max_distance: float) -> tuple[StarTables, ...]:
    """Rows of the first file that occur in the second, those that do not, and rows of the second that none matched."""
    for tables in (first, second):
        for label in labels:
            require(tables, label, "compare")
    kinds = {tables.main[label].dtype.kind for tables in (first, second) for label in labels}
    if "O" in kinds:
        if len(labels) > 1:
            raise InputError(
                f"--compare: {', '.join(labels)} hold text, expected numbers for a distance; give --label1 alone"
            )
        match = select.first_equal(*([str(v) for v in t.main[labels[0]].tolist()] for t in (first, second)))
    else:
        if kinds == {"i"}:
            max_distance = float(np.floor(max_distance + 0.5))
        values = [np.column_stack([t.main[label] for label in labels]).astype(float) for t in (first, second)]
        match = select.first_matches(*values, max_distance)
    used = np.zeros(second.n_rows, bool)
    used[match[match >= 0]] = True
    return first.take(match >= 0), first.take(match < 0), second.take(~used)


def input_names(words: str, flag: str = "i") -> list[str]:
    """File names from words with patterns, in order, each once."""
    found: list[str] = []
    for word in words.split():
        names = sorted(glob.glob(word)) if glob.has_magic(word) else [word]
        if not names:
            raise InputError(f"--{flag} {word}: no file has such a name, expected at least one; check the pattern")
        found += [name for name in names if name not in found]
    if not found:
        raise InputError(f"--{flag}: found no file name, expected at least one; give --{flag}")
    return found


def combine(files: list[StarTables], progress: Any) -> StarTables:
    """One file with the rows of all: optics groups of one name become one, other names are added."""
    with_optics = [tables.optics is not None for tables in files]
    if any(with_optics) and not all(with_optics):
        without = files[with_optics.index(False)].path
        raise InputError(f"{without}: has no data_optics, which {files[with_optics.index(True)].path} has, expected "
                         f"it in "
                         "all files; add it, or give --ignore_optics")  # fmt: skip
    optics, numbers_of = _joined_optics(files, progress) if all(with_optics) else (None, [None] * len(files))
    tables = [_prepared(t, number, i) for i, (t, number) in enumerate(zip(files, numbers_of))]
    columns = _joined([t.main.columns for t in tables], [t.path for t in tables], {}, progress)
    return StarTables(
        files[0].path, optics, replace(files[0].main, columns=columns), without_row_numbers(files[0].others)
    )


def _joined_optics(files: list[StarTables], progress: Any) -> tuple[Block, list[np.ndarray]]:
    """The optics groups of all files, and for each file the new number of its rows' group."""
    numbers: dict[str, int] = {}
    kept, numbers_of = [], []
    for i_file, tables in enumerate(files):
        table = Table(tables.path, tables.optics)
        table.require("rlnOpticsGroupName", "a name for every optics group", "add the column")
        names = table.strings("rlnOpticsGroupName")
        for name in names if i_file else ():
            known = name in numbers
            progress.line(
                f" + {'Joining optics_groups with the same name' if known else 'Adding new optics_group with name'}"
                f": {name}"
            )
            if known:
                progress.warning(
                    f"{tables.path}: the optics group {name} is taken for that of the same name in the files "
                    "before; rename it first if it is another"
                )
        new = [name not in numbers for name in names]
        for name in names:
            numbers.setdefault(name, len(numbers) + 1)
        kept.append((tables.optics.take(np.flatnonzero(new)).columns, tables.path))
        numbers_of.append(np.array([numbers[name] for name in names])[tables.optics_index()])
    filled = _joined([columns for columns, _ in kept], [path for _, path in kept], OPTICS_DEFAULTS, progress)
    filled["rlnOpticsGroup"] = np.arange(1, len(numbers) + 1)
    return replace(files[0].optics, columns=filled), numbers_of


def _prepared(tables: StarTables, optics_number: np.ndarray | None, i_file: int) -> StarTables:
    """Group names of different files made different, and the numbers that mean nothing elsewhere left out."""
    columns = {label: c for label, c in tables.main.columns.items() if label != "rlnGroupNumber"}
    if optics_number is not None:
        columns["rlnOpticsGroup"] = optics_number
        if i_file and "rlnGroupName" in columns:
            names = zip(optics_number.tolist(), columns["rlnGroupName"].tolist())
            columns["rlnGroupName"] = np.array([f"optics{n}_{name}" for n, name in names], object)
    return tables.with_columns(columns)


def _joined(tables: list[dict], paths: list[str], defaults: dict, progress: Any) -> dict[str, np.ndarray]:
    """The columns that all tables have, or that have a default, one below the other."""
    n_rows = [len(next(iter(columns.values()), ())) for columns in tables]
    out = {}
    for label in dict.fromkeys(label for columns in tables for label in columns):
        missing = [path for path, columns in zip(paths, tables) if label not in columns]
        if missing and label not in defaults:
            progress.warning(f"{missing[0]}: has no {label}, which other files have: it is left out")
            continue
        found = [c.get(label, np.full(n, defaults.get(label), object if isinstance(defaults.get(label), str) else None))
                 for c, n in zip(tables, n_rows)]  # fmt: skip
        if (
            len({column.dtype == object for column in found}) > 1
        ):  # an unknown label: numbers in one file, text in another
            found = [
                column if column.dtype == object else np.array([str(v) for v in column.tolist()], object)
                for column in found
            ]
        out[label] = np.concatenate(found)
    return out


def tell_duplicates(tables: StarTables, label: str, progress: Any) -> int:
    """Warn of values of a label that occur again; returns how many rows repeat an earlier one."""
    values = texts(tables, label, "check_duplicates")
    distinct, codes = factorise(values)
    counts = np.bincount(codes, minlength=len(distinct))
    n_repeated = len(values) - len(distinct)
    for i in np.flatnonzero(counts > 1)[:5].tolist():
        progress.warning(f"duplicate entry: {distinct[i]}")
    if n_repeated:
        progress.warning(f"Total number of duplicate {label} entries: {n_repeated}")
    return n_repeated


def typed(label: str, value: str, flag: str) -> Any:
    """A value from the command line in the type of its label; unknown labels take a number where it reads as one."""
    kind = label_type(label)
    try:
        if kind in ("int", "bool"):
            return int(value)
        if kind == "double":
            return float(value)
        if kind is None or kind == "unknown":
            return float(value)
    except ValueError:
        if kind in ("int", "bool", "double"):
            what = "a number" if kind == "double" else "a whole number"
            raise InputError(f"--{flag}: found {value!r}, expected {what} for {label}; put the value right") from None
    return value


def operate(tables: StarTables, labels: list[str], set_to: str | None, factor: float, summand: float) -> StarTables:
    """Columns with every value set, or multiplied and added to; labels of data_optics are changed there."""
    for label in labels:
        in_optics = label not in tables.main and tables.optics is not None and label in tables.optics
        block = tables.optics if in_optics else tables.main
        old = block[label] if in_optics else require(tables, label, "operate")
        if set_to is not None:
            new = as_column([typed(label, set_to, "set_to")] * len(old))
        elif old.dtype == object:
            raise InputError(f"--operate {label}: {tables.table().where()} holds text there, expected numbers to "
                             f"multiply or "
                             "add to; use --set_to")  # fmt: skip
        else:
            new = old * factor + summand
            new = np.trunc(new).astype(np.int64) if old.dtype.kind == "i" else new
        block = replace(block, columns=block.columns | {label: new})
        tables = replace(tables, optics=block) if in_optics else replace(tables, main=block)
    return tables


def add_column(tables: StarTables, label: str, value: str | None, copy_from: str | None, progress: Any) -> StarTables:
    """A column with one value, or with those of another column."""
    if (value is None) == (copy_from is None):
        found = "neither" if value is None else "both"
        raise InputError(f"--add_column {label}: found {found} of --add_column_value and --copy_column_from, "
                         f"expected one; "
                         "give one")  # fmt: skip
    if label in tables.main:
        progress.warning(f"{tables.table().where()}: {label} is there already and gets other values")
    if label_type(label) is None:
        progress.warning(f"--add_column {label}: is no label that RELION knows; its programs may leave it out")
    if copy_from is None:
        column = as_column([typed(label, value, "add_column_value")] * tables.n_rows)
    else:
        column = _as_kind(require(tables, copy_from, "copy_column_from"), label, copy_from)
    return tables.with_columns(tables.main.columns | {label: column})


def _as_kind(column: np.ndarray, label: str, copy_from: str) -> np.ndarray:
    kind = label_type(label)
    if kind in ("double", "int", "bool") and column.dtype == object:
        raise InputError(
            f"--copy_column_from {copy_from}: holds text, expected numbers for {label}; copy another column"
        )
    if kind == "double":
        return column.astype(np.float64)
    if kind in ("int", "bool"):
        return np.trunc(column).astype(np.int64)
    return as_column([str(v) for v in column.tolist()]) if kind == "string" else column


def remove_column(tables: StarTables, label: str) -> StarTables:
    """The table without a column."""
    require(tables, label, "remove_column")
    return tables.with_columns({name: column for name, column in tables.main.columns.items() if name != label})


def read_many(words: str, **keywords: Any) -> list[StarTables]:
    """All files that the words and patterns name."""
    return [read_tables(name, **keywords) for name in input_names(words)]
