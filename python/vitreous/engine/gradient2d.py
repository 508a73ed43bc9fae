"""The maximisation of a gradient-driven classification in 2D. Source: docs/equations.md#gradient"""

from __future__ import annotations

import numpy as np

from vitreous.engine import gradient, schedule_gradient
from vitreous.engine.em import Accumulator
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.maximise import mass_centres, moved, solvent_mask
from vitreous.engine.plan import Plan
from vitreous.engine.reconstruct import (
    Lattice,
    add_friedel_mates,
    inverse_transform,
    prior_weights,
    reference_transform,
    reliability,
    soft_corners,
)
from vitreous.model.state import Model, Moments

# A reference is recentred once it is this far off, px, and this part of the particle's diameter (RELION's choices): smaller
# moves would only disturb the particles' offsets.
LEAST_MOVE_PX, LEAST_MOVE = 2.0, 0.01


def shells_of(lattice: Lattice) -> np.ndarray:
    """(ny, nx) int shell of each sample; -1 beyond the radius."""
    return np.where(lattice.inside, np.minimum(lattice.shell, lattice.box // 2), -1)


def maximise(
    be, plan: Plan, accs: list[Accumulator], moments: Moments, options: GradientOptions, *, spread=map
) -> tuple[Model, np.ndarray]:
    """New references, one step from the old, and parameters averaged over the iterations.

    Parameters
    ----------
    accs : sums of the two pseudo-half-sets, of residuals, all in their lattices; used up
    moments : brought up to date in place
    spread : a map() that may compute its items on several processes

    Returns
    -------
    Model
    (K, box, box) float32 references before they were masked
    """
    model, settings, tau2, shell = plan.model, plan.settings, plan.tau2, shells_of(plan.lattice)
    for acc in accs:
        add_friedel_mates(acc.lattice_data, acc.lattice_weight)
    step = lambda k, length: step_class(be, plan, accs, moments, options, k, shell, length, tau2[k])
    unmasked, *known = gradient.step_classes(step, model, moments, plan.iteration, options, spread)
    if settings.center_classes and not schedule_gradient.is_last_phase(plan.iteration, options):
        unmasked = recentred(unmasked, moments, plan)
    references = unmasked * solvent_mask(model, settings) if settings.flatten_solvent else unmasked
    new = gradient.model_of_step(plan, accs, references, tau2, known, options.mu)
    new, copied = gradient.with_idle_begun_again(new, moments, plan.iteration, options, shell.shape)
    if copied is not None:
        idle, best = copied
        unmasked[idle] = unmasked[best]
    return new, unmasked


def step_class(be, plan: Plan, accs, moments: Moments, options: GradientOptions, k: int, shell, length: float, tau2):
    """Image of a class after its step, its moments, and (n_shells,) data_vs_prior, sigma2 and coverage."""
    lattice, fudge = plan.lattice, plan.model.tau2_fudge
    weights = [acc.lattice_weight[k] for acc in accs]
    data = [acc.lattice_data[k, ..., 0] + 1j * acc.lattice_data[k, ..., 1] for acc in accs]
    steps = np.stack([gradient.gradient(*sums) for sums in zip(data, weights)])
    gradient.update_moments(moments, k, steps, options.momentum, options.curvature)
    ft, _ = reference_transform(plan.model.references[k : k + 1], lattice, be.n_threads, for_slices=False)
    ft = gradient.stepped(ft[0], moments, k, shell, length, fudge)
    image = soft_corners(inverse_transform(ft[None] * np.float32(lattice.box**2), lattice, be.n_threads))
    both = np.where(shell >= 0, weights[0] + weights[1], 0)  # the average is of all particles
    known = reliability(both[None], prior_weights(tau2[None], lattice, fudge), lattice)
    return image[0].astype(np.float32), moments.first[:, k], moments.second[k], [values[0] for values in known]


def recentred(references, moments: Moments, plan: Plan) -> np.ndarray:
    """References (K, box, box) with their mass at the centre where it was far off, by whole pixels; their moments move along."""
    model = plan.model
    centre = np.rint(mass_centres(references, plan.sampling.offset_range_A / model.pixel_size_A))
    least = max(LEAST_MOVE_PX, LEAST_MOVE * plan.settings.particle_diameter_A / model.pixel_size_A)
    centre[np.hypot(*centre.T) < least] = 0
    nx = moments.first.shape[-1]
    ky, kx = np.mgrid[-(nx - 1) : nx, :nx]
    for k in np.flatnonzero(centre.any(1)):
        turns = (ky * centre[k, 0] + kx * centre[k, 1]) / plan.lattice.side
        moments.first[:, k] *= np.exp(2j * np.pi * turns).astype(np.complex64)
    return moved(references, -centre)
