"""Tables of micrographs with their optics and CTF, and the coordinate files that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.coordinates import coordinate_path, post_path, read_coordinate_list, read_coordinates
from vitreous.io.coordinates_foreign import read_picks
from vitreous.io.mrc import StackWriter
from vitreous.io.optics_star import OLD_ROW_LABELS, group_indices, old_optics, read_optics
from vitreous.io.star import Block, read_star
from vitreous.io.table import Table, exists
from vitreous.model.optics import OpticsGroup

CTF_LABELS = ("rlnCtfMaxResolution", "rlnCtfFigureOfMerit", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")


@dataclass(frozen=True, eq=False)
class Micrographs:
    """A table of micrographs.

    Attributes
    ----------
    path : of the STAR file
    names : (n,) file names as the table has them
    table : data_micrographs, for its columns and for messages with file:line
    optics : label -> column of data_optics, with rlnMicrographPixelSize
    groups : one OpticsGroup per row of it, with the pixel size of the micrographs
    group : (n,) int32               row of each micrograph's group
    """

    path: str
    names: list[str]
    table: Table
    optics: dict[str, np.ndarray]
    groups: list[OpticsGroup]
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_ctf(self) -> bool:
        return "rlnDefocusU" in self.table

    def pixel_size_A(self, i: int) -> float:
        """Of one micrograph."""
        return self.groups[int(self.group[i])].pixel_size_A

    def ctf_parameters(self, i: int) -> np.ndarray:
        """(1, 9) float64 parameters of one micrograph for ``kernels_image.ctf_image``."""
        row = {label: column[i : i + 1] for label, column in self.table.columns.items()}
        return ctf_parameters(Table(self.path, _block_of(self.table, row)), [self.groups[int(self.group[i])]])


def _block_of(table: Table, columns: dict):
    return replace(table.block, columns=columns)


def ctf_parameters(table: Table, groups: list[OpticsGroup]) -> np.ndarray:
    """CTF parameters of rows as the kernel wants them; ``groups`` has one for each row, or one for all.

    Returns
    -------
    (n, 9) float64

    Raises  InputError: no defocus.
    """
    table.require(
        "rlnDefocusU", "the defocus in A", "estimate the CTF, or leave --premultiply_ctf and --phase_flip out"
    )

    def of_group(label, name):
        own = np.array([getattr(group, name) for group in groups], float)
        return table.numbers(label) if label in table else np.broadcast_to(own, len(table))

    columns = [
        table.numbers("rlnDefocusU"),
        table.numbers("rlnDefocusV" if "rlnDefocusV" in table else "rlnDefocusU"),
        table.numbers("rlnDefocusAngle", 0.0),
        of_group("rlnVoltage", "voltage_kV"),
        of_group("rlnSphericalAberration", "Cs_mm"),
        of_group("rlnAmplitudeContrast", "amplitude_contrast"),
        table.numbers("rlnPhaseShift", 0.0),
        table.numbers("rlnCtfBfactor", 0.0),
        table.numbers("rlnCtfScalefactor", 1.0),
    ]
    return np.ascontiguousarray(np.column_stack(columns), np.float64)


def read_micrographs(path, pixel_size_A: float | None = None, need_ctf: bool = False) -> Micrographs:
    """Read a micrographs STAR file of RELION 3.1 or later, or one of RELION 3.0 without optics groups.

    Parameters
    ----------
    path : STAR file with data_micrographs (and data_optics)
    pixel_size_A : of the micrographs, in place of what the file says
    need_ctf : refuse a table without defocus

    Raises  InputError: no names, no pixel size, a value that cannot be meant, two micrographs of one name.
    """
    star = read_star(path)
    star.path = str(path)
    name = next((key for key in ("micrographs", "", "images", "coordinate_files") if key in star), "micrographs")
    block = star[name]
    table = Table(path, block)
    todo = "give the micrographs.star of an import, motion correction or CTF job"
    table.require("rlnMicrographName", "the name of every micrograph", todo)
    if not len(table):
        raise InputError(f"{table.where()}: has no rows, expected micrographs; {todo}")
    if "optics" in star:
        optics, group = dict(star["optics"].columns), None
    else:
        if pixel_size_A is not None:
            block.columns["rlnPixelSize"] = np.full(len(table), float(pixel_size_A))
            table = Table(path, block)
        optics, group, _ = old_optics(table)
        optics["rlnMicrographPixelSize"] = optics.pop("rlnImagePixelSize")
        block.columns = {k: v for k, v in block.columns.items() if k not in OLD_ROW_LABELS}
        table = Table(path, block)
    _settle_pixel_size(str(path), optics, pixel_size_A)
    groups = _groups(path, star, optics, need_ctf)
    if group is None:
        group = group_indices(table, Table(path, star["optics"]))
    if need_ctf:
        table.require("rlnDefocusU", "the defocus in A", "estimate the CTF first, or do without it")
    if "rlnDefocusU" in table:
        check_defocus_unit(table)
    names = table.strings("rlnMicrographName")
    repeated = {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        row = [i for i, n in enumerate(names) if n in repeated][1]
        raise table.bad_value("rlnMicrographName", row, "every micrograph once", "remove one of its rows")
    return Micrographs(str(path), names, table, optics, groups, np.asarray(group, np.int32))


def _settle_pixel_size(path: str, optics: dict[str, np.ndarray], given_A: float | None) -> None:
    n = len(next(iter(optics.values()), ()))
    if given_A is not None:
        optics["rlnMicrographPixelSize"] = np.full(n, float(given_A))
    elif "rlnMicrographPixelSize" not in optics:
        other = optics.get("rlnMicrographOriginalPixelSize", optics.get("rlnImagePixelSize"))
        if other is None:
            raise InputError(
                f"{path} (data_optics): there is no column rlnMicrographPixelSize, expected the pixel "
                "size of "
                "the micrographs in A; add it, or give --set_angpix"
            )
        optics["rlnMicrographPixelSize"] = np.asarray(other, float)


def _groups(path, star, optics: dict[str, np.ndarray], need_ctf: bool) -> list[OpticsGroup]:
    """The optics groups, checked: values in another unit are found here."""
    where = star["optics"].where if "optics" in star else ""
    columns = {label: column for label, column in optics.items() if label not in ("rlnImagePixelSize", "rlnImageSize")}
    table = Table(
        path, Block("optics", "loop", columns | {"rlnImagePixelSize": optics["rlnMicrographPixelSize"]}, where=where)
    )
    return read_optics(table, need_ctf)


def check_defocus_unit(table: Table) -> None:
    """Raise an InputError where the defocus of a table seems to be in micrometres, or far too large."""
    values = table.numbers("rlnDefocusU")
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    if 0 < abs(middle) < 50:
        row = int(np.argmax(np.abs(values) > 0))
        raise table.bad_value("rlnDefocusU", row, "A (1000 to 50000 is usual)", "multiply by 10000 where it is in um")
    if abs(middle) > 1e6:
        row = int(np.argmax(np.abs(values)))
        raise table.bad_value("rlnDefocusU", row, "A (1000 to 50000 is usual)", "give it in A")


def coordinate_files(names: list[str], suffix: str, folder: str = "ASINPUT") -> list[str]:
    """The coordinate file that each micrograph would have.

    Parameters
    ----------
    names : micrographs
    suffix : e.g. ``_autopick.star``
    folder : where they are, below which the micrographs' folders are repeated; ASINPUT = beside the micrographs
    """
    if folder == "ASINPUT":
        return [str(Path(name).with_suffix("")) + suffix for name in names]
    return [str(coordinate_path(folder, name, suffix)) for name in names]


def listed_coordinate_files(names: list[str], path: str) -> list[str | None]:
    """The coordinate file of each micrograph by a list of either kind (``io.coordinates``); None where it has none."""
    files = read_coordinate_list(path)
    by_post = {post_path(name): file for name, file in files.items()}
    return [files.get(name, by_post.get(post_path(name))) for name in names]


def read_positions(path: str) -> dict[str, np.ndarray]:
    """The columns of a coordinate file: STAR, EMAN's .box, plain text with x and y, or what else ``read_picks`` reads.

    Returns
    -------
    label -> column; rlnCoordinateX and Y in px of the micrograph, 0 = first pixel. An empty file has no rows.

    Raises  InputError: not there, or no coordinates in it.
    """
    if not exists(path):
        raise InputError(f"{path}: is not there, expected coordinates; check --coord_dir and --coord_suffix")
    if Path(path).suffix != ".star":
        found = read_picks(path)
        if len(found) > 1:
            raise InputError(
                f"{path}: has picks of {len(found)} micrographs, expected those of one; bring them in with vitreous "
                "manual-pick --import"
            )
        return next(iter(found.values()), {label: np.zeros(0) for label in COORDINATES})
    block = read_coordinates(path)
    table = Table(path, block)
    return dict(block.columns) | {label: table.numbers(label) for label in COORDINATES}


class CountedStackWriter(StackWriter):
    """A stack whose statistics come with the images, from the kernel that made them, not from another pass."""

    def write_counted(self, images: np.ndarray, least: float, largest: float, total: float, squares: float) -> None:
        """Append (m, ny, nx) of which the least and largest value, the sum and the sum of squares are known."""
        self._known = images.size, least, largest, total, squares
        try:
            self.write(images)
        finally:
            self._known = None

    _known: tuple | None = None

    def _count(self, part: np.ndarray) -> None:
        if self._known is None:
            super()._count(part)
            return
        size, least, largest, total, squares = self._known
        share = part.size / size  # long stacks come in parts: each adds its share of the same sums
        n = part.size
        mean, spread = total / size, max(squares - total * total / size, 0.0) * share
        both = self._n_values + n
        step = mean - self._mean
        self._spread += spread + step * step * self._n_values * n / both
        self._mean += step * n / both
        self._n_values = both
        self._min, self._max = min(self._min, least), max(self._max, largest)
