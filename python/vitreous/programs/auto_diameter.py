"""The particle's diameter that an automatic run begins with, where none is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from vitreous.engine.particle_size import diameter_of_blobs
from vitreous.errors import InputError
from vitreous.io.micrograph_list import read_micrograph_list
from vitreous.io.mrc import StackReader
from vitreous.programs.auto_import import MICROGRAPHS

MOST_MICROGRAPHS = 8  # that are looked at, evenly spread


def estimated_diameter(facts: dict[str, Any]) -> tuple[float, str]:
    """Diameter in A, and why: what the micrographs or the images tell."""
    if facts["kind"] != MICROGRAPHS:
        return 0.75 * facts["box"] * facts["pixel_A"], "three quarters of the box, as of the background's circle"
    names = read_micrograph_list(facts["micrographs"]).names
    rows = np.unique(np.linspace(0, len(names) - 1, min(MOST_MICROGRAPHS, len(names))).astype(int))
    found = diameter_of_blobs(map(read_micrograph, [names[row] for row in rows.tolist()]), facts["micrograph_pixel_A"])
    if found.value is None:
        raise InputError(f"{facts['micrographs']}: {found.reason}, expected particles to estimate the size of; give --particle_diameter")
    return float(found.value), found.reason


def read_micrograph(name: str) -> np.ndarray:
    """(ny, nx) float32."""
    with StackReader(name) as reader:
        return reader.read([1])[0]
