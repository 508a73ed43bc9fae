"""How likely a 2D class average shows particles, from 0 to 1, by its image and by what its run says of it.

Nothing is trained: a score is the product of six parts, each 1/2 where its measure is at a limit, near 1 for the averages
of a good run and near 0 for what is wrong with junk. Measures, all larger for better classes:

- body: how far the inner circle stands above the rim of the particle's circle, over the dark side of the rim's spread.
  Edges of carbon and gradients have a dark side there, noise has no body; a particle that reaches the rim is bright there.
- centring: the circle's radius over the distance of the centre of mass.
- contrast, resolution, accuracy: against the typical class of the run. Noise is too faint; ice and carbon are too strong.
- size: particles, against the number that every class would have if all were of one size.

Source: docs/decisions/0091-class-scores.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BODY_RADIUS, RIM_RADIUS = 0.6, 0.8  # of the particle's radius: the body is within the first, the rim beyond the second
NOT_ESTIMATED = 999.0  # RELION's stand-in in accuracies and resolutions
FAINT, GLARING = 0.45, 2.5  # contrast over the typical one at which that part is 1/2


@dataclass(frozen=True)
class Limit:
    """A part of the score is least + (1 - least) / (1 + (half / measure)^power)."""

    half: float
    power: float
    least: float = 0.0


LIMITS = {
    "body": Limit(1.7, 6),
    "centring": Limit(4.0, 4),
    "contrast": Limit(1.0, 6),
    "resolution": Limit(0.6, 8),
    "accuracy": Limit(0.5, 6, 0.5),  # estimated from few particles: it must not decide alone
    "size": Limit(0.1, 2),
}


@dataclass(frozen=True, eq=False)
class Looks:
    """What the images of class averages say, each (n_classes,) float64; an empty class has zeros.

    Attributes
    ----------
    body : mean of the inner circle above the rim's median, over the spread of the rim's dark side
    centring : radius of the circle over the distance of the centre of mass of what is above the rim's median
    contrast : standard deviation within the circle, image units
    """

    body: np.ndarray
    centring: np.ndarray
    contrast: np.ndarray


def look(images: np.ndarray, pixel_size_A: float, diameter_A: float) -> Looks:
    """Measure class averages.

    Parameters
    ----------
    images : (n_classes, ny, nx) float      white particles; what is not finite counts as 0
    pixel_size_A : of the images
    diameter_A : of the particle's circle, which ends at the image's nearest edge at most

    Returns
    -------
    Looks       of n_classes

    Cost: one image at a time in float64, whatever the number of classes
    """
    ny, nx = images.shape[1:]
    y, x = (np.arange(ny) - ny // 2)[:, None], np.arange(nx) - nx // 2
    radius_px = min(diameter_A / (2 * pixel_size_A), min(ny, nx) / 2 - 1)
    share = np.hypot(y, x) / radius_px
    circle = share <= 1
    rim, inner = circle & (share > RIM_RADIUS), share <= BODY_RADIUS
    measures = np.zeros((len(images), 3))
    for k, image in enumerate(images):
        image = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)
        above = image - np.median(image[rim])
        dark = np.sqrt(2 * np.mean(np.square(np.minimum(above[rim], 0))))  # of half of the pixels
        mass = np.where(circle, np.maximum(above, 0), 0)
        moment_px = np.hypot((mass * x).sum(), (mass * y).sum())
        measures[k] = _ratio(above[inner].mean(), dark), _ratio(radius_px * mass.sum(), moment_px), image[circle].std()
    return Looks(*measures.T)


def _ratio(a: float, b: float) -> float:
    """a / b, infinite where b is 0 and a is not, 0 where both are."""
    return a / b if b > 0 else np.inf if a > 0 else 0.0


def part(limit: Limit, measure: np.ndarray) -> np.ndarray:
    """A part of the score, (n,) in 0..1; measures below 0 give the least."""
    with np.errstate(divide="ignore", over="ignore"):
        share = 1 / (1 + (limit.half / np.maximum(measure, 0.0)) ** limit.power)
    return limit.least + (1 - limit.least) * share


def typical(values: np.ndarray, weights: np.ndarray) -> float:
    """Weighted median of the finite values; NaN where none has weight."""
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return np.nan
    order = np.argsort(values[known], kind="stable")
    summed = np.cumsum(weights[known][order])
    return float(values[known][order][np.searchsorted(summed, 0.5 * summed[-1])])


def scores(looks: Looks, n_particles, resolution_A, accuracies) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Scores of classes and their parts.

    Parameters
    ----------
    looks : of n_classes
    n_particles : (n_classes,) int
    resolution_A : (n_classes,) float           rlnEstimatedResolution; 999 and NaN: not known
    accuracies : (n_classes,) floats each       of rotations and of origins, in any units; empty: not known

    Returns
    -------
    (n_classes,) float64                        0 for an empty class
    part -> (n_classes,) float64                in the order of LIMITS; what is not known is 1
    """
    n = np.asarray(n_particles, np.float64)
    weights = n * part(LIMITS["body"], looks.body) * part(LIMITS["centring"], looks.centring)
    contrast = looks.contrast / typical(looks.contrast, weights)
    measures = {
        "body": looks.body,
        "centring": looks.centring,
        "contrast": np.minimum(contrast / FAINT, GLARING / np.maximum(contrast, 1e-30)),
        "resolution": _finer(resolution_A, weights),
        "accuracy": np.sqrt(np.prod([_finer(v, weights) for v in accuracies], axis=0)) if accuracies else np.full(len(n), np.nan),
        "size": n * len(n) / max(n.sum(), 1),
    }
    found = {
        name: np.where(np.isnan(measures[name]), 1.0, part(limit, measures[name])) for name, limit in LIMITS.items()
    }
    return np.where((n > 0) & (looks.contrast > 0), np.prod(list(found.values()), axis=0), 0.0), found


def _finer(values, weights: np.ndarray) -> np.ndarray:
    """The typical value over that of each class, where smaller is better; NaN where a value is not known."""
    values = np.asarray(values, np.float64)
    values = np.where((values > 0) & (values < NOT_ESTIMATED), values, np.nan)
    return typical(values, weights) / values


def choose(score: np.ndarray, n_particles, least: float, n_least_particles: int = 0, n_least_classes: int = 0):
    """Classes whose score is ``least`` or more; further ones, best first, until both numbers are reached or none is left.

    Parameters
    ----------
    score : (n_classes,) float64
    n_particles : (n_classes,) int      an empty class, or one that is left out for other reasons, has 0 and is never chosen

    Returns
    -------
    (n_classes,) bool
    """
    n = np.asarray(n_particles)
    chosen = (score >= least) & (n > 0)
    for k in np.argsort(-score, kind="stable"):
        if n[chosen].sum() >= n_least_particles and chosen.sum() >= n_least_classes:
            break
        chosen[k] = n[k] > 0
    return chosen
