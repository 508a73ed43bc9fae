"""The plan of an iteration with 3D references: orientation grids and the transforms of the maps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from vitreous.engine import orientations
from vitreous.engine.plan import Geometry, Plan
from vitreous.engine.reconstruct3d import reference_transform
from vitreous.engine.schedule import coarse_size, current_size
from vitreous.engine.settings import Settings
from vitreous.model.state import Model, Progress, Sampling
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice, slice_matrices


@dataclass
class Plan3D(Plan):
    """One iteration's plan for one half-set (or all particles): as in 2D, with orientation grids and volumes."""

    symmetry: Symmetry = field(default_factory=lambda: Symmetry("C1"))
    direction_weight: np.ndarray | None = None  # (K, n_dir) prior of class and direction in a global search

    @property
    def local(self) -> bool:
        return self.sampling.sigma_deg > 0

    def slice_matrices(self, matrices, geometry: Geometry) -> np.ndarray:
        """(n, 3, 2) float32: image frequency -> padded samples of the reference, of orientations (n, 3, 3)."""
        return slice_matrices(matrices, geometry.optics.magnification, geometry.ratio * self.lattice.ratio)


def make_plan(
    be,
    model: Model,
    sampling: Sampling,
    progress: Progress,
    settings: Settings,
    symmetry: Symmetry,
    direction_weight=None,
    size: int | None = None,
) -> Plan3D:
    """Plan of the iteration ``progress.iteration``; ``size`` overrides the Fourier box (the last, joined iteration)."""
    size = current_size(model, progress) if size is None else size
    coarse_px = coarse_size_3d(model, sampling, settings, size)
    coarse, fine = orientations.coarse_and_fine(be, sampling, symmetry, model.n_classes)
    lattice = VolumeLattice(model.box, model.padding, size / 2)
    low_cut_px = settings.low_cut_px(model.box * model.pixel_size_A)
    parts = [reference_transform(v, lattice, be.n_threads, low_cut_px=low_cut_px) for v in model.references]
    if direction_weight is None or direction_weight.shape != (model.n_classes, coarse.n_dir):
        direction_weight = even_directions(model, coarse.n_dir)
    return Plan3D(
        model,
        sampling,
        settings,
        progress.iteration,
        size,
        coarse_px,
        coarse,
        fine,
        len(fine.psi_deg) // len(coarse.psi_deg),
        len(fine.shifts_A) // len(coarse.shifts_A),
        lattice,
        np.stack([ft for ft, _ in parts]),
        np.stack([power for _, power in parts]),
        symmetry=symmetry,
        direction_weight=direction_weight,
    )


def resampled(be, plan: Plan3D, sampling: Sampling) -> Plan3D:
    """The plan with another sampling, and the size of the coarse pass that this one can resolve."""
    coarse, fine = orientations.coarse_and_fine(be, sampling, plan.symmetry, plan.model.n_classes)
    direction_weight = plan.direction_weight
    if direction_weight.shape[1] != coarse.n_dir:
        direction_weight = even_directions(plan.model, coarse.n_dir)
    return replace(
        plan,
        sampling=sampling,
        coarse=coarse,
        fine=fine,
        n_child_psi=len(fine.psi_deg) // len(coarse.psi_deg),
        n_child_shift=len(fine.shifts_A) // len(coarse.shifts_A),
        direction_weight=direction_weight,
        coarse_size=coarse_size_3d(plan.model, sampling, plan.settings, plan.size),
        geometries={},
        banks={},
        phases={},
    )


def even_directions(model: Model, n_dir: int) -> np.ndarray:
    """(K, n_dir): each class's weight, in equal parts for the directions."""
    return np.repeat(model.class_weight[:, None] / n_dir, n_dir, 1)


def coarse_size_3d(model: Model, sampling: Sampling, settings: Settings, size: int) -> int:
    """Box in Fourier space of the coarse pass: what the coarse step can resolve, with less margin than in 2D."""
    if settings.strict_highres_A > 0 or sampling.oversampling == 0:
        return coarse_size(model, sampling, settings, size)
    arc_A = sampling.psi_step_deg / 360 * np.pi * settings.particle_diameter_A
    coarse = 2 * int(np.ceil(model.box * model.pixel_size_A / (arc_A / 1.2)))
    return max(2, min(coarse, settings.coarse_size_px or coarse, size))
