"""Whether a first map shows a particle, and which class averages clearly do: projections are measured as averages are.

A particle's projections have a body in the middle and a rim without much; a class that took up carbon, ice or noise has
neither. Source: docs/decisions/0095-automatic-run.md
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitreous.engine.auto_choices import Choice
from vitreous.engine.class_score import look

LEAST_BODY = 4.0  # maps of particles have 5 to 14, those of junk less than 4 and mostly less than 2
CLEAR_BODY = 8.0  # from here on a map is good enough to go on with
LEAST_SHARE = 0.05  # of the particles: the map of a class with fewer is smooth, as nothing has been added to it
KEPT_SHARE = 0.5  # of the best map's body: a second class that shows particles as well
CLEAR_SHARE = 1 / 3  # of the best average's body: noise mostly has less than 0.3, particles 0.4 and more


def body(volume: np.ndarray, pixel_size_A: float, diameter_A: float) -> float:
    """How far a map's middle stands above its rim, over the spread of the rim's dark side; mean of three projections.

    Parameters
    ----------
    volume : (n, n, n) float              white particle
    diameter_A : of the circle whose rim is looked at
    """
    projections = np.array([volume.sum(axis) for axis in range(3)])
    return float(look(projections, pixel_size_A, diameter_A).body.mean())


def particle_classes(bodies: Sequence[float], shares: Sequence[float]) -> Choice:
    """Numbers of the classes that show particles, the best first; none where not even the best does.

    Parameters
    ----------
    shares : of the particles in each class
    """
    values = np.where(np.asarray(shares) >= LEAST_SHARE, bodies, 0.0)
    found = [int(i) + 1 for i in np.argsort(-values) if values[i] >= max(LEAST_BODY, KEPT_SHARE * values.max())]
    told = ", ".join(f"{value:.1f}" for value in values)
    return Choice(found, f"bodies over rims of {told}; particles have {LEAST_BODY:g} and more")


def clear_averages(images: np.ndarray, pixel_size_A: float, diameter_A: float) -> np.ndarray:
    """(n,) whether class averages have a body that is not far less than the best one's.

    As a template, an average of noise finds noise wherever there is any.

    Parameters
    ----------
    images : (n, box, box) float          white particles
    diameter_A : of the circle whose rim is looked at
    """
    bodies = look(images, pixel_size_A, diameter_A).body
    best = bodies.max()
    return bodies >= min(CLEAR_SHARE * best, best)  # the best one stays, whatever it is
