"""Options of runs by steps along the gradient: RELION's flags of --grad, which initial-model and class2d share."""

from __future__ import annotations

import re
from dataclasses import replace

from pydantic import field_validator

from vitreous.engine.gradient_settings import FIRST_STEP, GradientOptions
from vitreous.programs.options import ProgramOptions, option


def subset(when: str):
    """The option for the particles of a phase."""
    return option(
        None, f"particles of the {when} iterations", group="basic", unset="by the number of particles", on_continue=True, ge=1
    )


def resolution(when: str):
    """The option for the detail that a phase compares."""
    return option(
        None, f"compare no finer detail in the {when} iterations", group="basic", unit="A", unset="no limit", on_continue=True, gt=0
    )


class GradientFlags(ProgramOptions):
    """What RELION's users may say about the steps."""

    # Basic
    grad: bool = option(
        False, "steps along the gradient, from mini-batches of the particles", group="basic",
        saved=("optimiser", "rlnDoGradientRefine"),
    )  # fmt: skip
    grad_ini_subset: int | None = subset("first")
    grad_fin_subset: int | None = subset("last")
    grad_ini_resol: float | None = resolution("first")
    grad_fin_resol: float | None = resolution("last")
    class_inactivity_threshold: float = option(
        0.0, "a class with less than this part of an even share begins again as a copy of the best; 0 = none does",
        group="basic", on_continue=True, ge=0, le=1,
    )  # fmt: skip

    # Expert
    grad_write_iter: int = option(10, "write the files of every so many iterations", group="expert", on_continue=True, ge=1)
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

    @field_validator("grad_stepsize_scheme", "tau2_fudge_scheme")
    @classmethod
    def _read_scheme(cls, value: str | None) -> str | None:
        if value in (None, "plain") or (re.fullmatch(r"\d+(\.\d*)?-step", value) and float(value[:-5]) > 0):
            return value
        raise ValueError(f"found {value!r}, expected plain or a positive number with -step, as in 2-step; correct it")

    def steering(self, usual: GradientOptions) -> GradientOptions:
        """What steers the run; ``usual`` has the program's choices where the user made none."""
        step, weight = self.grad_stepsize or usual.step, self.tau2_fudge
        return replace(
            usual,
            n_iterations=self.iter,
            first_fraction=self.grad_ini_frac,
            last_fraction=self.grad_fin_frac,
            first_subset=self.grad_ini_subset or 0,
            last_subset=self.grad_fin_subset or 0,
            step=step,
            step_scheme=_first_of(self.grad_stepsize_scheme, FIRST_STEP / step) * step,
            tau2_fudge=weight,
            tau2_scheme=weight / _first_of(self.tau2_fudge_scheme, weight),
            first_limit_A=self.grad_ini_resol or usual.first_limit_A,
            last_limit_A=self.grad_fin_resol or usual.last_limit_A,
            mu=self.mu,
            em_iterations=self.grad_em_iters,
            inactivity=self.class_inactivity_threshold,
        )


def _first_of(scheme: str | None, usual: float) -> float:
    """The factor of an "N-step" scheme; 1 of "plain"."""
    if scheme is None:
        return usual
    return 1.0 if scheme == "plain" else float(scheme[:-5])
