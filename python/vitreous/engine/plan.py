"""What all particles of an iteration share: sampling grids, slices of the references, priors; and where their sums go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vitreous import kernels
from vitreous.engine.reconstruct import Lattice, reference_transform
from vitreous.engine.schedule import coarse_size, current_size, limited_size
from vitreous.engine.settings import Settings
from vitreous.model import sampling as grids
from vitreous.model.band import Band, round_half_up
from vitreous.model.masks import soft_circle
from vitreous.model.optics import OpticsGroup
from vitreous.model.state import Model, Progress, Sampling


@dataclass(frozen=True)
class Grid:
    """Poses and shifts of one pass. Pose p is row p, or row p - n_row turned by 180 degrees where the grid is half."""

    psi_deg: np.ndarray  # (n_psi,) all in-plane angles
    shifts_A: np.ndarray  # (n_shift, 2)
    half: bool  # the second half of psi_deg is the first plus 180 degrees

    @property
    def n_row_psi(self) -> int:
        return len(self.psi_deg) // 2 if self.half else len(self.psi_deg)

    def pose_of(self, i_class, i_psi, n_classes: int):
        """Pose number of a class and an in-plane angle."""
        turned, row = np.divmod(i_psi, self.n_row_psi)
        return turned * n_classes * self.n_row_psi + i_class * self.n_row_psi + row

    def class_and_psi(self, pose, n_classes: int):
        """Class and in-plane angle in degrees of pose numbers."""
        turned, row = np.divmod(pose, n_classes * self.n_row_psi)
        i_class, i_psi = np.divmod(row, self.n_row_psi)
        return i_class, self.psi_deg[turned * self.n_row_psi + i_psi]


def coarse_and_fine(sampling: Sampling) -> tuple[Grid, Grid, int, int]:
    """The two grids, perturbed, and how many in-plane angles and shifts a coarse one has as children."""
    psi, step = grids.psi_grid(sampling.psi_step_deg), grids.adjusted_step_deg(sampling.psi_step_deg)
    shifts = grids.shift_grid(sampling.offset_range_A, sampling.offset_step_A)
    turn, move = sampling.perturb * step, sampling.perturb * sampling.offset_step_A
    fine_psi = grids.psi_children(psi, step, sampling.oversampling)
    fine_shifts = grids.shift_children(shifts, sampling.offset_step_A, sampling.oversampling)
    half = len(psi) % 2 == 0
    coarse = Grid(psi + turn, shifts + move, half)
    fine = Grid(fine_psi.ravel() + turn, fine_shifts.reshape(-1, 2) + move, half)
    return coarse, fine, fine_psi.size // len(psi), len(fine.shifts_A) // len(shifts)


@dataclass(frozen=True)
class Geometry:
    """Where the images of an optics group sit relative to the model's box: pixels, shells and masks of one image size."""

    optics: OpticsGroup
    ratio: float  # model shells per image shell
    band: Band  # out to the current size
    n_coarse: int  # prefix of the coarse pass
    n_fine: int  # prefix of the fine pass; shorter than the band with a strict limit of resolution
    shell: np.ndarray  # (n_k,) int32 model shell of each band pixel
    shell_of: np.ndarray  # (box, box//2 + 1) int32 model shell of every half-plane pixel, -1 = not counted
    counts: np.ndarray  # (S,) pixels in each shell
    mask: np.ndarray  # (box, box) float32 particle mask

    @property
    def key(self) -> tuple:
        return (self.optics.box, self.optics.pixel_size_A, self.optics.magnification)

    @property
    def gain(self) -> float:
        """Factor from the model's slices to this geometry's: FFT / box^2 is a mean over the box's area."""
        return self.ratio**2


