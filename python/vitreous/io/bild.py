"""The distribution of orientations as a BILD file, which Chimera and ChimeraX draw: a cylinder for each direction."""

from __future__ import annotations

import numpy as np

from vitreous.io.atomic import atomic_write
from vitreous.model.healpix import step_deg
from vitreous.model.symmetry import view_directions

# RELION's geometry, so that both programs' files look alike beside a map: from the box's inscribed sphere outwards.
LONGEST = 0.3  # of the radius: the cylinder of the largest weight
SHORTEST_A = 0.01  # one that changes no coordinate by more is not drawn: ChimeraX refuses a cylinder of no length
MOST_SIGMA = 5.0  # from blue at one standard deviation below the mean to red at these above


def write_bild(path, directions_deg, weights, order: int, box_A: float) -> None:
    """Write a cylinder, as long as its direction's weight, for each direction that has any.

    Parameters
    ----------
    directions_deg : (n_dir, 2) rot, tilt
    weights : (n_dir,) float64      not negative
    order : HEALPix order of the directions; cylinders are as wide as half of their distance
    box_A : side of the map, whose centre is at half of it in x, y and z
    """
    radius = box_A / 2
    width = 0.5 * np.pi * radius * step_deg(order) / 360
    largest = weights.max(initial=0.0)
    spread = (weights - weights.mean()) / weights.std() if weights.std() > 0 else np.zeros(len(weights))
    red = (np.clip(spread, -1, MOST_SIGMA) + 1) / (MOST_SIGMA + 1)
    views = view_directions(*np.asarray(directions_deg).T) * radius
    reach = LONGEST * weights / largest if largest > 0 else weights
    drawn = np.flatnonzero(np.abs(views * reach[:, None]).max(1) > SHORTEST_A)
    rows = np.column_stack([red, 1 - red, views + radius, views * (1 + reach[:, None]) + radius])[drawn]
    text = "".join(
        f".color {r[0]:g} 0 {r[1]:g}\n.cylinder {' '.join(f'{x:g}' for x in r[2:])} {width:g}\n" for r in rows.tolist()
    )
    with atomic_write(path) as file:
        file.write(text.encode())
