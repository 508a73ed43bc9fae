"""CTF parameters of micrographs as other programs wrote them: RELION and Gctf (STAR), CTFFIND 4 and 5, cryoSPARC.

Everything comes out in the labels and units of RELION: A, degrees, kV, mm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.coordinates import post_path
from vitreous.io.micrographs import CTF_LABELS, check_defocus_unit
from vitreous.io.optics_star import group_indices
from vitreous.io.star import Block, read_star
from vitreous.io.table import Table

Columns = dict[str, np.ndarray]
OPTICS_LABELS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnMicrographPixelSize")
# cryoSPARC's field -> label, factor to RELION's unit
CS_CTF = {
    "ctf/df1_A": ("rlnDefocusU", 1.0),
    "ctf/df2_A": ("rlnDefocusV", 1.0),
    "ctf/df_angle_rad": ("rlnDefocusAngle", 180 / np.pi),
    "ctf/phase_shift_rad": ("rlnPhaseShift", 180 / np.pi),
    "ctf/cross_corr_ctffind4": ("rlnCtfFigureOfMerit", 1.0),
    "ctf/ctf_fit_to_A": ("rlnCtfMaxResolution", 1.0),
}
CS_OPTICS = {
    "ctf/accel_kv": "rlnVoltage",
    "ctf/cs_mm": "rlnSphericalAberration",
    "ctf/amp_contrast": "rlnAmplitudeContrast",
    "micrograph_blob/psize_A": "rlnMicrographPixelSize",
}
# Where a cryoSPARC table names its micrographs, in order of preference.
CS_NAMES = ("micrograph_blob/path", "micrograph_blob_non_dw/path", "location/micrograph_path", "movie_blob/path")
# CTFFIND's columns by the words of its header: (words, label, unit that the header must name where it names one)
CTFFIND = (
    ("defocus 1", "rlnDefocusU", "angstrom"),
    ("defocus 2", "rlnDefocusV", "angstrom"),
    ("azimuth of astigmatism", "rlnDefocusAngle", ""),
    ("additional phase shift", "rlnPhaseShift", "radians"),
    ("cross correlation", "rlnCtfFigureOfMerit", ""),
    ("spacing", "rlnCtfMaxResolution", "angstrom"),
)
CTFFIND_OPTICS = (
    (r"pixel size:\s*([-+.\deE]+)", "rlnMicrographPixelSize"),
    (r"acceleration voltage:\s*([-+.\deE]+)", "rlnVoltage"),
    (r"spherical aberration:\s*([-+.\deE]+)", "rlnSphericalAberration"),
    (r"amplitude contrast:\s*([-+.\deE]+)", "rlnAmplitudeContrast"),
)


LEAST_NAME = 4  # letters that two names must share


@dataclass(frozen=True, eq=False)
class CtfTable:
    """CTF parameters, one row per micrograph.

    Attributes
    ----------
    path, kind : file, and the program that wrote it
    names : (n,) micrographs as that program called them
    columns : label -> (n,): rlnDefocusU, V, Angle, and where known rlnPhaseShift, rlnCtfFigureOfMerit, MaxResolution
    optics : label -> (n,): rlnVoltage, rlnSphericalAberration, rlnAmplitudeContrast, rlnMicrographPixelSize where known
    group_names : (n,) names of optics groups, where the table has them
    notes : what the user should know
    """

    path: str
    kind: str
    names: list[str]
    columns: Columns
    optics: Columns = field(default_factory=dict)
    group_names: list[str] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


def read_ctf_table(path: str) -> CtfTable:
    """Read a CTF table; what wrote it is found from its content.

    Raises  InputError: not there, no CTF table, a column that is missing, or a value in another unit.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: is not there, expected a CTF table; check the name")
    if file.suffix == ".star":
        table = _from_star(path)
    elif file.suffix == ".cs" or file.read_bytes()[:6] == b"\x93NUMPY":
        table = _from_cryosparc(path)
    else:
        table = _from_ctffind(path)
    _check(table)
    return table