def half_plane_shells(box: int, ratio: float, n_shells: int) -> np.ndarray:
    """(box, box//2 + 1) int32: model shell of each half-plane pixel; -1 for redundant ones and beyond the last shell."""
    ky = np.arange(box)
    ky = np.where(ky > box // 2, ky - box, ky)
    kx, ky = np.broadcast_arrays(np.arange(box // 2 + 1)[None, :], ky[:, None])
    shell = round_half_up(np.hypot(kx, ky) * ratio)
    return np.where(((kx > 0) | (ky >= 0)) & (shell < n_shells), shell, -1).astype(np.int32)


def make_geometry(optics: OpticsGroup, model: Model, settings: Settings, size: int, coarse: int) -> Geometry:
    """Geometry of an optics group at the model's current and coarse sizes, px of the model."""
    ratio = model.box * model.pixel_size_A / (optics.box * optics.pixel_size_A)
    image_size = lambda model_size: min(optics.box, 2 * math.ceil(0.5 * model_size / ratio - 1e-9))
    band = Band(optics.box, image_size(size) / 2)
    n_coarse = band.n_within(image_size(coarse) / 2)
    n_fine = n_coarse if settings.strict_highres_A > 0 else len(band)
    shell = np.minimum(round_half_up(np.sqrt(band.k2) * ratio), model.n_shells - 1)
    shell_of = half_plane_shells(optics.box, ratio, model.n_shells)
    counts = np.bincount(shell_of[shell_of >= 0], minlength=model.n_shells)
    mask = soft_circle(optics.box, settings.particle_diameter_A / (2 * optics.pixel_size_A), settings.mask_edge_px)
    return Geometry(optics, ratio, band, n_coarse, n_fine, shell, shell_of, counts, mask)


@dataclass(frozen=True)
class Bank:
    """Slices of all classes at the row angles of a grid, for one geometry."""

    slices: np.ndarray  # (n_row, 2, n_k) float32
    row_class: np.ndarray  # (n_row,) int32
    matrix: np.ndarray  # (n_row, 2, 2) float32
    pose_prior: np.ndarray  # (n_pose,) float32


def slice_matrices(psi_deg, geometry: Geometry, lattice: Lattice) -> np.ndarray:
    """(n, 2, 2) float32: image frequency -> padded samples of the reference, for in-plane angles."""
    angle = np.radians(psi_deg)
    rotation = np.stack(
        [np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2
    )
    scale = geometry.ratio * lattice.ratio
    return np.ascontiguousarray(scale * rotation @ np.array(geometry.optics.magnification), np.float32)


def make_bank(be, reference_ft, lattice: Lattice, geometry: Geometry, grid: Grid, n_k: int, log_class_prior) -> Bank:
    """Cut the slices of every class at the rows of a grid."""
    n_classes = len(reference_ft)
    matrix = np.tile(slice_matrices(grid.psi_deg[: grid.n_row_psi], geometry, lattice), (n_classes, 1, 1))
    row_class = np.repeat(np.arange(n_classes, dtype=np.int32), grid.n_row_psi)
    kx, ky = geometry.band.k_float32(n_k)
    slices = kernels.project(be, reference_ft, row_class, matrix, kx, ky, lattice.reach)
    if geometry.gain != 1:
        slices *= np.float32(geometry.gain)
    prior = np.repeat(log_class_prior - math.log(len(grid.psi_deg)), grid.n_row_psi)
    return Bank(slices, row_class, matrix, np.tile(prior, 2 if grid.half else 1).astype(np.float32))


def log_class_prior(class_weight) -> np.ndarray:
    """(K,) float64; -inf for empty classes, which are not sampled."""
    weight = np.asarray(class_weight, float)
    return np.where(weight > 0, np.log(np.where(weight > 0, weight, 1)), -np.inf)


@dataclass
class Plan:
    """One iteration's grids, sizes and slices. Banks of further geometries are made when first asked for."""

    model: Model
    sampling: Sampling
    settings: Settings
    iteration: int
    size: int
    coarse_size: int
    coarse: Grid
    fine: Grid
    n_child_psi: int
    n_child_shift: int
    lattice: Lattice
    reference_ft: np.ndarray
    reference_power: np.ndarray  # (K, S)
    banks: dict = field(default_factory=dict)
    geometries: dict = field(default_factory=dict)
    phases: dict = field(default_factory=dict)

    @property
    def tau2(self) -> np.ndarray:
        """(K, S) prior variance: the power of the references, or what the user gave in its place."""
        fixed = self.settings.fixed_tau2
        return self.reference_power if fixed is None else np.broadcast_to(fixed, self.reference_power.shape)

    @property
    def correlation(self) -> bool:
        return self.settings.correlation(self.iteration)

    @property
    def pose_children(self) -> np.ndarray:
        """(n_pose_coarse, n_child_psi) int32."""
        k = self.model.n_classes
        coarse = np.arange(k * len(self.coarse.psi_deg))
        turned, row = np.divmod(coarse, k * self.coarse.n_row_psi)
        i_class, i_psi = np.divmod(row, self.coarse.n_row_psi)
        i_psi = i_psi + turned * self.coarse.n_row_psi
        fine_psi = i_psi[:, None] * self.n_child_psi + np.arange(self.n_child_psi)
        return self.fine.pose_of(i_class[:, None], fine_psi, k).astype(np.int32)

    def geometry(self, optics: OpticsGroup) -> Geometry:
        key = (optics.box, optics.pixel_size_A, optics.magnification)
        if key not in self.geometries:
            self.geometries[key] = make_geometry(optics, self.model, self.settings, self.size, self.coarse_size)
        return self.geometries[key]

    def bank(self, be, geometry: Geometry, which: str) -> Bank:
        """The "coarse" or the "fine" bank of a geometry."""
        key = (*geometry.key, which)
        if key not in self.banks:
            grid, n_k = (self.coarse, geometry.n_coarse) if which == "coarse" else (self.fine, len(geometry.band))
            prior = log_class_prior(self.model.class_weight)
            self.banks[key] = make_bank(be, self.reference_ft, self.lattice, geometry, grid, n_k, prior)
        return self.banks[key]

    def shift_phases(self, be, geometry: Geometry, which: str):
        """(n_shift, 2, n_k) phases and (n_shift, 2) shifts in pixels of a geometry."""
        key = (*geometry.key, which)
        if key not in self.phases:
            grid, n_k = (self.coarse, geometry.n_coarse) if which == "coarse" else (self.fine, len(geometry.band))
            shifts_px = np.ascontiguousarray(grid.shifts_A / geometry.optics.pixel_size_A, np.float32)
            kx, ky = geometry.band.k_float32(n_k)
            self.phases[key] = kernels.shift_phases(be, kx, ky, shifts_px, geometry.optics.box), shifts_px
        return self.phases[key]


def make_plan(be, model: Model, sampling: Sampling, progress: Progress, settings: Settings, limit_A: float = 0.0) -> Plan:
    """Plan of the iteration ``progress.iteration``; ``sampling.perturb`` is already that iteration's.

    Parameters
    ----------
    limit_A : finest detail that is compared; 0 = what the references' resolution lets expect
    """
    size = limited_size(current_size(model, progress), model, limit_A)
    coarse_px = coarse_size(model, sampling, settings, size)
    coarse, fine, n_child_psi, n_child_shift = coarse_and_fine(sampling)
    lattice = Lattice(model.box, model.padding, size / 2)
    low_cut_px = settings.low_cut_px(model.box * model.pixel_size_A)
    reference_ft, power = reference_transform(model.references, lattice, be.n_threads, low_cut_px)
    return Plan(
        model,
        sampling,
        settings,
        progress.iteration,
        size,
        coarse_px,
        coarse,
        fine,
        n_child_psi,
        n_child_shift,
        lattice,
        reference_ft,
        power,
    )
