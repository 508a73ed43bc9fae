"""What a classification or refinement knows between two iterations: the references, the noise, the sampling, the counters.

The RELION-style STAR files of an iteration hold all of it (io/run_files.py), so a run continues from them alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Model:
    """References and statistics. K classes, S = box//2 + 1 shells, G optics groups; shells are those of the unpadded box."""

    pixel_size_A: float
    references: np.ndarray  # (K, box, box) float32, or (K, box, box, box); real space, centre at box//2
    class_weight: np.ndarray  # (K,) sums to 1
    sigma2_noise: np.ndarray  # (G, S) variance per complex component
    tau2: np.ndarray  # (K, S) prior variance per complex component, without tau2_fudge
    data_vs_prior: np.ndarray  # (K, S) SSNR, with tau2_fudge
    sigma2_reference: np.ndarray  # (K, S) variance of the reconstruction
    fourier_coverage: np.ndarray  # (K, S) fraction 0..1
    class_offset_A: np.ndarray  # (K, 2) mean offset, the centre of the offset prior
    accuracy_rotation_deg: np.ndarray  # (K,) 999 = not estimated
    accuracy_shift_A: np.ndarray  # (K,)
    class_resolution_A: np.ndarray  # (K,)
    class_coverage: np.ndarray  # (K,) overall Fourier completeness
    group_names: list[str] = field(default_factory=list)
    group_counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    group_scale: np.ndarray = field(default_factory=lambda: np.zeros(0))  # mean 1
    sigma_offset_A: float = 10.0
    average_norm: float = 1.0
    average_p_max: float = 0.0
    log_likelihood: float = 0.0
    current_resolution_A: float = np.inf
    current_size_px: int = 0
    tau2_fudge: float = 1.0
    padding: float = 2.0

    @property
    def n_classes(self) -> int:
        return len(self.references)

    @property
    def box(self) -> int:
        return self.references.shape[-1]

    @property
    def n_shells(self) -> int:
        return self.box // 2 + 1


@dataclass
class Sampling:
    """Coarse sampling of orientations and translations; offsets in Angstrom."""

    psi_step_deg: float
    offset_range_A: float
    offset_step_A: float
    oversampling: int = 1
    perturb_factor: float = 0.5
    perturb: float = 0.0  # this iteration's random perturbation, in steps
    psi_step_original_deg: float = -1.0
    offset_range_original_A: float = -1.0
    offset_step_original_A: float = -1.0
    healpix_order: int = -1  # of the coarse directions; -1: no directions are searched (2D)
    sigma_deg: float = 0.0  # width of the prior around each particle's own orientation; 0: the whole sphere is searched


@dataclass
class Progress:
    """Counters and changes that decide how a run goes on."""

    iteration: int = 0
    n_iterations: int = 0
    random_seed: int = 0
    increment_px: int = 10
    n_iter_without_gain: int = 0
    n_iter_without_change: int = 0
    best_resolution_inv_A: float = 0.0
    change_angle_deg: float = 999.0
    change_offset_A: float = 999.0
    change_class: float = 9999999.0
    smallest_change_angle_deg: float = 999.0
    smallest_change_offset_A: float = 999.0
    smallest_change_class: float = 9999999.0
    has_converged: bool = False
    high_fsc_at_limit: bool = False
    accuracy_rotation_deg: float = 999.0
    accuracy_shift_A: float = 999.0
    fine_enough: bool = False  # the sampling need not be refined any more (auto-refinement)


@dataclass
class Moments:
    """Running means of a gradient-driven run, on the padded lattice of the whole box (engine/gradient.py).

    Attributes
    ----------
    first : (2, K, ...) complex64      of the gradient, one for each pseudo-half-set; all zero before the first step
    second : (K, ...) float32          of how much the half-sets' gradients differ, relative to their mean
    """

    first: np.ndarray
    second: np.ndarray


@dataclass
class Refinement:
    """All that an iteration with 3D references starts from and leaves behind."""

    dataset: object  # model.dataset.Dataset
    models: list[Model]  # one per half-set (gold standard), or one for all particles; references (K, box, box, box)
    sampling: Sampling
    progress: Progress
    symmetry: str = "C1"
    direction_weights: list = field(default_factory=list)  # per model (K, n_dir), sums to 1; None: uniform
    directions_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # (n_dir, 2) rot, tilt, unperturbed
    # (n, 2) RELION's directions of the same order and point group, for the files; empty: they are the same
    relion_directions_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    fsc: np.ndarray | None = None  # (S,) of the half-sets
    moments: Moments | None = None  # of a gradient-driven run
    unfiltered: list = field(default_factory=list)  # the two unregularised half maps, in the last iteration
    before: object | None = None  # the dataset that the last iteration began with, to tell what it changed
    seconds: dict = field(default_factory=dict)
    n_significant: float = 0.0
    coarse_size_px: int = 0
