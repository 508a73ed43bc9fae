"""How a gradient-driven run goes on: its phases, the particles of an iteration, the step and the weight of the data.

Source: docs/equations.md#gradient
"""

from __future__ import annotations

import numpy as np

from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.schedule import particle_order
from vitreous.model.band import round_half_up

# Both fractions together leave at least a tenth of the iterations between them.
LEAST_BETWEEN = 0.1
# The accuracies and the sampling are looked at in the first iteration and in every tenth.
RENEW_EVERY = 10
# Share of the middle phase after which the starts of a run are compared (docs/decisions/0052).
TRIAL_SHARE = 0.2


def trial_iterations(options: GradientOptions) -> int:
    """After how many iterations starts are compared: when mini-batches have begun to grow, and wrong maps fall behind."""
    first, growing, _ = phases(options)
    return max(first + int(TRIAL_SHARE * growing), 1)


def phases(options: GradientOptions) -> tuple[int, int, int]:
    """Numbers of iterations of the first, middle and last phase."""
    first, last = options.first_fraction, options.last_fraction
    if first + last > 1 - LEAST_BETWEEN:
        shrink = first + last + LEAST_BETWEEN
        first, last = first / shrink, last / shrink
    n_first, n_last = int(options.n_iterations * first), int(options.n_iterations * last)
    return n_first, options.n_iterations - n_first - n_last, n_last


def subset_size(iteration: int, n_particles: int, n_classes: int, options: GradientOptions) -> int:
    """Particles of an iteration: all of them in the last one with several classes, so that each has a class."""
    n_left = options.n_iterations - iteration
    if n_left < options.em_iterations or (n_left == 0 and n_classes > 1):
        return n_particles
    first = options.first_subset or _size(n_particles, options.first_size)
    last = options.last_subset or _size(n_particles, options.last_size)
    n_first, n_middle, _ = phases(options)
    way = np.clip((iteration - n_first) / max(n_middle, 1), 0, 1)
    return min(first + int(round_half_up(way * (last - first))), n_particles)


def _size(n_particles: int, of: tuple) -> int:
    share, least, most = of
    return int(max(min(share * n_particles, most), least))


def is_gradient(iteration: int, options: GradientOptions) -> bool:
    """Whether an iteration steps along the gradient; the last ones may be of expectation-maximisation."""
    return options.n_iterations - iteration >= options.em_iterations


def is_last_phase(iteration: int, options: GradientOptions) -> bool:
    """Whether an iteration comes after the middle phase."""
    n_first, n_middle, _ = phases(options)
    return iteration >= n_first + n_middle


def renews(iteration: int, options: GradientOptions) -> bool:
    """Whether accuracies and sampling are looked at: in the first iteration, in every tenth and in the last."""
    return iteration <= 1 or iteration % RENEW_EVERY == 0 or iteration == options.n_iterations


def mini_batch(rows, usable, n_classes: int, seed: int, iteration: int, options: GradientOptions) -> list[np.ndarray]:
    """Positions of the particles of an iteration, in two pseudo-half-sets by the parity of their rows.

    Parameters
    ----------
    rows : (n,) int64     each particle's identity
    usable : (n,) bool
    """
    rows = np.asarray(rows)
    order = particle_order(rows, seed, iteration)
    order = order[usable[order]]
    chosen = np.sort(order[: subset_size(iteration, len(order), n_classes, options)])
    odd = rows[chosen] % 2 == 1
    return [chosen[~odd], chosen[odd]]


def step(iteration: int, options: GradientOptions) -> float:
    """Length of the step, which falls from that of the scheme in the first half of the middle phase."""
    n_first, n_middle, _ = phases(options)
    return _between(options.step_scheme or options.step, options.step, iteration, n_first, n_middle // 2)


def tau2_fudge(iteration: int, options: GradientOptions) -> float:
    """Weight of the data, which grows in the first quarter of the middle phase."""
    n_first, n_middle, _ = phases(options)
    return _between(options.tau2_scheme or options.tau2_fudge, options.tau2_fudge, iteration, n_first, n_middle // 4)


def limit_A(iteration: int, options: GradientOptions) -> float:
    """Finest detail that an iteration compares, A: even steps in frequency over the middle phase; 0 = no limit."""
    n_first, n_middle, _ = phases(options)
    way = np.clip((iteration - n_first) / max(n_middle, 1), 0, 1)
    frequency = lambda limit: 1 / limit if limit > 0 else np.inf
    first, last = frequency(options.first_limit_A), frequency(options.last_limit_A)
    if way in (0, 1) or np.isinf(last):
        now = last if way == 1 else first
    else:
        now = min(first, last) + way * max(last - first, 0)
    return 0.0 if np.isinf(now) else float(1 / now)


def _between(early: float, late: float, iteration: int, begin: int, length: int) -> float:
    """From one value to another along a sigmoid in the middle of ``length`` iterations."""
    if length < 1:
        return early if iteration < begin else late
    share = 1 / (10 ** np.clip((iteration - begin - length / 2) / (length / 4), -300, 300) + 1)
    return float(early * share + late * (1 - share))


def class_steps(length: float, class_weight) -> np.ndarray:
    """(K,) steps: a class that few particles see steps less.

    Parameters
    ----------
    class_weight : (K,) float
    """
    weight = np.asarray(class_weight, float)
    return length * (1 - np.exp(-(3 * len(weight) + 10) * weight))
