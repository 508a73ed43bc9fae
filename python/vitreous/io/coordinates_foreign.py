"""Picks of other programs: EMAN .box and .json, crYOLO .cbox, Topaz and other tables, napari .csv, plain x y, any STAR.

Positions become those of RELION: pixels of the micrograph from its first pixel, which is 0; the centre of the particle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.coordinates import post_path, read_coordinates
from vitreous.io.star import read_star
from vitreous.io.table import Table

Picks = dict[str, np.ndarray]  # STAR label -> (n,)
X, Y, Z, FOM = "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ", "rlnAutopickFigureOfMerit"
# Names of columns in tables with a header, in lower case -> STAR label. napari writes axes in the order of numpy.
COLUMNS = {
    "x": X, "x_coord": X, "x-coordinate": X, "center_x": X, "axis-1": X,
    "y": Y, "y_coord": Y, "y-coordinate": Y, "center_y": Y, "axis-0": Y,
    "z": Z, "z_coord": Z, "score": FOM, "fom": FOM, "confidence": FOM, "probability": FOM,
}  # fmt: skip
MICROGRAPH_COLUMNS = ("image_name", "micrograph_name", "micrograph", "image", "filename", "rlnmicrographname")
EXPORTED = {"box": ".box", "coord": ".coord", "csv": ".csv"}


def read_picks(path) -> dict[str, Picks]:
    """The picks of a file, by the micrograph that the file names for them; "" where it names none.

    Parameters
    ----------
    path : the ending tells the format: .star, .cbox, .box, .json (EMAN2), .csv, and anything else is text: a table with
        the names of its columns in the first line, or "x y [z]" in each line

    Raises  InputError: no such file, or a line that cannot be read, with file:line.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".star":
        return _from_star(path)
    if kind == ".cbox":
        return {"": _from_cbox(path)}
    if kind == ".json":
        return {"": _from_json(path)}
    lines = _lines(path)
    if kind == ".box":
        return {"": _from_box(path, lines)}
    if lines and not _numbers(lines[0][1]):
        words = [word.strip('"').lower() for word in lines[0][1]]
        names_all = len(lines) < 2 or len(lines[1][1]) == len(words)  # else the line is a title that speaks of x
        if names_all and any(word in COLUMNS for word in words):
            return _from_table(path, words, lines[1:])
        lines = lines[1:]  # a line of words: a title
    return {"": _plain(path, lines)}


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, words) of every line that is neither empty nor a comment."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected picks; check the name") from None
    if b"\0" in data[:4096]:
        raise InputError(
            f"{path}: holds binary data, expected text, .star, .box, .cbox, .csv or .json; export the picks as text "
            "(for IMOD's models: model2point)"
        )
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        mark = next((mark for mark in (",", ";", "\t") if mark in line), None)
        words = [word.strip() for word in line.strip().split(mark)]
        if any(words) and not words[0].startswith("#"):
            found.append((number, words))
    return found


