"""The micrographs that a run works on, with their pixel size and, where a table has it, their CTF."""

from __future__ import annotations

import glob
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from vitreous.errors import InputError
from vitreous.io.optics_star import group_indices, old_optics, read_optics
from vitreous.io.star import Block, read_star
from vitreous.io.table import Table
from vitreous.model.ctf import PARAMETERS, parameter_table

CTF_LABELS = {
    "defocus_u_A": ("rlnDefocusU", None), "defocus_v_A": ("rlnDefocusV", None), "defocus_angle_deg": ("rlnDefocusAngle", 0.0),
    "phase_shift_deg": ("rlnPhaseShift", 0.0), "b_factor_A2": ("rlnCtfBfactor", 0.0), "ctf_scale": ("rlnCtfScalefactor", 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class MicrographList:
    """Micrographs in the order of their table.

    Parameters
    ----------
    names : file names
    pixel_size_A : of all of them
    ctf : (n, 9) float64 as ``model.ctf.PARAMETERS``, or None where there is no table of it
    magnification : (2, 2) of each micrograph's optics group, as nested tuples
    even_zernike : coefficients of each micrograph's optics group, rad
    star : the STAR file, empty for a list of files
    """

    names: list[str]
    pixel_size_A: float
    ctf: np.ndarray | None
    magnification: list[tuple]
    even_zernike: list[tuple]
    star: str = ""

    def __len__(self) -> int:
        return len(self.names)


def read_micrograph_list(path: str, pixel_size_A: float | None = None, need_ctf: bool = False) -> MicrographList:
    """Micrographs from a STAR file, or the files of a pattern such as ``Micrographs/*.mrc``.

    Parameters
    ----------
    pixel_size_A : of the files of a pattern; of a STAR file it comes from its optics groups
    need_ctf : there must be a defocus

    Raises  InputError: nothing found, a needed column is missing, or groups differ in pixel size.
    """
    if not path.endswith(".star"):
        return _from_pattern(path, pixel_size_A, need_ctf)
    blocks = read_star(path)
    block = blocks.first("micrographs", "")
    table = Table(path, block)
    table.require("rlnMicrographName", "the file name of each micrograph", "give a table of micrographs")
    if not len(table):
        raise InputError(f"{path}: found no micrographs, expected at least one; check the file")
    groups, index = _optics(path, blocks, table, need_ctf)
    sizes = [group.pixel_size_A for group in groups]
    if max(sizes) - min(sizes) > 0.01:
        raise InputError(
            f"{path}: optics groups have pixel sizes from {min(sizes):g} to {max(sizes):g} A, expected one; run once "
            "for each pixel size"
        )
    ctf = _ctf(table, groups, index, need_ctf)
    return MicrographList(
        table.strings("rlnMicrographName"),
        sizes[0],
        ctf,
        [groups[i].magnification for i in index],
        [groups[i].even_zernike for i in index],
        path,
    )


def _from_pattern(path, pixel_size_A, need_ctf):
    names = sorted(glob.glob(path))
    if not names:
        raise InputError(
            f"--i {path}: found no such file, expected a STAR file of micrographs or a pattern like "
            "'Micrographs/*.mrc' in "
            "quotes; check the name"
        )
    if need_ctf:
        raise InputError(
            f"--i {path}: has no CTF parameters, expected a STAR file with rlnDefocusU; give micrographs_ctf.star, or "
            "leave --ctf out"
        )
    if pixel_size_A is None:
        raise InputError(f"--angpix: found none, expected the pixel size of {path} in A; give --angpix")
    none = [((1.0, 0.0), (0.0, 1.0))] * len(names), [()] * len(names)
    return MicrographList(names, pixel_size_A, None, *none)


def _optics(path, blocks, table, need_ctf):
    """Optics groups with the micrographs' pixel size, and each micrograph's group."""
    if "optics" not in blocks:
        columns, index, _moved = old_optics(table)
        return read_optics(Table(path, Block("optics", columns=columns)), need_ctf), index
    optics = blocks["optics"]
    label = next(
        (l for l in ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize", "rlnImagePixelSize") if l in optics),
        None,
    )
    found = Table(path, optics)
    if label is None:
        raise found.missing(
            "rlnMicrographPixelSize", "the pixel size of the micrographs in A", "add the column to data_optics"
        )
    named = Table(path, replace(optics, columns=optics.columns | {"rlnImagePixelSize": optics[label]}))
    return read_optics(named, need_ctf), group_indices(table, found)


def _ctf(table, groups, index, need_ctf):
    if "rlnDefocusU" not in table:
        if need_ctf:
            raise table.missing(
                "rlnDefocusU", "the underfocus in A", "give micrographs_ctf.star, or leave the CTF options out"
            )
        return None
    values = {name: table.numbers(label, default) for name, (label, default) in CTF_LABELS.items()
              if label in table or default is not None}  # fmt: skip
    values.setdefault("defocus_v_A", values["defocus_u_A"])
    own = {"voltage_kV": "rlnVoltage", "Cs_mm": "rlnSphericalAberration", "amplitude_contrast": "rlnAmplitudeContrast"}
    values |= {name: table.numbers(label) if label in table else None for name, label in own.items()}
    out = parameter_table(SimpleNamespace(**values), groups, index)
    bad = np.flatnonzero(~np.isfinite(out).all(1))
    if need_ctf and len(bad):
        raise InputError(
            f"{table.where(bad[0])}: found {PARAMETERS[int(np.flatnonzero(~np.isfinite(out[bad[0]]))[0])]} that is "
            "no number, "
            "expected one; put it right or take the micrograph from the list"
        )
    return out