def join_tables(tables: Sequence[CtfTable]) -> CtfTable:
    """Several tables as one, e.g. one CTFFIND output per micrograph; columns that some lack are left out."""
    first = tables[0]
    if len(tables) == 1:
        return first

    def joined(name: str) -> Columns:
        every = [getattr(table, name) for table in tables]
        return {k: np.concatenate([columns[k] for columns in every]) for k in every[0] if all(k in c for c in every)}

    groups = None
    if all(table.group_names for table in tables):
        groups = [name for table in tables for name in table.group_names or ()]
    names = [name for table in tables for name in table.names]
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return CtfTable(f"{len(tables)} files, {first.path} first", first.kind, names, joined("columns"), joined("optics"),
                    groups, notes)  # fmt: skip


def _from_star(path: str) -> CtfTable:
    star = read_star(path)
    table = Table(path, star.first("micrographs", "", "images"))
    todo = "give the table that a CTF program wrote, e.g. micrographs_ctf.star"
    table.require("rlnMicrographName", "the name of every micrograph", todo)
    table.require("rlnDefocusU", "the underfocus of every micrograph in A", todo)
    columns = {label: table.numbers(label) for label in (*CTF_LABELS, "rlnPhaseShift") if label in table}
    columns.setdefault("rlnDefocusV", columns["rlnDefocusU"])
    columns.setdefault("rlnDefocusAngle", np.zeros(len(table)))
    optics = {label: table.numbers(label) for label in OPTICS_LABELS if label in table}
    if "rlnDetectorPixelSize" in table and "rlnMagnification" in table:  # RELION 3.0: um, and a factor
        with np.errstate(divide="ignore", invalid="ignore"):
            optics["rlnMicrographPixelSize"] = (
                1e4 * table.numbers("rlnDetectorPixelSize") / table.numbers("rlnMagnification")
            )
    names, groups = table.strings("rlnMicrographName"), None
    if "optics" in star:
        found = Table(path, star["optics"])
        index = group_indices(table, found)
        labels = {label: label for label in OPTICS_LABELS if label in found}
        if "rlnMicrographPixelSize" not in labels and "rlnMicrographOriginalPixelSize" in found:
            labels["rlnMicrographPixelSize"] = "rlnMicrographOriginalPixelSize"
        optics |= {label: found.numbers(source)[index] for label, source in labels.items()}
        if "rlnOpticsGroupName" in found:
            groups = [found.strings("rlnOpticsGroupName")[k] for k in index]
    made = CtfTable(path, "RELION", names, columns, optics, groups)
    return _one_row_each(made) if len(set(names)) < len(names) else made


