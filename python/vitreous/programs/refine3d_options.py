"""Options of refine3d: RELION's flags of 3D auto-refinement, with RELION's meaning and defaults.

What RELION does with ``--auto_refine --split_random_halves`` is all that refine3d does, so these two change nothing.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.programs.options import again, option
from vitreous.programs.refine3d_refused import REFUSED_REFINE3D
from vitreous.programs.volume_options import VolumeOptions


class Options(VolumeOptions):
    """3D refinement of one map from two independent half-sets."""

    PROGRAM: ClassVar[str] = "refine3d"
    SUMMARY: ClassVar[str] = "3D refinement of one map from two independent half-sets"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous refine3d --i particles.star --ref initial.mrc --o Refine3D/run --sym D2 --particle_diameter 200 \\",
        "                  --ini_high 50 --low_resol_join_halves 40 --ctf --zero_mask --flatten_solvent --norm --scale",
        "vitreous refine3d --continue Refine3D/run_it010_optimiser.star",
    )
    REFUSED: ClassVar[dict[str, str]] = REFUSED_REFINE3D

    # Basic
    low_resol_join_halves: float | None = option(
        None,
        "average the half maps up to this resolution, which keeps them in one orientation; RELION's GUI gives 40",
        group="basic",
        unit="A",
        unset="off",
        gt=0,
        saved=("optimiser", "rlnJoinHalvesUntilThisResolution"),
    )
    solvent_correct_fsc: bool = option(
        False,
        "FSC of the masked half maps, corrected for the mask; needs --solvent_mask",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoSolventFscCorrection"),
    )
    auto_iter_max: int = option(
        999,
        "end after this iteration though it has not converged",
        group="basic",
        unset="999",
        on_continue=True,
        ge=0,
        saved=("optimiser", "rlnNumberOfIterations"),
    )
    force_converge: bool = option(
        False,
        "with --continue: make the last iteration now, with all particles in one map",
        group="basic",
        on_continue=True,
    )

    # Sampling: that of the start; the run refines it
    healpix_order: int = again(
        VolumeOptions,
        "healpix_order",
        "first angular step before oversampling: 0 is 60 degrees, 1 is 30, 2 is 15, 3 is 7.5, each order halves it",
        on_continue=False,
    )
    offset_range: float = again(
        VolumeOptions,
        "offset_range",
        "first search range of the origin",
        on_continue=False,
    )
    offset_step: float = again(
        VolumeOptions,
        "offset_step",
        "first search step of the origin before oversampling",
        on_continue=False,
    )
    auto_local_healpix_order: int = option(
        4,
        "from this --healpix_order on, search around each particle's own angles only",
        group="sampling",
        on_continue=True,
        ge=0,
        saved=("optimiser", "rlnAutoLocalSearchesHealpixOrder"),
    )
    auto_ignore_angles: bool = option(
        False, "refine the sampling though particles still turn", group="sampling", on_continue=True
    )
    auto_resol_angles: bool = option(
        False, "refine the sampling as soon as the resolution needs it", group="sampling", on_continue=True
    )

    # Expert
    auto_refine: bool = option(
        False, "choose sampling and resolution", group="expert", on_continue=True, no_effect="it is always done"
    )
    split_random_halves: bool = option(
        False, "refine two halves apart", group="expert", on_continue=True, no_effect="it is always done"
    )

    @model_validator(mode="after")
    def _check_refinement(self) -> Options:
        if self.continue_from is not None:
            return self
        if self.force_converge:
            raise ValueError("--force_converge: found without --continue, expected with it; add --continue FILE")
        if self.solvent_correct_fsc and not self.solvent_mask:
            todo = "add --solvent_mask FILE, or leave --solvent_correct_fsc out"
            raise ValueError(f"--solvent_correct_fsc: found without --solvent_mask, expected with it; {todo}")
        return self
