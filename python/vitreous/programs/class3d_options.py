"""Options of class3d: RELION's flags of 3D classification, with RELION's meaning and defaults."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.programs.options import again, option
from vitreous.programs.refine3d_refused import REFUSED_CLASS3D
from vitreous.programs.refine_shared_options import ClassificationOptions
from vitreous.programs.volume_options import VolumeOptions


class Options(VolumeOptions, ClassificationOptions):
    """3D classification by expectation-maximisation."""

    PROGRAM: ClassVar[str] = "class3d"
    SUMMARY: ClassVar[str] = "3D classification of particle images"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous class3d --i particles.star --ref initial.mrc --o Class3D/run --K 4 --iter 25 --tau2_fudge 4 \\",
        "                 --particle_diameter 200 --ini_high 60 --ctf --zero_mask --flatten_solvent --norm --scale",
        "vitreous class3d --continue Class3D/run_it010_optimiser.star",
    )
    REFUSED: ClassVar[dict[str, str]] = REFUSED_CLASS3D

    ref: str | None = again(
        VolumeOptions, "ref", "first references: one map for all classes, or a STAR file with rlnReferenceImage"
    )
    tau2_fudge: float = again(VolumeOptions, "tau2_fudge", "weight of the data against the prior; RELION's GUI gives 4")
    fast_subsets: bool = again(
        ClassificationOptions,
        "fast_subsets",
        "iterations 1 to 15 use subsets: 1500 K particles, 4500 K, then 4500 K or 30%",
    )

    # Basic
    class_start: str | None = option(
        None,
        "how classes with one --ref begin: random, or principal: apart along the differences that the particles show at their poses",
        group="basic",
        metavar="HOW",
        unset="principal with --skip_align or --sigma_ang where a difference shows, random otherwise",
    )

    @model_validator(mode="after")
    def _check_class_start(self) -> Options:
        if self.class_start not in (None, "random", "principal"):
            raise ValueError(f"--class_start: found {self.class_start!r}, expected random or principal; give one of them")
        if self.class_start == "principal" and self.firstiter_cc:
            found, expected = "found principal with --firstiter_cc", "expected a reference on the particles' grey scale"
            raise ValueError(f"--class_start: {found}, {expected}; leave --firstiter_cc out and give a map of these particles")
        return self
