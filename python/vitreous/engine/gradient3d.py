"""The maximisation of a gradient-driven run with 3D references. Source: docs/equations.md#gradient"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vitreous.engine import gradient, schedule_gradient
from vitreous.engine.em3d import Accumulator3D, Plan3D, joined
from vitreous.engine.gold import finished
from vitreous.engine.maximise import class_statistics, update_parameters
from vitreous.engine.reconstruct3d import (
    complete,
    inverse_transform,
    reference_transform,
    reliability,
    soften_corners,
)
from vitreous.engine.schedule_gradient import GradientOptions
from vitreous.model.state import Model, Moments
from vitreous.model.volume import VolumeLattice

# What a class begins again with.
PER_CLASS = (
    "class_weight", "references", "tau2", "data_vs_prior", "sigma2_reference", "fourier_coverage", "class_resolution_A", "class_coverage"
)
# Of the first moments of a class, the share that its copy has (RELION's choice).
KEPT_MOMENTUM = 0.9
# Parameters that a mini-batch alone would leave to its noise.
AVERAGED = ("class_weight", "sigma2_noise", "sigma_offset_A", "average_norm", "average_p_max", "group_scale")


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
    model, settings = plan.model, plan.settings
    shell = shells_of(plan.lattice)
    tau2 = plan.tau2
    lengths = schedule_gradient.class_steps(schedule_gradient.step(plan.iteration, options), model.class_weight)
    step = lambda k: step_class(be, plan, accs, moments, options, k, shell, lengths[k], tau2[k])
    volumes, measured = [], []
    for k, (volume, first, second, known) in enumerate(spread(step, range(model.n_classes))):
        moments.first[:, k], moments.second[k] = first, second
        volumes.append(volume)
        measured.append(known)
    data_vs_prior, sigma2, coverage = (np.stack(values) for values in zip(*measured))
    new = replace(
        averaged(model, update_parameters(plan, joined(*accs)), options.mu),
        class_offset_A=np.zeros((model.n_classes, 2)),
        references=finished(plan, np.stack(volumes), flatten=settings.flatten_solvent),
        tau2=np.array(tau2),
        data_vs_prior=data_vs_prior,
        sigma2_reference=sigma2,
        fourier_coverage=coverage,
        current_size_px=plan.size,
    )
    new = replace(new, **class_statistics(new))
    idle = idle_class(new.class_weight, plan.iteration, options)
    if idle is None:
        return new, None
    power = [float((np.abs(gradient.direction(moments, k, shell.shape)) ** 2).mean()) for k in range(new.n_classes)]
    best = int(np.argmax(power * new.class_weight))
    return revived(new, moments, idle, best), (idle, best)


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


def idle_class(class_weight, iteration: int, options: GradientOptions) -> int | None:
    """The class with the fewest particles, in the middle phase and below its part of an even share."""
    n_first, n_middle, _ = schedule_gradient.phases(options)
    least = int(np.argmin(class_weight))
    few = class_weight[least] < options.inactivity / max(np.count_nonzero(class_weight), 1)
    return least if few and n_first < iteration < n_first + n_middle else None


def revived(model: Model, moments: Moments, idle: int, best: int) -> Model:
    """The model with an idle class begun again as a copy of the best, which shares its weight with it."""
    gradient.copy_moments(moments, best, idle, KEPT_MOMENTUM)
    copied = {}
    for name in PER_CLASS:
        values = np.array(getattr(model, name))
        values[idle] = values[best]
        copied[name] = values
    weight = copied["class_weight"]
    weight[[idle, best]] = (model.class_weight[idle] + model.class_weight[best]) / 2
    return replace(model, **copied)


def averaged(old: Model, new: Model, mu: float) -> Model:
    """The new model with the parameters of a mini-batch averaged with the old ones'."""
    mean = {name: mu * getattr(old, name) + (1 - mu) * getattr(new, name) for name in AVERAGED}
    return replace(new, **mean)
