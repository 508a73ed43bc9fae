"""The maximisation of a gradient-driven run with 3D references. Source: docs/equations.md#gradient"""

from __future__ import annotations

import numpy as np

from vitreous.engine import gradient
from vitreous.engine.em3d import Accumulator3D
from vitreous.engine.gold import finished
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.plan3d import Plan3D
from vitreous.engine.reconstruct3d import (
    complete,
    inverse_transform,
    reference_transform,
    reliability,
    soften_corners,
)
from vitreous.model.state import Moments
from vitreous.model.volume import VolumeLattice


def shells_of(lattice: VolumeLattice) -> np.ndarray:
    """(ny, ny, nx) int32 shell of each sample; -1 beyond the radius."""
    out = np.full(lattice.shape, -1, np.int32)
    for i in range(lattice.ny):
        distance = lattice.distance(i)
        out[i] = np.where(distance <= lattice.radius, lattice.shell(distance), -1)
    return out


def maximise(be, plan: Plan3D, accs: list[Accumulator3D], moments: Moments, options: GradientOptions, *, spread=map):
    """New references, one step from the old, and parameters averaged over the iterations.

    Parameters
    ----------
    accs : sums of the two pseudo-half-sets, of residuals; used up
    moments : brought up to date in place
    spread : a map() that may compute its items on several processes

    Returns
    -------
    Model
    (idle, best) classes where the first began again as a copy of the second; else None
    """
    model, tau2, shell = plan.model, plan.tau2, shells_of(plan.lattice)
    step = lambda k, length: step_class(be, plan, accs, moments, options, k, shell, length, tau2[k])
    volumes, *known = gradient.step_classes(step, model, moments, plan.iteration, options, spread)
    references = finished(plan, volumes, flatten=plan.settings.flatten_solvent)
    no_offset = np.zeros((model.n_classes, 2))
    new = gradient.model_of_step(plan, accs, references, tau2, known, options.mu, class_offset_A=no_offset)
    return gradient.with_idle_begun_again(new, moments, plan.iteration, options, shell.shape)


def step_class(be, plan: Plan3D, accs, moments: Moments, options: GradientOptions, k: int, shell, length: float, tau2):
    """Map of a class after its step, its moments, and (n_shells,) data_vs_prior, sigma2 and coverage."""
    lattice, fudge = plan.lattice, plan.model.tau2_fudge
    sums = [complete(be, acc.sums[k], lattice, plan.symmetry) for acc in accs]
    steps = np.stack([gradient.gradient(s[..., 0] + 1j * s[..., 1], s[..., 2]) for s in sums])
    gradient.update_moments(moments, k, steps, options.momentum, options.curvature)
    ft, _ = reference_transform(plan.model.references[k], lattice, be.n_threads, for_slices=False)
    ft = gradient.stepped(ft, moments, k, shell, length, fudge)
    volume = inverse_transform(ft * np.float32(lattice.box**2), lattice, be.n_threads)
    soften_corners(volume)
    known = reliability(be, 0.5 * (sums[0] + sums[1]), lattice, tau2, fudge)
    return volume, moments.first[:, k], moments.second[k], known
