"""The micrographs that a run works on, with their pixel size and, where a table has it, their CTF."""

from __future__ import annotations

import glob
from dataclasses import dataclass

import numpy as np

from vitreous.errors import InputError
from vitreous.io.micrographs import ctf_parameters, read_micrographs


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
    found = read_micrographs(path, need_ctf=need_ctf)
    sizes = [group.pixel_size_A for group in found.groups]
    if max(sizes) - min(sizes) > 0.01:
        raise InputError(
            f"{path}: optics groups have pixel sizes from {min(sizes):g} to {max(sizes):g} A, expected one; run once "
            "for each pixel size"
        )
    groups = [found.groups[i] for i in found.group]
    ctf = ctf_parameters(found.table, groups) if found.has_ctf else None
    aberrations = [group.magnification for group in groups], [group.even_zernike for group in groups]
    return MicrographList(found.names, sizes[0], ctf, *aberrations, path)


def _from_pattern(path, pixel_size_A, need_ctf):
    names = sorted(glob.glob(path))
    if not names:
        raise InputError(
            f"--i {path}: found no such file, expected a STAR file of micrographs or a pattern like "
            "'Micrographs/*.mrc' in quotes; check the name"
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
