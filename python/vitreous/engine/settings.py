"""What the user decided, as the engine needs it: numbers and arrays, no file names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Settings:
    """Choices of a classification run; the defaults are RELION's. Sizes in pixels are those of the model box."""

    particle_diameter_A: float
    mask_edge_px: float = 5.0
    zero_mask: bool = False
    ctf: bool = True
    intact_first_peak: bool = False
    phase_flipped: bool = False
    only_flip_phases: bool = False
    ctf_uncorrected_ref: bool = False  # the references of iteration 1 are as the CTF left them
    norm: bool = False
    scale: bool = False
    adaptive_fraction: float = 0.999
    max_significant: int = 0  # 0 = no limit
    min_sigma2_offset_A2: float = 2.0
    fix_sigma_noise: bool = False
    fix_sigma_offset: bool = False
    fixed_tau2: np.ndarray | None = None  # (S,) in place of the references' power
    minres_map: int = 5
    flatten_solvent: bool = False
    solvent_mask: np.ndarray | None = None  # (box, box)
    center_classes: bool = False
    strict_highres_A: float = 0.0  # 0 = off
    strict_lowres_A: float = 0.0
    coarse_size_px: int = 0  # largest image of the coarse pass; 0 = no limit
    skip_align: bool = False
    skip_rotate: bool = False
    first_iteration_cc: bool = False
    always_cc: bool = False
    one_reference_for_all: bool = False  # K classes start from one map: iteration 1 splits the particles at random
    allow_coarser_sampling: bool = False
    fast_subsets: bool = False
    subset_per_class: int = 100  # particles per class of the first subsets; enough for a map to show shape
    skip_maximize: bool = False
    residual_sums: bool = False  # of the images less the references as they are: for a step along the gradient
    ini_high_A: float = 0.0
    random_seed: int = 0

    def correlation(self, iteration: int) -> bool:
        """Whether this iteration scores by normalised cross-correlation."""
        return self.always_cc or (self.first_iteration_cc and iteration == 1)

    def low_cut_px(self, box_A: float) -> int:
        """The last shell, of references of this box, that no image is compared with; 0 = all are."""
        return round(box_A / self.strict_lowres_A) if self.strict_lowres_A > 0 else 0
