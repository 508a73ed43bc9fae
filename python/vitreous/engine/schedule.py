"""Which resolution, image sizes, samplings and particles an iteration uses. Source: docs/equations.md#schedule"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vitreous.engine.settings import Settings
from vitreous.model.band import round_half_up
from vitreous.model.state import Model, Progress, Sampling

# A subset starts with this many particles per class; enough for a class average to show shape (RELION's choice in 2D).
SUBSET_PER_CLASS = 100
# An accuracy that was not estimated.
UNKNOWN = 999.0


def resolution_shell(data_vs_prior, minres_map: int) -> int:
    """The best class's last shell before the SSNR falls below 1, at least minres_map.

    Parameters
    ----------
    data_vs_prior : (K, S) float64
    """
    return max(minres_map, int(np.max(class_shells(data_vs_prior))))


def class_shells(data_vs_prior) -> np.ndarray:
    """(K,) int: of each class the last shell before the SSNR first falls below 1."""
    below = np.asarray(data_vs_prior)[:, 1:] < 1
    first = np.where(below.any(1), below.argmax(1) + 1, data_vs_prior.shape[1])
    return first - 1


def updated_resolution(model: Model, progress: Progress, settings: Settings) -> tuple[float, Progress]:
    """Resolution of the present references, A, and the counter of iterations without gain."""
    return gained_resolution(resolution_shell(model.data_vs_prior, settings.minres_map), model, progress, settings)


def gained_resolution(shell: int, model: Model, progress: Progress, settings: Settings) -> tuple[float, Progress]:
    """Resolution, A, where the references reach ``shell``, or --ini_high while they are as it left them; the counter."""
    box_A = model.box * model.pixel_size_A
    if settings.ini_high_A > 0 and (
        progress.iteration == 0 or (progress.iteration == 1 and settings.first_iteration_cc)
    ):
        shell = int(round_half_up(box_A / settings.ini_high_A))
    shell = min(max(shell, 1), model.box // 2)
    new, best = shell / box_A, progress.best_resolution_inv_A
    gained = new > best + 0.0001
    return box_A / shell, replace(
        progress,
        n_iter_without_gain=0 if gained else progress.n_iter_without_gain + 1,
        best_resolution_inv_A=max(new, best),
    )


def current_size(model: Model, progress: Progress) -> int:
    """Box in Fourier space that an iteration uses, px of the model."""
    shell = int(round_half_up(model.box * model.pixel_size_A / model.current_resolution_A))
    if model.average_p_max > 0.1 and progress.high_fsc_at_limit:
        shell += int(round_half_up(0.25 * model.box / 2))
    else:
        shell += progress.increment_px
    return min(2 * shell, model.box)


def limited_size(size: int, model: Model, limit_A: float) -> int:
    """A box in Fourier space that holds no finer detail than a limit, A; 0 = no limit."""
    return min(size, 2 * math.ceil(model.box * model.pixel_size_A / limit_A)) if limit_A > 0 else size


def coarse_size(model: Model, sampling: Sampling, settings: Settings, size: int) -> int:
    """Box in Fourier space of the coarse pass, px of the model: what the angular step can resolve."""
    box_A = model.box * model.pixel_size_A
    if settings.strict_highres_A > 0:
        return min(size, 2 * int(round_half_up(box_A / settings.strict_highres_A)))
    if sampling.oversampling == 0:
        return size
    arc_A = sampling.psi_step_deg / 360 * math.pi * settings.particle_diameter_A
    coarse = 2 * math.ceil(box_A / (arc_A / 1.5))
    if settings.coarse_size_px:
        coarse = min(coarse, settings.coarse_size_px)
    return max(2, min(coarse, size))


def coarser_sampling(
    sampling: Sampling, accuracy_deg: float, accuracy_A: float, model: Model, settings: Settings
) -> Sampling:
    """As coarse as the estimated accuracies allow, never finer than the user's sampling.

    After an iteration that scored by correlation there is no estimate: then the angles need what the resolution
    at the particle's edge asks for, and the offsets keep the user's step.
    """
    if accuracy_deg >= UNKNOWN:
        accuracy_deg = 360 / math.ceil(math.pi * settings.particle_diameter_A / model.current_resolution_A)
        accuracy_A = 0.0
    steps = 2**sampling.oversampling
    psi = max(sampling.psi_step_original_deg, 0.8 * accuracy_deg * steps)
    offset = max(sampling.offset_step_original_A, 0.8 * accuracy_A * steps)
    offset = min(offset, max(sampling.offset_step_original_A, 0.95 * sampling.offset_range_original_A))
    return replace(sampling, psi_step_deg=min(psi, 90.0), offset_step_A=offset)


def subset_size(iteration: int, n_classes: int, n_particles: int, settings: Settings) -> int:
    """How many particles an iteration uses."""
    if not settings.fast_subsets or iteration > 15:
        return n_particles
    unit = settings.subset_per_class * n_classes
    if iteration <= 5:
        size = unit
    elif iteration <= 10:
        size = 3 * unit
    else:
        size = max(3 * unit, int(0.3 * n_particles))
    return min(size, n_particles)


def particle_order(rows, seed: int, iteration: int) -> np.ndarray:
    """Positions of the particles in a random order that is a function of the seed, the iteration and each row's number.

    Parameters
    ----------
    rows : (n,) int64     each particle's identity
    """
    rows = np.asarray(rows)
    keys = np.random.Generator(np.random.Philox(key=[seed, 1 + iteration])).random(int(rows.max(initial=-1)) + 1)
    return np.argsort(keys[rows], kind="stable")
