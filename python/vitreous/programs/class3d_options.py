"""Options of class3d: RELION's flags of 3D classification, with RELION's meaning and defaults."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import again
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