def _from_cryosparc(path: str) -> CtfTable:
    try:
        data = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected a .cs file of cryoSPARC; copy or export it again"
        ) from None
    fields = data.dtype.names or ()
    missing = [name for name in ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad") if name not in fields]
    if missing:
        has = ", ".join(fields[:6]) or "no named fields"
        raise InputError(f"{path}: has no field {missing[0]} (it has {has} ...), expected the CTF of micrographs; "
                         "give the "
                         "exposures' .cs file of a Patch CTF or CTFFIND4 job, or its passthrough file")  # fmt: skip
    key = next((name for name in CS_NAMES if name in fields), None)
    if key is None:
        raise InputError(
            f"{path}: has no field {CS_NAMES[0]}, expected the names of the micrographs; give the exposures' .cs "
            "file together with its passthrough, or export the exposure group"
        )
    names = [_text(value) for value in data[key]]
    columns = {label: data[name].astype(float) * factor for name, (label, factor) in CS_CTF.items() if name in fields}
    optics = {label: data[name].astype(float) for name, label in CS_OPTICS.items() if name in fields}
    groups = [f"exposureGroup{int(k)}" for k in data["ctf/exp_group_id"]] if "ctf/exp_group_id" in fields else None
    table = CtfTable(path, "cryoSPARC", names, columns, optics, groups)
    return _one_row_each(table) if len(set(names)) < len(names) else table


def _text(value) -> str:
    """A path of cryoSPARC, which begins with > where it was imported."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.lstrip(">")


def _one_row_each(table: CtfTable) -> CtfTable:
    """Rows of particles as one of each micrograph: its median, with the angle of the first."""
    distinct, first, index = np.unique(table.names, return_index=True, return_inverse=True)
    order = np.argsort(index, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(index))[:-1])

    def middle(label: str, column: np.ndarray) -> np.ndarray:
        if label in ("rlnDefocusAngle", "rlnPhaseShift"):
            return column[first]
        return np.array([np.median(column[rows]) for rows in parts])

    columns = {label: middle(label, column) for label, column in table.columns.items()}
    optics = {label: column[first] for label, column in table.optics.items()}
    groups = [table.group_names[i] for i in first] if table.group_names else None
    note = (
        f"{table.path}: has {len(table)} rows for {len(distinct)} micrographs, so it is of particles: the median "
        "defocus "
        "of each micrograph is taken"
    )
    return CtfTable(table.path, table.kind, list(distinct), columns, optics, groups, (note,))


def _from_ctffind(path: str) -> CtfTable:
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    head = [line for line in lines if line.startswith("#")]
    text = " ".join(head)
    if not re.search("ctffind", text, re.IGNORECASE):
        begin = next((line for line in lines if line.strip()), "")[:60]
        raise InputError(
            f"{path}: begins with {begin!r}, expected a STAR file, a .cs file, or the text output of CTFFIND 4 or 5 "
            "(its first line names the program); give one of these"
        )
    if "_avrot" in Path(path).name or re.search("1D rotational", text):
        raise InputError(
            f"{path}: is the rotational average of CTFFIND, expected its table of results; give "
            f"{path.replace('_avrot', '')}"
        )
    places, factors = _ctffind_columns(path, head)
    rows = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError:
            raise InputError(f"{path}:{number}: found {line[:60]!r}, expected numbers; run CTFFIND again") from None
        if len(rows[-1]) <= max(places.values()):
            raise InputError(
                f"{path}:{number}: has {len(rows[-1])} numbers, expected {max(places.values()) + 1}; was the file "
                "cut short?"
            )
    if not rows:
        raise InputError(f"{path}: has no row of numbers, expected one per micrograph; did CTFFIND finish?")
    n = len(rows)
    columns = {label: np.array([row[k] for row in rows]) * factors[label] for label, k in places.items()}
    found = re.search(r"input file:\s*(.+?)\s*;", text, re.IGNORECASE)
    name = found.group(1) if found else re.sub(r"(_ctf|_ctffind\d?|_diagnostic_output)?$", "", Path(path).stem)
    if n > 1:
        raise InputError(
            f"{path}: has {n} rows, of the images of one stack, expected one micrograph; give one file per micrograph"
        )
    optics = {}
    for pattern, label in CTFFIND_OPTICS:
        value = re.search(pattern, text, re.IGNORECASE)
        if value:
            optics[label] = np.full(n, float(value.group(1)))
    return CtfTable(path, "CTFFIND", [name], columns, optics)


def _ctffind_columns(path: str, head: list[str]) -> tuple[dict[str, int], dict[str, float]]:
    """label -> column, and the factor to RELION's unit, from the line that names the columns."""
    line = next((text for text in head if re.match(r"#\s*columns:", text, re.IGNORECASE)), None)
    if line is None:
        # The columns of all versions of CTFFIND 4, whose first is the micrograph's number.
        places = {label: 1 + i for i, (_, label, _) in enumerate(CTFFIND)}
        return places, {label: 180 / np.pi if label == "rlnPhaseShift" else 1.0 for label in places}
    places, factors = {}, {}
    for number, text in re.findall(r"#(\d+)\s*-\s*([^;#]+)", line):
        lower = text.lower()
        for words, label, unit in CTFFIND:
            if lower.strip().startswith(words):
                places[label] = int(number) - 1
                factors[label] = _factor(path, text, lower, label, unit)
    missing = [words for words, label, _ in CTFFIND[:3] if label not in places]
    if missing:
        raise InputError(
            f"{path}: its header names no column {missing[0]!r}, expected defocus 1, defocus 2 and azimuth; give the "
            "table of results of CTFFIND 4 or 5"
        )
    return places, factors


def _factor(path: str, text: str, lower: str, label: str, unit: str) -> float:
    """Factor from the unit that the header names to RELION's."""
    if label == "rlnPhaseShift":
        return 1.0 if "degree" in lower else 180 / np.pi
    if unit == "angstrom" and re.search(r"micro|\bum\b|\[nm", lower):
        scale = 1e4 if re.search(r"micro|\bum\b", lower) else 10.0
        return scale
    if unit == "angstrom" and "angstrom" not in lower and "[" in lower:
        raise InputError(
            f"{path}: column {text.strip()!r} has a unit that is not known, expected Angstroms; convert it"
        )
    return 1.0


def _check(table: CtfTable) -> None:
    """Refuse values that cannot be meant, with the unit that they may have."""
    block = Block("", columns={"rlnDefocusU": table.columns["rlnDefocusU"]})
    check_defocus_unit(Table(table.path, block))
    for label, column in table.columns.items():
        bad = np.flatnonzero(~np.isfinite(column)) if label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle") else ()
        if len(bad):
            raise InputError(
                f"{table.path}: {label} of {table.names[bad[0]]} is {column[bad[0]]}, expected a number; fit that "
                "micrograph again, or take it out of the table"
            )
    middle = float(np.median(table.columns["rlnDefocusU"]))
    if middle < 0:
        raise InputError(
            f"{table.path}: the median defocus is {middle:.0f} A, expected more than 0 (underfocus is positive); "
            "turn the sign of both defocus columns"
        )
    limits = {
        "rlnVoltage": (10, 2000, "kV"),
        "rlnSphericalAberration": (0, 20, "mm"),
        "rlnAmplitudeContrast": (0, 1, "as a fraction"),
        "rlnMicrographPixelSize": (0.05, 1000, "in A"),
    }
    for label, (low, high, unit) in limits.items():
        values = table.optics.get(label, np.zeros(0))
        wrong = values[~((values >= low) & (values <= high))]
        if len(wrong):
            raise InputError(
                f"{table.path}: {label} is {wrong[0]:g}, expected {low:g} to {high:g} ({unit}); convert the column"
            )


def match(mine: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    """For each of my micrographs the row of another program's, -1 where it has none.

    Names agree if they are equal, equal behind the job's folder, or have equal last parts without extension; else where
    one last part contains the other as whole words (cryoSPARC writes 0123_x_patch_aligned_doseweighted.mrc for x).

    Returns
    -------
    (n,) int64

    Raises  InputError: two names would do.
    """
    out = np.full(len(mine), -1, np.int64)
    for key in (lambda name: name, post_path, _stem):
        found: dict[str, list[int]] = {}
        for row, name in enumerate(theirs):
            found.setdefault(key(name), []).append(row)
        for i, name in enumerate(mine):
            rows = found.get(key(name), [])
            if out[i] < 0 and len(rows) == 1:
                out[i] = rows[0]
    free = sorted(set(range(len(theirs))) - set(out.tolist()))
    whole: dict[str, list[int]] = {}
    inside: dict[str, list[int]] = {}
    for row in free:
        stem = _stem(theirs[row])
        whole.setdefault(stem, []).append(row)
        for part in _parts(stem):
            inside.setdefault(part, []).append(row)
    for i in np.flatnonzero(out < 0).tolist():
        stem = _stem(mine[i])
        longest = next((part for part in sorted(_parts(stem), key=len, reverse=True) if part in whole), "")
        rows = inside.get(stem) or whole.get(longest, [])
        if len(rows) > 1:
            raise InputError(
                f"{mine[i]}: could be {theirs[rows[0]]} or {theirs[rows[1]]} of the CTF table, expected one; rename "
                "the micrographs so that names differ before their endings"
            )
        out[i] = rows[0] if rows else -1
    return out


def _parts(stem: str) -> set[str]:
    """Every run of whole words of a name, without the words alone that are too short to tell it from others."""
    words = [found.span() for found in re.finditer(r"[0-9A-Za-z]+", stem)]
    return {
        stem[first:last] for i, (first, _) in enumerate(words) for _, last in words[i:] if last - first >= LEAST_NAME
    }


def _stem(name: str) -> str:
    """The last part of a name without its extensions."""
    last = name.rpartition("/")[2]
    return last[: last.find(".", 1)] if last.find(".", 1) > 0 else last
