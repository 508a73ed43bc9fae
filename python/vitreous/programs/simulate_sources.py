"""What simulate shows: the built-in molecule, or a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import simulate as engine
from vitreous.engine.map_source import MapSource
from vitreous.engine.phantom import make_phantom
from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.model.symmetry import Symmetry
from vitreous.programs.map_files import read_map
from vitreous.programs.simulate_options import Options


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
    return read_source(options, options.source), (1.0,)


def read_source(options: Options, path: str) -> MapSource:
    """A map with its pixel size."""
    volume, pixel_size_A = read_map(path, "i", options.map_angpix)
    if not pixel_size_A > 0:
        raise InputError(f"{path}: the header says {pixel_size_A} A per voxel, expected more than 0; give --map_angpix")
    return MapSource(volume, pixel_size_A)


def write_truth_maps(folder: Path, source: Any, recipe: engine.Recipe, gain: float) -> list[Path]:
    """truth.mrc, or truth_001.mrc and so on for several states: what is shown, on the grey scale of the particles."""
    states = engine.states(source)
    paths = [folder / ("truth.mrc" if len(states) == 1 else f"truth_{i:03d}.mrc") for i in range(1, len(states) + 1)]
    for path, state in zip(paths, states):
        write_mrc(path, state.volume(recipe.box, recipe.pixel_size_A) * np.float32(gain), recipe.pixel_size_A)
    return paths
