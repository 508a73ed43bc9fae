"""Atomic models: PDB and mmCIF files, plain or compressed, through gemmi."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import decompressor
from vitreous.model.atoms import Atoms

MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
EXPECTED = "expected a PDB or mmCIF file"
COMPRESSED = (".gz", ".xz", ".bz2")


def is_model(path) -> bool:
    """Whether a name is that of an atomic model."""
    path = Path(path)
    return Path(path.stem if path.suffix in COMPRESSED else path.name).suffix.lower() in MODEL_SUFFIXES


def read_model(path, assembly: str | None = None, b_factor_A2: float | None = None) -> Atoms:
    """The atoms of the first model in a file, without hydrogens and water.

    Parameters
    ----------
    path : PDB or mmCIF
    assembly : name of the biological assembly to build; None = the atoms as the file has them
    b_factor_A2 : in place of the file's

    Raises  InputError: no such file, no atoms, no such assembly, an element without scattering factors, no gemmi.
    """
    data = _read(path)
    gemmi = _gemmi(path)
    structure = _structure(gemmi, path, data)
    if assembly is not None:
        names = [found.name for found in structure.assemblies]
        if assembly not in names:
            there = ", ".join(names) if names else "none"
            raise InputError(f"{path}: found no assembly {assembly!r}, expected one of its own ({there}); give another "
                             "--assembly, or leave it out")  # fmt: skip
        structure.transform_to_assembly(assembly, gemmi.HowToNameCopiedChain.Dup)
    structure.remove_hydrogens()
    structure.remove_waters()
    atoms = [found.atom for found in structure[0].all()]
    if not atoms:
        raise InputError(f"{path}: found no atoms but hydrogens and water, expected a molecule; give another file")
    return _atoms(path, atoms, b_factor_A2)


def _gemmi(path):
    try:
        import gemmi
    except ImportError:
        raise InputError(
            f"{path}: is an atomic model, and gemmi, which reads those, is not installed; expected a map, or gemmi: "
            "pip install 'vitreous[models]'"
        ) from None
    return gemmi


def _read(path) -> bytes:
    try:
        data = Path(path).read_bytes()
        opener = decompressor(data[:8])
        if opener is not None:
            with opener(path, "rb") as file:
                data = file.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}), {EXPECTED}; check the name and the file") from error
    return data


def _structure(gemmi, path, data):
    try:
        structure = gemmi.read_structure_string(data, format=gemmi.CoorFormat.Detect)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be understood ({error}), {EXPECTED}; get the file again") from error
    if not len(structure):
        raise InputError(f"{path}: found no atoms, {EXPECTED}; give another file")
    structure.setup_entities()
    return structure


def _atoms(path, atoms, b_factor_A2):
    """Arrays of gemmi's atoms."""
    position_A = np.array([atom.pos.tolist() for atom in atoms])
    occupancy = np.array([atom.occ for atom in atoms])
    if not np.isfinite(position_A).all() or not occupancy.sum() > 0:
        found = "occupancies of 0 alone" if np.isfinite(position_A).all() else "positions that are no numbers"
        raise InputError(f"{path}: found {found}, expected atoms that are somewhere; correct the file")
    elements = sorted({atom.element.name for atom in atoms})
    factors = {atom.element.name: atom.element.c4322 for atom in atoms}
    unknown = [name for name in elements if factors[name] is None]
    if unknown:
        raise InputError(f"{path}: found atoms of element {', '.join(unknown)}, expected elements with known electron "
                         "scattering factors (H to Cf); name the elements in the file")  # fmt: skip
    b_factor = np.array([atom.b_iso for atom in atoms]) if b_factor_A2 is None else np.full(len(atoms), float(b_factor_A2))
    return Atoms(
        position_A,
        np.searchsorted(elements, [atom.element.name for atom in atoms]),
        np.maximum(b_factor, 0.0),
        occupancy,
        np.array([factors[name].a for name in elements]),
        np.array([factors[name].b for name in elements]),
    )
