"""Options of ``vitreous reconstruct``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.programs.options import SHARED_THREADS, Common, ProgramOptions, again, option

GRIDDING = "the weights are divided out directly, without iterations"
EWALD = "the Ewald sphere is taken as flat, which matters beyond about 2 A in large particles; use relion_reconstruct"
HELIX = "helical symmetry is not in vitreous yet: reconstruct with --sym C1, or use relion_reconstruct"
OTHER = "it is not in vitreous: leave it out, or use relion_reconstruct"


class Options(ProgramOptions):
    """A map from particles with known orientations."""

    PROGRAM: ClassVar[str] = "reconstruct"
    SHARED: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = "a map from particle images with known orientations"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous reconstruct --i run_data.star --o map.mrc --ctf --sym D7",
        "vitreous reconstruct --i run_data.star --o Reconstruct/map.mrc --ctf --half_maps",
        "vitreous reconstruct --i run_data.star --o half1.mrc --ctf --subset 1 --class 2 --maxres 6",
    )
    REFUSED: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            [
                "ewald",
                "mask_diameter",
                "width_mask_edge",
                "reverse_curvature",
                "newbox",
                "sectors",
                "skip_mask",
                "skip_weighting",
            ],
            EWALD,
        ),
        **dict.fromkeys(["nr_helical_asu", "helical_rise", "helical_twist"], HELIX),
        **dict.fromkeys(
            [
                "3d_rot",
                "reconstruct_ctf",
                "ctf2",
                "read_weights",
                "external_reconstruct",
                "reconstruct_noise",
                "normalised_subtomo",
                "skip_subtomo_multi",
                "ctf3d_not_squared",
                "write_debug_output",
                "debug",
                "debug_ori_size",
                "debug_size",
            ],
            OTHER,
        ),
        "NN": "nearest-neighbour interpolation loses resolution and saves no time: leave it out",
        "refdim": "2D averages come from vitreous class2d --skip_align --iter 1: leave it out",
    }

    particles: str | None = option(
        None, "particles with orientations", group="input", flag="i", metavar="STAR", unset="required"
    )
    img: str | None = option(
        None, "folder that image names are relative to", group="input", metavar="FOLDER", unset="found"
    )
    subset: int | None = option(
        None, "1 or 2: particles of this half (rlnRandomSubset) alone", group="input", unset="both", ge=1, le=2
    )
    only_class: int | None = option(
        None, "particles of this class (rlnClassNumber) alone", group="input", flag="class", unset="all classes", ge=1
    )
    subtract: str | None = option(
        None, "projections of this map are taken off the images first", group="input", metavar="MRC", unset="nothing"
    )
    fsc: str | None = option(
        None, "regularise with the signal that this FSC promises", group="input", metavar="STAR", unset="unregularised"
    )
    output: str = option("reconstruction.mrc", "the map", group="output", flag="o", metavar="FILE")
    half_maps: bool = option(
        False,
        "also a map of each half, and their FSC; halves are drawn where the particles have none",
        group="output",
    )
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    sym: str = option("C1", "point group: Cn, Dn, T, O, I1 to I4", group="basic")
    ctf: bool = option(False, "correct for the contrast transfer", group="basic")
    maxres: float | None = option(
        None, "finest detail, beyond which the map is empty", group="basic", unit="A", unset="Nyquist", gt=0
    )
    angpix: float | None = option(
        None, "pixel of the map", group="basic", unit="A", unset="that of the first optics group", gt=0
    )
    pad: float = option(2.0, "padding of the transform; 1 takes an eighth of the memory", group="basic", ge=1, le=4)
    ctf_intact_first_peak: bool = option(False, "no correction before the CTF's first peak", group="expert")
    ctf_phase_flipped: bool = option(False, "the images' phases were flipped", group="expert")
    only_flip_phases: bool = option(False, "correct signs, not amplitudes", group="expert")
    fom_weighting: bool = option(False, "weight particles with rlnParticleFigureOfMerit", group="expert")
    angular_error: float = option(0.0, "random error added to each angle", group="expert", unit="deg", ge=0)
    shift_error: float = option(0.0, "random error added to each origin", group="expert", unit="A", ge=0)
    random_seed: int = option(1, "seed of halves and random errors", group="expert", ge=0)
    max_bad_fraction: float = option(
        0.01, "share of particles that may be unusable before the run stops", group="expert", ge=0, le=1
    )
    skip_gridding: bool = option(False, "as always here", group="expert", no_effect=GRIDDING)
    dont_skip_gridding: bool = option(False, "iterative gridding", group="expert", no_effect=GRIDDING)
    iter: int = option(10, "gridding iterations", group="expert", no_effect=GRIDDING, ge=0)
    blob_r: float = option(1.9, "gridding kernel", group="expert", no_effect=GRIDDING)
    blob_m: float = option(0.0, "gridding kernel", group="expert", no_effect=GRIDDING)
    blob_a: float = option(15.0, "gridding kernel", group="expert", no_effect=GRIDDING)
    j: int = again(Common, "j", SHARED_THREADS)

    @model_validator(mode="after")
    def _check_together(self) -> Options:
        if not self.particles:
            raise ValueError("--i: found nothing, expected a STAR file of particles; give --i run_data.star")
        if self.half_maps and self.subset:
            raise ValueError("--half_maps: found together with --subset, expected one of them; leave --subset out")
        if self.ctf_phase_flipped and self.only_flip_phases:
            both = "--only_flip_phases: found together with --ctf_phase_flipped"
            raise ValueError(f"{both}, expected one of them; leave one out")
        for flag in ("ctf_intact_first_peak", "ctf_phase_flipped", "only_flip_phases"):
            if getattr(self, flag) and not self.ctf:
                raise ValueError(f"--{flag}: found without --ctf, expected with it; add --ctf, or leave --{flag} out")
        return self
