"""Options of ``vitreous project``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.programs.options import Common, ProgramOptions, again, option

SIMULATE = "vitreous simulate makes particles with known truth; leave it out"


class Options(ProgramOptions):
    """Projections of a map."""

    PROGRAM: ClassVar[str] = "project"
    SUMMARY: ClassVar[str] = "projections of a map, as particles see it or in given directions"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous project --i map.mrc --o proj --ang run_data.star --ctf",
        "vitreous project --i map.mrc --o subtracted --ang run_data.star --ctf --subtract_exp --mask mask.mrc",
        "vitreous project --i map.mrc --o views --nr_uniform 500 --sigma_offset 3 --add_noise --white_noise 2",
        "vitreous project --i map.mrc --o side --tilt 90",
    )
    REFUSED: ClassVar[dict[str, str]] = {
        "simulate": SIMULATE,
        "adjust_simulation_SNR": SIMULATE,
        "ang_simulate": SIMULATE,
        "3d_rot": "rotations in 3D are those of vitreous image-handler; leave it out",
        "zoff": "a shift along the beam changes no projection: leave it out",
        "NN": "nearest-neighbour interpolation loses resolution and saves no time: leave it out",
    }

    map: str | None = option(
        None, "map to project, white on dark", group="input", flag="i", metavar="MRC", unset="required"
    )
    ang: str | None = option(
        None,
        "particles whose orientations, origins and CTF are used",
        group="input",
        metavar="STAR",
        unset="one projection",
    )
    mask: str | None = option(None, "the map is multiplied by it first", group="input", metavar="MRC", unset="none")
    output: str = option("proj", "start of the output names", group="output", flag="o", metavar="ROOT")
    float16: bool = option(False, "write the stack in half precision (mode 12), half the size", group="output")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    nr_uniform: int | None = option(
        None, "so many random directions in place of --ang", group="basic", unset="one projection", ge=1
    )
    rot: float = option(0.0, "first angle of a single projection", group="basic", unit="deg")
    tilt: float = option(0.0, "second angle of a single projection", group="basic", unit="deg")
    psi: float = option(0.0, "third angle of a single projection", group="basic", unit="deg")
    xoff: float = option(0.0, "origin of a single projection: the shift that would centre it", group="basic", unit="px")
    yoff: float = option(0.0, "the same along y", group="basic", unit="px")
    ctf: bool = option(False, "multiply by the CTF of the particles", group="basic")
    angpix: float | None = option(None, "pixel of the map", group="basic", unit="A", unset="from its header", gt=0)
    subtract_exp: bool = option(False, "write the particles' images less the projections", group="basic")
    add_noise: bool = option(False, "add noise, with --white_noise or --model_noise", group="basic")
    white_noise: float = option(0.0, "standard deviation of white noise", group="basic", ge=0)
    model_noise: str | None = option(
        None, "noise with the spectra of a model.star", group="basic", metavar="STAR", unset="white"
    )
    sigma_offset: float = option(0.0, "scatter added to the origins, per axis", group="basic", unit="px", ge=0)
    ctf_phase_flip: bool = option(False, "multiply by the absolute value of the CTF", group="expert")
    ctf_intact_first_peak: bool = option(False, "no CTF before its first peak", group="expert")
    ctf2: bool = option(False, "multiply by the square of the CTF", group="expert")
    maxres: float | None = option(
        None, "finest detail of the projections", group="expert", unit="A", unset="Nyquist", gt=0
    )
    pad: float = option(2.0, "padding of the transform", group="expert", ge=1, le=4)
    random_seed: int = option(1, "seed of directions, offsets and noise", group="expert", ge=0)
    ignore_particle_name: bool = option(
        False, "for subtomograms", group="expert", no_effect="particles are 2D images here"
    )
    j: int = again(Common, "j")

    @model_validator(mode="after")
    def _check_together(self) -> Options:
        if not self.map:
            raise ValueError("--i: found nothing, expected a map; give --i map.mrc")
        if self.ang and self.nr_uniform:
            raise ValueError("--nr_uniform: found together with --ang, expected one of them; leave one out")
        for flag in ("ctf", "subtract_exp"):
            if getattr(self, flag) and not self.ang:
                raise ValueError(f"--{flag}: found without --ang, expected the particles with it; add --ang data.star")
        for flag in ("ctf_phase_flip", "ctf_intact_first_peak", "ctf2"):
            if getattr(self, flag) and not self.ctf:
                raise ValueError(f"--{flag}: found without --ctf, expected with it; add --ctf, or leave --{flag} out")
        if self.add_noise and not self.model_noise and not self.white_noise:
            raise ValueError("--add_noise: found without --white_noise or --model_noise, expected one of them; add one")
        if (self.model_noise or self.white_noise) and not self.add_noise:
            raise ValueError(
                "--white_noise or --model_noise: found without --add_noise, expected with it; add --add_noise"
            )
        if self.model_noise and self.white_noise:
            raise ValueError("--white_noise: found together with --model_noise, expected one of them; leave one out")
        return self