def _numbers(words: Iterable[str]) -> list[float] | None:
    """The words as numbers, or None."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _rows(path: Path, lines, n_least: int, what: str) -> np.ndarray:
    """The first ``n_least`` or more numbers of every line, (n, as many as all lines have) float64."""
    rows = []
    for number, words in lines:
        values = _numbers(words[:n_least])
        if values is None or len(values) < n_least:
            raise InputError(f"{path}:{number}: found {' '.join(words)[:60]!r}, expected {what}; put the line right")
        more = _numbers(words[n_least:])
        rows.append(values + (more or []))
    n = min(map(len, rows), default=n_least)
    return np.array([row[:n] for row in rows], np.float64).reshape(len(rows), n)


def _plain(path: Path, lines) -> Picks:
    values = _rows(path, lines, 2, "the numbers x y [z]")
    picks = {X: values[:, 0], Y: values[:, 1]}
    return picks | ({Z: values[:, 2]} if values.shape[1] > 2 else {})


def _from_box(path: Path, lines) -> Picks:
    """EMAN: the corner of each box, its width and its height."""
    values = _rows(path, lines, 4, "the numbers x y width height")
    return {X: values[:, 0] + values[:, 2] / 2, Y: values[:, 1] + values[:, 3] / 2}


def _from_table(path: Path, header: list[str], lines) -> dict[str, Picks]:
    labels = [COLUMNS.get(word, "") for word in header]
    for label, word in ((X, "x"), (Y, "y")):
        if label not in labels:
            raise InputError(
                f"{path}: has columns {', '.join(header)}, expected one for {word} (such as {word} or "
                f"{word}_coord); rename it"
            )
    i_name = next((header.index(word) for word in MICROGRAPH_COLUMNS if word in header), -1)
    found: dict[str, dict[str, list[float]]] = {}
    for number, words in lines:
        if len(words) < len(header):
            raise InputError(
                f"{path}:{number}: found {len(words)} fields, expected {len(header)} as in the first line; put the "
                "line right"
            )
        name = words[i_name].strip('"') if i_name >= 0 else ""
        picks = found.setdefault(name, {label: [] for label in labels if label})
        for label, word in zip(labels, words):
            if label:
                value = _numbers([word])
                if value is None:
                    raise InputError(
                        f"{path}:{number}: found {word!r}, expected a number for {label}; put the line right"
                    )
                picks[label].append(value[0])
    return {name: {label: np.array(v) for label, v in picks.items()} for name, picks in found.items()}


def _from_star(path: Path) -> dict[str, Picks]:
    block = read_coordinates(path)
    if "rlnMicrographName" not in block:
        return {"": dict(block.columns)}
    names = np.array([str(name) for name in block["rlnMicrographName"].tolist()], object)
    return {name: dict(block.take(np.flatnonzero(names == name)).columns) for name in dict.fromkeys(names.tolist())}


def _from_cbox(path: Path) -> Picks:
    """crYOLO: the corner of each box, its width and height, and a confidence."""
    table = Table(path, read_star(path).first("cryolo", ""))
    for label in ("CoordinateX", "CoordinateY", "Width", "Height"):
        table.require(label, "a number for every box", "write the file again with crYOLO")
    picks = {
        X: table.numbers("CoordinateX") + table.numbers("Width") / 2,
        Y: table.numbers("CoordinateY") + table.numbers("Height") / 2,
    }
    return picks | ({FOM: table.numbers("Confidence")} if "Confidence" in table else {})


def _from_json(path: Path) -> Picks:
    """EMAN2's info files: boxes of [x, y, how they were made], at their centre."""
    try:
        boxes = json.loads(path.read_text(encoding="utf-8"))["boxes"]
        values = np.array([[float(box[0]), float(box[1])] for box in boxes]).reshape(-1, 2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected picks; check the name") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise InputError(
            f"{path}: holds no boxes of [x, y, ...], expected an info file of EMAN2; give another file"
        ) from None
    return {X: values[:, 0], Y: values[:, 1]}


class MicrographFinder:
    """Which micrograph a file of picks, or a name inside one, belongs to.

    Parameters
    ----------
    names : micrographs as in their table
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self._by_path: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            self._by_path.setdefault(post_path(name), []).append(i)
            self._by_stem.setdefault(Path(name).stem, []).append(i)

    def find(self, name: str) -> list[int]:
        """Rows of the micrographs that a name may mean: by its path, else its stem, else the longest stem before a _.

        mic_01_manualpick.star belongs to mic_01.mrc; more than one row means that the name is ambiguous.
        """
        if post_path(name) in self._by_path:
            return self._by_path[post_path(name)]
        stem = Path(name).name
        while stem:
            if stem in self._by_stem:
                return self._by_stem[stem]
            cut = max(stem.rfind("_"), stem.rfind("."), stem.rfind("-"))
            # _012 is a number of its own, of another micrograph, not a remark such as _manualpick.
            stem = "" if cut <= 0 or stem[cut + 1 :].isdigit() else stem[:cut]
        return []


def write_picks(path, kind: str, x_px: np.ndarray, y_px: np.ndarray, box_px: int = 0) -> None:
    """Write picks for another program.

    Parameters
    ----------
    kind : "box" (EMAN: whole numbers, so the centre moves by up to half a pixel), "coord" (x y), or "csv" (x,y)
    x_px, y_px : (n,) float64
    box_px : side of the boxes of "box"
    """
    if kind == "box":
        corner = [np.floor(v - box_px / 2 + 0.5).astype(int) for v in (x_px, y_px)]
        lines = [f"{x}\t{y}\t{box_px}\t{box_px}" for x, y in zip(*corner)]
    elif kind == "coord":
        lines = [f"{x:.3f} {y:.3f}" for x, y in zip(x_px, y_px)]
    elif kind == "csv":
        lines = ["x,y", *(f"{x:.3f},{y:.3f}" for x, y in zip(x_px, y_px))]
    else:
        raise ValueError(f"write_picks: kind is {kind!r}, expected one of {', '.join(EXPORTED)}")
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def usable(picks: Picks, shape_px: tuple[int, int] | None) -> np.ndarray:
    """Picks with numbers for x and y, inside of the micrograph where its (ny, nx) is known; (n,) bool."""
    x, y = (np.asarray(picks[label], np.float64) for label in (X, Y))
    ny, nx = shape_px or (math.inf, math.inf)
    low = 0 if shape_px else -math.inf
    with np.errstate(invalid="ignore"):
        return np.isfinite(x) & np.isfinite(y) & (x >= low) & (y >= low) & (x < nx) & (y < ny)
