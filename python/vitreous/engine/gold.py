"""Maximisation with 3D references: gold-standard halves, or K classes. Source: docs/equations.md#wiener, #fsc"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vitreous.engine import filters
from vitreous.engine import fsc as correlations
from vitreous.engine.em3d import Accumulator3D
from vitreous.engine.maximise import class_statistics, first_class_for_all, update_parameters
from vitreous.engine.plan3d import Plan3D
from vitreous.engine.reconstruct3d import Reconstruction, complete, reconstruct, shell_mean_weight
from vitreous.engine.settings import Settings
from vitreous.model.masks import soft_sphere
from vitreous.model.state import Model
from vitreous.model.volume import VolumeLattice

# The correlation of two halves is kept away from 0 and 1, where the signal-to-noise ratio is 0 or infinite.
LEAST_FSC, MOST_FSC = 0.001, 0.999


def downsampled(sums, lattice: VolumeLattice) -> np.ndarray:
    """(box, box, box // 2 + 1) complex64: data over weight averaged into the samples of the unpadded box, for the FSC.

    The mates of the plane kx = 0 must be added.
    """
    box, half = lattice.box, lattice.box // 2
    kept, first, to = _samples_below(np.arange(1 - lattice.nx, lattice.nx), lattice.ratio, half)
    kept_x, first_x, to_x = _samples_below(np.arange(lattice.nx), lattice.ratio, half)
    total = np.zeros((box, box, half + 1, 3), np.float64)
    for z, planes in zip(to, np.split(sums[kept], first[1:])):
        rows = np.add.reduceat(planes[:, kept].sum(0, dtype=np.float64), first, axis=0)
        total[z % box, (to % box)[:, None], to_x] = np.add.reduceat(rows[:, kept_x], first_x, axis=1)
    weight = total[..., 2]
    return np.where(weight > 0, (total[..., 0] + 1j * total[..., 1]) / np.where(weight > 0, weight, 1), 0)


def _samples_below(k, ratio: float, limit: int):
    """Padded frequencies whose nearest sample of the unpadded box is below a limit: their slice, where in it each
    sample's begin, and these samples."""
    sample = (np.sign(k) * np.floor(np.abs(k) / ratio + 0.5)).astype(int)
    kept = np.flatnonzero(np.abs(sample) < limit)
    samples, first = np.unique(sample[kept], return_index=True)
    return slice(kept[0], kept[-1] + 1), first, samples


def half_map_fsc(sums, lattice: VolumeLattice, radius_px: float) -> np.ndarray:
    """(S,) FSC of two half-sets' sums, unmasked; 1 at the origin and 0 beyond the radius."""
    a, b = (downsampled(s, lattice) for s in sums)
    curve = correlations.shell_correlation(a, b, (lattice.box,) * 3)
    curve[0] = 1
    curve[int(radius_px) + 1 :] = 0
    return curve


def join_low_resolution(sums, lattice: VolumeLattice, shell: int) -> None:
    """Give both halves the mean of their sums within a shell, so that their orientations cannot drift apart."""
    for i in range(lattice.ny):
        inside = lattice.distance(i) <= shell * lattice.ratio
        mean = 0.5 * (sums[0][i][inside] + sums[1][i][inside])
        sums[0][i][inside] = mean
        sums[1][i][inside] = mean


def tau2_of_fsc(curve, sigma2_reference, tau2_fudge: float, joined: bool):
    """Prior variance and SSNR of each shell from the FSC: SSNR = T f / (1 - f); f of the whole set where joined."""
    f = np.clip(curve, LEAST_FSC, MOST_FSC)
    if joined:
        f = np.sqrt(2 * f / (1 + f))
    ssnr = tau2_fudge * f / (1 - f)
    return ssnr * sigma2_reference, ssnr


def maximise_halves(be, plans: list[Plan3D], accs: list[Accumulator3D], *, join_A: float, last: bool, fsc=None, spread=map):
    """New models of both halves. The accumulators' sums are used up.

    Parameters
    ----------
    join_A : resolution down to which the halves share their sums; 0 = nowhere
    last : the joined iteration: one map from both halves to the limit of sampling, not flattened
    fsc : (S,) to use in place of the unmasked one
    spread : a map() that may compute its items on several processes

    Returns
    -------
    two Models, (S,) FSC, and the two unregularised maps of the halves where ``last``
    """
    lattice, settings = plans[0].lattice, plans[0].settings
    model = plans[0].model
    rest = {"symmetry": plans[0].symmetry, "completed": True}
    sums = [complete(be, acc.sums[0], lattice, plan.symmetry) for acc, plan in zip(accs, plans)]
    unfil = list(spread(lambda s: reconstruct(be, s, lattice, **rest).volume, sums)) if last else []
    if join_A > 0:
        limit = max(join_A, model.current_resolution_A if np.isfinite(model.current_resolution_A) else join_A)
        shell = min(math.ceil(model.box * model.pixel_size_A / limit - 1e-3), int(lattice.radius_px))
        join_low_resolution(sums, lattice, shell)
    curve = half_map_fsc(sums, lattice, plans[0].size / 2) if fsc is None else fsc
    if last:
        sums = [sums[0] + sums[1]] * 2

    def regularised(i: int):
        plan = plans[i]
        tau2, ssnr = tau2_of_fsc(curve, _sigma2(be, sums[i], lattice), plan.model.tau2_fudge, last)
        return reconstruct(be, sums[i], lattice, tau2=tau2, minres_map=settings.minres_map, **rest), tau2, ssnr

    models, results = [], list(spread(regularised, (0,) if last else (0, 1)))  # the joined map is made once
    for plan, acc, (result, tau2, ssnr) in zip(plans, accs, results * 2 if last else results):
        new = replace(update_parameters(plan, acc), class_offset_A=np.zeros((1, 2)))
        new = replace(
            new,
            references=finished(plan, result.volume[None], flatten=settings.flatten_solvent and not last),
            tau2=tau2[None],
            data_vs_prior=ssnr[None],
            sigma2_reference=result.sigma2[None],
            fourier_coverage=result.coverage[None],
            current_size_px=plan.size,
        )
        models.append(replace(new, **class_statistics(new)))
    return models, curve, unfil


def _sigma2(be, sums, lattice: VolumeLattice) -> np.ndarray:
    """(S,) variance per component of what was averaged: 1 / (oc mean weight)."""
    mean = shell_mean_weight(be, sums, lattice)
    return np.where(mean > 0, 1 / np.where(mean > 0, lattice.ratio**3 * mean, 1), 0)


def maximise_classes(be, plan: Plan3D, acc: Accumulator3D, *, spread=map) -> Model:
    """New model of a classification into K maps; tau2 is the power of the references, as in 2D.

    Parameters
    ----------
    spread : a map() that may compute its items on several processes
    """
    settings = plan.settings
    tau2 = plan.tau2
    rest = {"tau2_fudge": plan.model.tau2_fudge, "minres_map": settings.minres_map}
    regularised = lambda of: reconstruct(be, of[0], plan.lattice, symmetry=plan.symmetry, tau2=of[1], **rest)
    results: list[Reconstruction] = list(spread(regularised, zip(acc.sums, tau2)))
    column = lambda name: np.stack([getattr(r, name) for r in results])
    new = replace(
        update_parameters(plan, acc),
        class_offset_A=np.zeros((plan.model.n_classes, 2)),
        references=finished(plan, column("volume"), flatten=settings.flatten_solvent),
        tau2=np.array(tau2),
        data_vs_prior=column("data_vs_prior"),
        sigma2_reference=column("sigma2"),
        fourier_coverage=column("coverage"),
        current_size_px=plan.size,
    )
    new = replace(new, **class_statistics(new))
    alone = settings.one_reference_for_all and settings.first_iteration_cc and plan.iteration == 1
    return first_class_for_all(new) if alone else new


def finished(plan: Plan3D, volumes, flatten: bool) -> np.ndarray:
    """(K, box, box, box) float32 references of the next iteration: flattened, and low-passed after a correlation.

    An iteration that scores by correlation does not weigh shells by their noise, so what it adds beyond the first
    low-pass is fitted noise.
    """
    model, settings = plan.model, plan.settings
    if flatten:
        volumes = volumes * solvent_mask(model, settings)
    if settings.first_iteration_cc and plan.iteration == 1 and settings.ini_high_A > 0:
        gain = filters.low_pass(model.box * model.pixel_size_A / settings.ini_high_A, model.box)
        volumes = np.stack([filters.filtered(v, gain) for v in volumes])
    return np.ascontiguousarray(volumes, np.float32)


def flattened(model: Model, settings: Settings) -> Model:
    """The model with nothing outside the solvent mask, where that is asked for."""
    if not settings.flatten_solvent:
        return model
    return replace(model, references=model.references * solvent_mask(model, settings))


def solvent_mask(model: Model, settings: Settings) -> np.ndarray:
    """(box, box, box) float32: the user's mask, or a soft sphere of the particle's diameter."""
    if settings.solvent_mask is not None:
        return settings.solvent_mask
    return soft_sphere(model.box, settings.particle_diameter_A / (2 * model.pixel_size_A), settings.mask_edge_px)
