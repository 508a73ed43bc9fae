"""References for picking from a map: its projections over the sphere."""

from __future__ import annotations

import numpy as np

from vitreous.engine.map_source import MapSource
from vitreous.engine.orientations import unit_pixels
from vitreous.engine.simulate import euler_matrix
from vitreous.errors import InputError
from vitreous.model import healpix
from vitreous.model.symmetry import Symmetry


def map_references(be, volume: np.ndarray, order: int, group: str, padding: int = 2) -> np.ndarray:
    """Projections of a map along the directions of a grid, without those that symmetry repeats.

    Parameters
    ----------
    volume : (b, b, b) float32
    order : HEALPix order: 0 = 60 degrees, 1 = 30, 2 = 15, ...
    group : point group, e.g. D7
    padding : of the transform that the slices are read from

    Returns
    -------
    (n, b, b) float32                sums of voxels along the view

    Raises  InputError: the map is no even cube, or no such group.
    """
    if len(set(volume.shape)) != 1 or len(volume) % 2:
        sides = " x ".join(map(str, volume.shape[::-1]))
        raise InputError(f"--ref: the map is {sides} voxels, expected an even cube; crop or pad it")
    pixels = unit_pixels(be, order, Symmetry.parse(group))
    rot, tilt = healpix.directions(be, order)[pixels].T
    views = euler_matrix(rot, tilt, np.zeros(len(rot)))
    return MapSource(volume, 1.0, padding).projections(views, np.zeros((len(rot), 2)), len(volume), 1.0)
