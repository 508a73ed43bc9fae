"""Options of initial-model: RELION's flags of its 3D initial model, with the values that RELION's GUI gives them.

What RELION does with ``--grad --denovo_3dref --auto_sampling`` is all that initial-model does, so these change nothing.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.engine.gradient_settings import GradientOptions
from vitreous.programs.gradient_options import GradientFlags
from vitreous.programs.options import again, option
from vitreous.programs.refine3d_refused import REFUSED_INITIAL
from vitreous.programs.refine_shared_options import ClassificationOptions
from vitreous.programs.volume_options import VolumeOptions

# Of a particle's coarse poses for each class, those that go to the fine pass (RELION's choice).
MOST_SIGNIFICANT = 100
# Finest detail of the first and of the last phase, as parts of the particle's diameter (docs/decisions/0052).
FIRST_DETAIL, LAST_DETAIL = 1 / 5, 1 / 10


class Options(GradientFlags, VolumeOptions):
    """First maps from nothing but the particles, by steps along the gradient of their likelihood."""

    PROGRAM: ClassVar[str] = "initial-model"
    SUMMARY: ClassVar[str] = "3D initial models from particle images alone"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous initial-model --i particles.star --o InitialModel/run --particle_diameter 200 --sym D2 --ctf \\",
        "                       --zero_mask --flatten_solvent",
        "vitreous initial-model --continue InitialModel/run_it100_optimiser.star",
    )
    REFUSED: ClassVar[dict[str, str]] = REFUSED_INITIAL
    NEEDS_REF: ClassVar[bool] = False

    # Input
    ref: str | None = again(VolumeOptions, "ref", "begin with this map", unset="blobs at random places")

    # Basic
    K: int = again(ClassificationOptions, "K")
    iter: int = again(ClassificationOptions, "iter", "number of iterations", default=200, unset="200", on_continue=False)
    sym: str = again(
        VolumeOptions, "sym", "point group of the molecule: its axes are found in the last map, which is then averaged",
        saved=None,  # the files hold that of the search
    )
    tau2_fudge: float = again(
        VolumeOptions, "tau2_fudge", "weight of the data against the prior, towards the end", default=4.0, saved=None
    )
    run_in_sym: bool = option(
        False, "impose --sym on every iteration, with the axes where RELION has them, not on the last map", group="basic"
    )
    grad_ini_resol: float | None = again(GradientFlags, "grad_ini_resol", unset="a fifth of the particle diameter")
    grad_fin_resol: float | None = again(GradientFlags, "grad_fin_resol", unset="a tenth of the particle diameter")

    starts: int = option(
        3, "first maps to try: the run goes on from those that explain the particles best after the first phase",
        group="basic", ge=1, on_continue=False,
    )  # fmt: skip

    # Sampling
    healpix_order: int = again(VolumeOptions, "healpix_order", default=1)
    max_healpix_order: int = option(
        2, "the finest angular step before oversampling that the run chooses", group="sampling", on_continue=True, ge=0, le=7
    )

    # Expert
    maxsig: int | None = again(VolumeOptions, "maxsig", unset=f"{MOST_SIGNIFICANT} for each class")
    minres_map: int = again(VolumeOptions, "minres_map", "the resolution is never taken to be less than this shell")
    pad: int = again(VolumeOptions, "pad", default=1, on_continue=False)
    keep_classes: bool = option(
        False, "leave classes as the steps along the gradient found them; else they may become states of one map",
        group="expert", on_continue=True,
    )  # fmt: skip
    no_init_blobs: bool = option(False, "begin with averages at random angles instead of blobs", group="expert")
    grad: bool = again(
        GradientFlags, "grad", "steps along the gradient", group="expert", on_continue=True, saved=None, no_effect="it is always done"
    )
    denovo_3dref: bool = option(False, "no first map", group="expert", no_effect="it is what no --ref means")
    auto_sampling: bool = option(
        False, "finer angles as the map improves", group="expert", on_continue=True, no_effect="it is always done"
    )

    @model_validator(mode="after")
    def _check_start(self) -> Options:
        if self.firstiter_cc:
            raise ValueError("--firstiter_cc: found with steps along the gradient, expected none; leave it out")
        if self.sigma_deg and not (self.ref or self.continue_from):
            raise ValueError("--sigma_ang: found without --ref, expected a map that the particles' angles are of; leave it out")
        return self

    def gradient(self) -> GradientOptions:
        """What steers the run."""
        first, last = FIRST_DETAIL * self.particle_diameter, LAST_DETAIL * self.particle_diameter
        return self.steering(GradientOptions(first_limit_A=first, last_limit_A=last))
