"""Options of class2d: RELION's flags of 2D classification, with RELION's meaning and defaults.

A RELION command line works with the program name changed. Options that only steer how RELION uses its machine are
accepted and say why they have no effect; those of methods that this program lacks stop it, with what to do instead.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.engine.gradient_settings import FIRST_2D, LAST_2D, GradientOptions
from vitreous.programs.class2d_refused import REFUSED
from vitreous.programs.gradient_options import GradientFlags
from vitreous.programs.options import again, option
from vitreous.programs.refine_shared_options import ClassificationOptions, RefinementOptions

# Of a particle's coarse poses for each class, those that go to the fine pass with --grad (RELION's choice).
MOST_SIGNIFICANT = 5
# What --grad means where the user says nothing (RELION's choices).
WITH_GRADIENT = {"iter": 200, "tau2_fudge": 4.0}
STEP = 0.3
# What a mini-batch cannot be used for, and why.
NOT_WITH_GRADIENT = {
    "firstiter_cc": "a step needs noise spectra",
    "always_cc": "a step needs noise spectra",
    "fast_subsets": "mini-batches are its subsets",
    "skip_maximize": "a step is a maximisation",
    "ctf_uncorrected_ref": "a step compares references with images as they are",
}


class Options(GradientFlags, RefinementOptions, ClassificationOptions):
    """2D classification by expectation-maximisation, or by steps along the gradient."""

    PROGRAM: ClassVar[str] = "class2d"
    SUMMARY: ClassVar[str] = "2D classification of particle images"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous class2d --i particles.star --o Class2D/run --K 50 --iter 25 --tau2_fudge 2 \\",
        "                 --particle_diameter 200 --ctf --zero_mask --flatten_solvent --norm --scale --center_classes",
        "vitreous class2d --i particles.star --o Class2D/run --K 50 --grad --class_inactivity_threshold 0.1 ...",
        "vitreous class2d --continue Class2D/run_it010_optimiser.star",
    )
    REFUSED: ClassVar[dict[str, str]] = REFUSED

    # Input
    ref: str | None = option(
        None,
        "first references: an image, a stack, or a STAR file with rlnReferenceImage",
        group="input",
        metavar="FILE",
        unset="averages of random particles",
    )

    solvent_mask: str | None = again(RefinementOptions, "solvent_mask", unset="a circle of the particle diameter")

    # Basic
    iter: int = again(ClassificationOptions, "iter", unset="50; with --grad 200")
    tau2_fudge: float = again(
        RefinementOptions, "tau2_fudge", "weight of the data against the prior; RELION's GUI gives 2", unset="1; with --grad 4"
    )
    center_classes: bool = option(
        False,
        "centre the references on their mass after each iteration",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoCenterClasses"),
    )

    # Sampling
    psi_step: float = option(
        10.0,
        "in-plane angular step before oversampling",
        group="sampling",
        unit="deg",
        unset="10",
        on_continue=True,
        gt=0,
        le=360,
        saved=("sampling", "rlnPsiStep"),
    )
    skip_rotate: bool = option(
        False,
        "keep angles, search offsets and classes",
        group="sampling",
        on_continue=True,
        saved=("optimiser", "rlnDoSkipRotate"),
    )
    allow_coarser_sampling: bool = option(
        False, "search more coarsely while the estimated accuracy is low", group="sampling", on_continue=True
    )
    sym: str = option("C1", "point group; in 2D only C1", group="sampling")
    bimodal_psi: bool = option(
        False,
        "psi prior also at 180 degrees",
        group="sampling",
        on_continue=True,
        no_effect="there is no prior on psi without a helix",
    )

    # Expert
    maxsig: int | None = again(
        RefinementOptions, "maxsig", unset=f"no limit; with --grad {MOST_SIGNIFICANT} for each class"
    )
    grad_stepsize: float | None = again(GradientFlags, "grad_stepsize", unset=f"{STEP}")
    always_cc: bool = option(False, "cross-correlation in all iterations", group="expert", on_continue=True)
    no_init_blobs: bool = option(
        False, "start from averages of random particles instead of blobs on them", group="expert"
    )
    skip_maximize: bool = option(
        False, "stop after the expectation: only a data file", group="expert", on_continue=True
    )
    abort_at_resolution: float | None = option(
        None,
        "stop when this resolution is reached",
        group="expert",
        unit="A",
        unset="off",
        on_continue=True,
        gt=0,
    )

    @model_validator(mode="after")
    def _check_2d(self) -> Options:
        if self.sym.upper() != "C1":
            raise ValueError(f"--sym: found {self.sym!r}, expected C1, as 2D classes have no symmetry; leave --sym out")
        if self.ctf_uncorrected_ref and not self.ref and self.continue_from is None:
            with_ = "expected with it, as references made here are corrected"
            raise ValueError(f"--ctf_uncorrected_ref: found without --ref, {with_}; leave --ctf_uncorrected_ref out")
        return self

    @model_validator(mode="after")
    def _check_gradient(self) -> Options:
        if self.grad:
            for name, why in NOT_WITH_GRADIENT.items():
                if getattr(self, name):
                    raise ValueError(f"--{name}: found with --grad, expected without, as {why}; leave one of them out")
        elif self.continue_from is None:  # a run that goes on knows whether it is one with --grad
            self.check_flags_without_gradient(ValueError)
        return self

    def check_flags_without_gradient(self, error: type[Exception]) -> None:
        """Raise ``error`` where a flag of --grad is given and the run is none with --grad."""
        for name, field in GradientFlags.model_fields.items():
            if not self.grad and getattr(self, name) != field.default:
                raise error(f"--{name}: found without --grad, expected with it; add --grad, or leave --{name} out")

    def with_gradient_defaults(self) -> Options:
        """The options with what --grad means where the user said nothing."""
        left = {name: value for name, value in WITH_GRADIENT.items() if self.origin(name) == "default"}
        return self.derive("with --grad", **left) if self.grad and left else self

    def gradient(self) -> GradientOptions:
        """What steers a run with --grad."""
        return self.steering(GradientOptions(step=STEP, first_size=FIRST_2D, last_size=LAST_2D))
