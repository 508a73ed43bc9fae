"""What simulate shows: the built-in molecule, a map, atoms, or several of them as states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import simulate as engine
from vitreous.engine.atom_density import density
from vitreous.engine.map_source import MapSource
from vitreous.engine.phantom import make_phantom
from vitreous.errors import InputError
from vitreous.io.models import is_model, read_model
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star
from vitreous.io.table import Table, beside
from vitreous.job.forecast import INTERPRETER
from vitreous.job.memory import check_memory
from vitreous.model.atoms import Atoms
from vitreous.model.symmetry import Symmetry
from vitreous.programs.map_files import read_map
from vitreous.programs.simulate_options import Options

ATOM_A = 3.0  # diameter of an atom at its surface
# Room around the outermost atom, for its own width and for the blur with which atoms are put on a grid.
MARGIN_SD, MARGIN_PX = 4.5, 4
TRANSFORM_BYTES = 200  # per voxel while a map is being transformed: 8 of twice the side, in two complex and two real grids
PARTICLE_BYTES = 60  # per pixel of a batch: images, their transforms, and the CTF in double precision

def read_sources(options: Options, phantom_A: float) -> tuple[Any, tuple[float, ...]]:
    """What is projected, and the share of each of its states.

    Parameters
    ----------
    phantom_A : diameter of the built-in molecule

    Returns
    -------
    a source, see ``engine.simulate_batches``; a tuple of them where there are several states
    their shares, which add up to 1
    """
    if options.source is None:
        return make_phantom(phantom_A, symmetry=Symmetry.parse(options.sym)), (1.0,)
    if Path(options.source).suffix != ".star":
        return read_source(options, options.source), (1.0,)
    names, shares = states_of(options.source)
    return tuple(read_source(options, name) for name in names), shares


def states_of(path: str) -> tuple[list[str], tuple[float, ...]]:
    """Files of the states in a STAR file, e.g. a model.star of class3d, and their shares, which are equal where it has none."""
    tables = [Table(path, block) for block in read_star(path).values()]
    table = next((table for table in tables if "rlnReferenceImage" in table), None)
    if table is None or not len(table):
        raise InputError(f"--i {path}: found no rlnReferenceImage, expected a map or model for each state; give a table with it")
    names = [beside(Path(path), name) for name in table.strings("rlnReferenceImage")]
    shares = table.numbers("rlnClassDistribution") if "rlnClassDistribution" in table else np.ones(len(names))
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise InputError(f"--i {path}: rlnClassDistribution is {shares.tolist()}, expected shares of 0 or more; correct it")
    return names, tuple(shares / shares.sum())


def read_source(options: Options, path: str) -> MapSource:
    """A map with its pixel size, or the map of atoms at that of the images."""
    if is_model(path):
        return atom_source(read_model(path, options.assembly, options.atom_bfactor), options.angpix)
    for name in ("assembly", "atom_bfactor"):
        if options.is_given(name):
            raise InputError(f"--{name}: found with the map {path}, expected atoms; leave it out, or give a PDB or mmCIF file")
    volume, pixel_size_A = read_map(path, "i", options.map_angpix)
    if not pixel_size_A > 0:
        raise InputError(f"{path}: the header says {pixel_size_A} A per voxel, expected more than 0; give --map_angpix")
    return map_source(volume, pixel_size_A)


def map_source(volume: np.ndarray, pixel_size_A: float, diameter_A: float | None = None) -> MapSource:
    """A map ready to be projected, if that fits into memory."""
    check_memory({"map being transformed": TRANSFORM_BYTES * volume.size}, "give a smaller map")
    return MapSource(volume, pixel_size_A, diameter_A=diameter_A)


def atom_source(atoms: Atoms, pixel_size_A: float) -> MapSource:
    """Atoms around their centre, on a grid that holds them."""
    atoms = replace(atoms, position_A=atoms.position_A - atoms.centre_A)
    diameter_A = 2 * float(np.linalg.norm(atoms.position_A, axis=1).max()) + ATOM_A
    margin_A = MARGIN_SD * np.sqrt((atoms.b_factor_A2.max() + atoms.width_A2.max()) / (8 * np.pi**2)) + MARGIN_PX * pixel_size_A
    box = 2 * int(np.ceil((diameter_A / 2 + margin_A) / pixel_size_A))
    check_memory({"map being transformed": TRANSFORM_BYTES * box**3}, "give a larger --angpix")
    return map_source(density(atoms, box, pixel_size_A), pixel_size_A, diameter_A)


def check_fits(source: Any, recipe: engine.Recipe) -> None:
    """Raise InputError where a molecule is larger than the box."""
    largest_A, side_A = max(state.diameter_A for state in engine.states(source)), recipe.box * recipe.pixel_size_A
    if largest_A > side_A:
        raise InputError(f"--box {recipe.box}: found a molecule of {largest_A:.0f} A, expected at most the side of the box, "
                         f"{side_A:g} A; give a larger --box or --angpix")  # fmt: skip


def memory_parts(source: Any, n_batch: int, box: int) -> dict[str, int]:
    """What the peak of every simulation is made of, bytes."""
    grids = sum(state.n_bytes for state in engine.states(source))
    return {"Python and libraries": INTERPRETER, "transforms of maps": grids, "a batch of particles": PARTICLE_BYTES * n_batch * box**2}


def write_truth_maps(folder: Path, source: Any, recipe: engine.Recipe, gain: float) -> list[Path]:
    """truth.mrc, or truth_001.mrc and so on for several states: what is shown, on the grey scale of the particles."""
    states = engine.states(source)
    paths = [folder / ("truth.mrc" if len(states) == 1 else f"truth_{i:03d}.mrc") for i in range(1, len(states) + 1)]
    for path, state in zip(paths, states):
        write_mrc(path, state.volume(recipe.box, recipe.pixel_size_A) * np.float32(gain), recipe.pixel_size_A)
    return paths
