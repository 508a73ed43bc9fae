"""Options of initial-model: RELION's flags of its 3D initial model, with the values that RELION's GUI gives them.

What RELION does with ``--grad --denovo_3dref --auto_sampling`` is all that initial-model does, so these change nothing.
"""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import field_validator, model_validator

from vitreous.engine.schedule_gradient import FIRST_STEP, GradientOptions
from vitreous.programs.options import again, option
from vitreous.programs.refine3d_refused import REFUSED_INITIAL
from vitreous.programs.refine_shared_options import ClassificationOptions
from vitreous.programs.volume_options import VolumeOptions

# Of a particle's coarse poses for each class, those that go to the fine pass (RELION's choice).
MOST_SIGNIFICANT = 100


def subset(when: str):
    """The option for the particles of a phase."""
    return option(
        None, f"particles of the {when} iterations", group="basic", unset="by the number of particles", on_continue=True, ge=1
    )


# Finest detail of the first and of the last phase, as parts of the particle's diameter (docs/decisions/0052).
FIRST_DETAIL, LAST_DETAIL = 1 / 5, 1 / 10


def resolution(when: str, part: str):
    """The option for the detail that a phase compares."""
    return option(
        None, f"compare no finer detail in the {when} iterations", group="basic", unit="A",
        unset=f"{part} of the particle diameter", on_continue=True, gt=0,
    )  # fmt: skip


class Options(VolumeOptions):
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
    grad_ini_subset: int | None = subset("first")
    grad_fin_subset: int | None = subset("last")

    grad_ini_resol: float | None = resolution("first", "a fifth")
    grad_fin_resol: float | None = resolution("last", "a tenth")

    # Sampling
    healpix_order: int = again(VolumeOptions, "healpix_order", default=1)
    max_healpix_order: int = option(
        2, "the finest angular step before oversampling that the run chooses", group="sampling", on_continue=True, ge=0, le=7
    )

    # Expert
    maxsig: int | None = again(VolumeOptions, "maxsig", unset=f"{MOST_SIGNIFICANT} for each class")
    minres_map: int = again(VolumeOptions, "minres_map", "the resolution is never taken to be less than this shell")
    pad: int = again(VolumeOptions, "pad", default=1, on_continue=False)
    grad_ini_frac: float = option(
        0.3, "share of the iterations with the first subsets and steps", group="expert", gt=0, lt=1
    )
    grad_fin_frac: float = option(0.2, "share of the iterations with the last subsets", group="expert", gt=0, lt=1)
    grad_em_iters: int = option(
        0, "last iterations by expectation-maximisation of all particles", group="expert", on_continue=True, ge=0
    )
    grad_stepsize: float | None = option(
        None, "length of a step, towards the end", group="expert", unset="0.5", on_continue=True, gt=0, le=1
    )
    grad_stepsize_scheme: str | None = option(
        None, "plain, or N-step to begin with N times that length", group="expert", metavar="SCHEME",
        unset="begin with 0.9", on_continue=True,
    )  # fmt: skip
    tau2_fudge_scheme: str | None = option(
        None, "plain, or N-step to begin with an N-th of --tau2_fudge", group="expert", metavar="SCHEME",
        unset="begin with 1", on_continue=True,
    )  # fmt: skip
    mu: float = option(0.9, "share of the noise spectra and the like that an iteration keeps", group="expert", ge=0, lt=1)
    grad_write_iter: int = option(10, "write the files of every so many iterations", group="expert", on_continue=True, ge=1)
    class_inactivity_threshold: float = option(
        0.0, "a class with less than this part of an even share begins again as a copy of the best; 0 = none does",
        group="expert", on_continue=True, ge=0, le=1,
    )  # fmt: skip
    no_init_blobs: bool = option(False, "begin with averages at random angles instead of blobs", group="expert")
    grad: bool = option(False, "steps along the gradient", group="expert", on_continue=True, no_effect="it is always done")
    denovo_3dref: bool = option(False, "no first map", group="expert", no_effect="it is what no --ref means")
    auto_sampling: bool = option(
        False, "finer angles as the map improves", group="expert", on_continue=True, no_effect="it is always done"
    )

    @field_validator("grad_stepsize_scheme", "tau2_fudge_scheme")
    @classmethod
    def _read_scheme(cls, value: str | None) -> str | None:
        if value in (None, "plain") or (re.fullmatch(r"\d+(\.\d*)?-step", value) and float(value[:-5]) > 0):
            return value
        raise ValueError(f"found {value!r}, expected plain or a positive number with -step, as in 2-step; correct it")

    @model_validator(mode="after")
    def _check_start(self) -> Options:
        if self.firstiter_cc:
            raise ValueError("--firstiter_cc: found with steps along the gradient, expected none; leave it out")
        if self.sigma_deg and not (self.ref or self.continue_from):
            raise ValueError("--sigma_ang: found without --ref, expected a map that the particles' angles are of; leave it out")
        return self

    def gradient(self) -> GradientOptions:
        """What steers the run."""
        step, weight = self.grad_stepsize or GradientOptions.step, self.tau2_fudge
        first_step = _first_of(self.grad_stepsize_scheme, FIRST_STEP / step) * step
        return GradientOptions(
            n_iterations=self.iter,
            first_fraction=self.grad_ini_frac,
            last_fraction=self.grad_fin_frac,
            first_subset=self.grad_ini_subset or 0,
            last_subset=self.grad_fin_subset or 0,
            step=step,
            step_scheme=first_step,
            tau2_fudge=weight,
            tau2_scheme=weight / _first_of(self.tau2_fudge_scheme, weight),
            first_limit_A=self.grad_ini_resol or FIRST_DETAIL * self.particle_diameter,
            last_limit_A=self.grad_fin_resol or LAST_DETAIL * self.particle_diameter,
            mu=self.mu,
            em_iterations=self.grad_em_iters,
            inactivity=self.class_inactivity_threshold,
        )


def _first_of(scheme: str | None, usual: float) -> float:
    """The factor of an "N-step" scheme; 1 of "plain"."""
    if scheme is None:
        return usual
    return 1.0 if scheme == "plain" else float(scheme[:-5])
