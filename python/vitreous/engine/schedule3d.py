"""How a 3D auto-refinement goes on: resolution, image sizes, finer sampling, local searches, convergence.

Source: docs/equations.md#schedule3d
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vitreous.engine.fsc import first_below
from vitreous.engine.schedule import gained_resolution, resolution_shell
from vitreous.engine.settings import Settings
from vitreous.model import healpix
from vitreous.model.state import Model, Progress, Sampling

# The angular step is fine enough below this share of the estimated accuracy (RELION's choice).
FINE_ENOUGH = 0.75
# Changes count as none where they are below this share of the step, or no longer fall by 3 %.
SMALL_CHANGE, STILL_FALLING = 0.40, 1.03
# A new offset step is at most this many A before oversampling.
LARGEST_STEP_A = 1.5
# With halves, a shell this far beyond the first dip of the SSNR counts where it rises again.
DIP_SHELLS = 3


@dataclass(frozen=True, kw_only=True)
class AutoOptions:
    """What steers an auto-refinement."""

    local_order: int = 4  # HEALPix order at which searches become local
    last_order: int = healpix.MAX_ORDER  # the finest HEALPix order, after oversampling
    ignore_angles: bool = False  # go on although angles still change
    resolution_angles: bool = False  # refine the sampling as soon as the resolution asks for it


def oversampled_step_deg(sampling: Sampling) -> float:
    """Angular step of the fine pass."""
    return healpix.step_deg(sampling.healpix_order) / 2**sampling.oversampling


def halves_resolution(model: Model, progress: Progress, settings: Settings) -> tuple[float, Progress]:
    """Resolution after an iteration with half-sets, A, and the counter of iterations without gain."""
    shell = resolution_shell(model.data_vs_prior, settings.minres_map)
    again = np.flatnonzero(model.data_vs_prior[0][: model.box // 2] > 1)
    if len(again) and again[-1] > shell + DIP_SHELLS:
        shell = int(again[-1])
    return gained_resolution(shell, model, progress, settings)


def grown_increment(fsc, size_px: int, progress: Progress) -> Progress:
    """How far the next iteration looks beyond the resolution: the slower the FSC falls, the farther."""
    low, high = first_below(fsc, 0.143), first_below(fsc, 0.5)
    distance = (low if low is not None else -1) - (high if high is not None else -1) + 5
    at_limit = fsc[max(0, min(size_px // 2 - 1, len(fsc) - 1))]
    return replace(
        progress,
        increment_px=max(progress.increment_px, distance),
        high_fsc_at_limit=progress.high_fsc_at_limit or bool(at_limit > 0.2),
    )


def stalled(progress: Progress, sampling: Sampling) -> Progress:
    """The counter of iterations whose poses no longer improve, and the smallest changes so far."""
    step_deg, step_A = oversampled_step_deg(sampling), sampling.offset_step_A / 2**sampling.oversampling
    angle, offset, classes = progress.change_angle_deg, progress.change_offset_A, progress.change_class
    still = (
        STILL_FALLING * classes >= progress.smallest_change_class
        and (offset / step_A < SMALL_CHANGE or STILL_FALLING * offset >= progress.smallest_change_offset_A)
        and (angle / step_deg < SMALL_CHANGE or STILL_FALLING * angle >= progress.smallest_change_angle_deg)
    )
    return replace(
        progress,
        n_iter_without_change=progress.n_iter_without_change + 1 if still else 0,
        smallest_change_angle_deg=min(angle, progress.smallest_change_angle_deg),
        smallest_change_offset_A=min(offset, progress.smallest_change_offset_A),
        smallest_change_class=min(classes, progress.smallest_change_class),
    )


def converged(progress: Progress, options: AutoOptions) -> bool:
    """Whether the iteration that begins is the last."""
    return (
        progress.fine_enough
        and progress.n_iter_without_gain >= 1
        and (options.ignore_angles or progress.n_iter_without_change >= 1)
    )


def local_width_deg(sampling: Sampling, options: AutoOptions) -> float:
    """Width of the prior around each particle's own orientation where searches are local; 0 where they are not yet."""
    return 2 * oversampled_step_deg(sampling) if sampling.healpix_order >= options.local_order else 0.0


def finer_sampling(
    sampling: Sampling, progress: Progress, settings: Settings, options: AutoOptions, resolution_A: float
):
    """The sampling of the next iteration: finer where neither resolution nor poses improve at the present one.

    Returns
    -------
    Sampling, Progress
    """
    step = oversampled_step_deg(sampling)
    needed = 360 / math.ceil(math.pi * settings.particle_diameter_A / resolution_A)
    by_resolution = options.resolution_angles and needed < step and sampling.healpix_order + 1 != options.local_order
    if not (by_resolution or progress.n_iter_without_gain >= 1) or not (
        options.ignore_angles or progress.n_iter_without_change >= 1
    ):
        return sampling, progress
    if (
        step < FINE_ENOUGH * progress.accuracy_rotation_deg
        or sampling.healpix_order + sampling.oversampling >= options.last_order
    ):
        return sampling, replace(progress, fine_enough=True)
    over, old_step = 2**sampling.oversampling, sampling.offset_step_A
    new_step = min(LARGEST_STEP_A, FINE_ENOUGH * progress.accuracy_shift_A) * over
    new_range = min(5 * progress.change_offset_A, 1.3 * sampling.offset_range_A)
    new_range = max(new_range, 1.5 * new_step)
    if new_range > 4 * new_step:
        new_range /= 2
        if new_range > 4 * new_step:
            new_step = new_range / 4
    if new_step > old_step:
        new_step, new_range = old_step, sampling.offset_range_A
    order = sampling.healpix_order + 1
    finer = replace(
        sampling,
        healpix_order=order,
        psi_step_deg=healpix.step_deg(order),
        offset_step_A=new_step,
        offset_range_A=new_range,
    )
    finer = replace(finer, sigma_deg=local_width_deg(finer, options) or finer.sigma_deg)
    return finer, replace(
        progress,
        fine_enough=False,
        n_iter_without_gain=0,
        n_iter_without_change=0,
        smallest_change_angle_deg=999.0,
        smallest_change_offset_A=999.0,
        smallest_change_class=9999999.0,
    )
