"""Maximisation of 2D classification: new references and parameters from the sums of an iteration. Source: docs/equations.md#wiener"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from vitreous.engine.em import Accumulator
from vitreous.engine.plan import Plan
from vitreous.engine.reconstruct import add_friedel_mates, low_pass, wiener
from vitreous.engine.schedule import class_shells, updated_resolution
from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.model.band import shell_counts
from vitreous.model.masks import soft_circle
from vitreous.model.state import Model, Progress


def maximise(be, plan: Plan, acc: Accumulator, progress: Progress) -> tuple[Model, Progress, np.ndarray]:
    """New model and counters, and the references before they were masked; all slices of ``acc`` are in its lattices.

    Returns
    -------
    Model, Progress, (K, box, box) float32
    """
    settings, model = plan.settings, plan.model
    tau2 = plan.tau2
    add_friedel_mates(acc.lattice_data, acc.lattice_weight)
    result = wiener(
        acc.lattice_data,
        acc.lattice_weight,
        tau2,
        plan.lattice,
        tau2_fudge=model.tau2_fudge,
        minres_map=settings.minres_map,
        n_threads=be.n_threads,
    )
    model = replace(
        update_parameters(plan, acc),
        tau2=np.array(tau2),
        data_vs_prior=result.data_vs_prior,
        sigma2_reference=result.sigma2,
        fourier_coverage=result.coverage,
    )
    references = result.maps
    if settings.center_classes:
        references = centred(references, plan.sampling.offset_range_A / model.pixel_size_A)
    unmasked = references
    if settings.flatten_solvent:
        references = references * solvent_mask(model, settings)
    if settings.first_iteration_cc and plan.iteration == 1 and settings.ini_high_A > 0:
        references = low_pass(references, model.pixel_size_A, settings.ini_high_A, be.n_threads)
    model = replace(
        model,
        references=np.ascontiguousarray(references, np.float32),
        current_size_px=plan.size,
        **class_statistics(model),
    )
    if settings.one_reference_for_all and settings.first_iteration_cc and plan.iteration == 1:
        model, unmasked = first_class_for_all(model), np.repeat(unmasked[:1], model.n_classes, 0)
    resolution_A, progress = updated_resolution(model, changed(progress, acc), settings)
    return replace(model, current_resolution_A=resolution_A), progress, unmasked


def changed(progress: Progress, *accs: Accumulator) -> Progress:
    """Progress with the mean changes of the particles' poses and classes in this iteration."""
    angle_deg, offset2_A2, classes = sum(a.changes for a in accs) / max(sum(a.n_particles for a in accs), 1)
    return replace(
        progress,
        change_angle_deg=float(angle_deg),
        change_offset_A=float(np.sqrt(offset2_A2 / 2)),
        change_class=float(classes),
    )


def first_class_for_all(model: Model) -> Model:
    """Every class a copy of the first, of equal weight: iteration 1 had that one alone, iteration 2 splits the particles."""
    k = model.n_classes
    per_class = (
        "references",
        "tau2",
        "data_vs_prior",
        "sigma2_reference",
        "fourier_coverage",
        "class_offset_A",
        "class_resolution_A",
        "class_coverage",
    )
    return replace(
        model, class_weight=np.full(k, 1 / k), **{name: np.repeat(getattr(model, name)[:1], k, 0) for name in per_class}
    )


def solvent_mask(model: Model, settings: Settings) -> np.ndarray:
    """(box, box) float32: the user's mask, or a soft disc of the particle's diameter."""
    if settings.solvent_mask is not None:
        return settings.solvent_mask
    return soft_circle(model.box, settings.particle_diameter_A / (2 * model.pixel_size_A), settings.mask_edge_px)


def class_statistics(model: Model) -> dict:
    """Resolution of each class, and the share of its samples up to there that is covered."""
    shells = np.maximum(class_shells(model.data_vs_prior), 1)
    used = (np.arange(model.n_shells)[None, :] <= shells[:, None]) * shell_counts(model.box)
    coverage = (model.fourier_coverage * used).sum(1) / used.sum(1)
    return {"class_resolution_A": model.box * model.pixel_size_A / shells, "class_coverage": coverage}


def update_parameters(plan: Plan, acc: Accumulator) -> Model:
    """Noise spectra, class weights, offsets, norms and scales from the sums."""
    model, settings = plan.model, plan.settings
    n = max(acc.n_particles, 1)
    total = max(acc.class_weight.sum(), 1e-30)
    changes = {
        "class_weight": acc.class_weight / total,
        "class_offset_A": acc.class_offset
        / np.maximum(acc.class_weight, 1e-30)[:, None]
        * (acc.class_weight > 0.5)[:, None],
        "average_p_max": acc.p_max / n,
        "log_likelihood": acc.log_likelihood / (n if plan.correlation else 1),
    }
    if not settings.fix_sigma_offset:
        changes["sigma_offset_A"] = float(np.sqrt(max(acc.offset2 / (2 * total), settings.min_sigma2_offset_A2)))
    if not plan.correlation:
        if settings.norm:
            changes["average_norm"] = acc.norm / n
        if not settings.fix_sigma_noise:
            changes["sigma2_noise"] = new_noise(model.sigma2_noise, acc)
        if settings.scale and len(model.group_scale) > 1:
            changes["group_scale"] = new_scales(model, acc)
    return replace(model, **changes)


def new_noise(old, acc: Accumulator) -> np.ndarray:
    """(G, S): mean residual power per component; a shell without any takes its neighbour's, a group without particles keeps its own."""
    out = np.array(old)
    for g in np.flatnonzero(acc.noise_count.sum(1) > 0):
        out[g] = filled(np.where(acc.noise_count[g] > 0, acc.noise[g] / np.maximum(2 * acc.noise_count[g], 1), 0))
    return out


def filled(spectrum) -> np.ndarray:
    """A spectrum whose vanishing shells take the previous positive one, or else the next."""
    spectrum = np.array(spectrum, float)
    positive = np.flatnonzero(spectrum > 1e-14)
    if not len(positive):
        raise InputError(
            "noise spectrum: every shell is zero or not a number, expected noise in the images; "
            "look at them: are they constant?"
        )
    before = np.searchsorted(positive, np.arange(len(spectrum)), side="right") - 1
    return spectrum[positive[np.maximum(before, 0)]]


def new_scales(model: Model, acc: Accumulator) -> np.ndarray:
    """(n_groups,): cross / model power, within a factor 5 of the median, with particle-weighted mean 1.

    A group without particles in this iteration, or without a shell that counts, keeps its scale.
    """
    scale = np.where(
        acc.scale_model > 0, acc.scale_cross / np.where(acc.scale_model > 0, acc.scale_model, 1), model.group_scale
    )
    populated = model.group_counts > 0
    median = float(np.median(scale[populated])) if populated.any() else 1.0
    if not median > 0:
        return np.ones_like(scale)
    scale = np.clip(scale, median / 5, 5 * median)
    return scale * (model.group_counts.sum() / max((scale * model.group_counts).sum(), 1e-30))


def centred(references, limit_px: float) -> np.ndarray:
    """Move each reference's centre of positive mass to the box's centre, by at most limit_px.

    Parameters
    ----------
    references : (K, box, box) float32

    Returns
    -------
    (K, box, box) float32
    """
    return moved(references, -mass_centres(references, limit_px))


def mass_centres(references, limit_px: float) -> np.ndarray:
    """(K, 2) px, y and x: centre of positive mass of each reference from the box's centre, at most limit_px away; 0 without mass."""
    box = references.shape[-1]
    positive = np.maximum(references, 0).astype(np.float64)
    mass = positive.sum((1, 2))
    x = np.arange(box) - box // 2
    centre = (
        np.stack([(positive * x[:, None]).sum((1, 2)), (positive * x).sum((1, 2))], 1)
        / np.maximum(mass, 1e-30)[:, None]
    )
    length = np.hypot(*centre.T)
    return centre * np.minimum(1, limit_px / np.maximum(length, 1e-30))[:, None]


def moved(references, shift_px) -> np.ndarray:
    """References (K, box, box) moved by (K, 2) px, y and x, linearly interpolated; zero comes in at the edges."""
    out = np.empty_like(references)
    for k, map_ in enumerate(references):
        out[k] = ndimage.shift(map_, shift_px[k], order=1, mode="constant") if shift_px[k].any() else map_
    return out
