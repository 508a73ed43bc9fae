"""Options of extract: RELION's names and meaning, and what goes with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from vitreous.engine.extract import Recipe
from vitreous.errors import InputError
from vitreous.programs.options import SHARED_THREADS, Common, ProgramOptions, again, option

SOURCES = ("coord_suffix", "coord_list", "reextract_data_star")


class Options(ProgramOptions):
    """Particles from micrographs."""

    PROGRAM: ClassVar[str] = "extract"
    SHARED: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = (
        "particles cut out of micrographs, rescaled, normalised; refined particles again, re-centred"
    )
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous extract --i CtfFind/job003/micrographs_ctf.star --coord_dir AutoPick/job006/ --coord_suffix "
        "_autopick.star "
        "--part_dir Extract/job007/ --extract_size 256 --scale 64 --norm --invert_contrast",
        "vitreous extract --i CtfFind/job003/micrographs_ctf.star --reextract_data_star Refine3D/job019/run_data.star "
        "--recenter --part_dir Extract/job021/ --extract_size 256 --norm --invert_contrast",
        "vitreous extract --operate_on particles.star --operate_out shrunk.mrcs --scale 64 --norm",
    )
    REFUSED: ClassVar[Mapping[str, str]] = {
        "project3d": "vitreous extract cuts images, not subtomograms: project them with relion_preprocess --project3d",
    }

    micrographs: str | None = option(
        None, "STAR file with the micrographs, and with their CTF where it is known", group="input", flag="i",
        metavar="FILE", unset="required",
    )  # fmt: skip
    coord_suffix: str | None = option(
        None, "end of the coordinate files' names, after the micrograph's name without extension", group="input",
        metavar="TEXT", unset="none",
    )  # fmt: skip
    coord_dir: str = option("ASINPUT", "folder of the coordinate files; ASINPUT is beside the "
                                       "micrographs", group="input",
                            metavar="FOLDER")  # fmt: skip
    coord_list: str | None = option(
        None, "list of micrographs and coordinate files: autopick.star, or an older coords_suffix_autopick.star",
        group="input", metavar="FILE", unset="none",
    )  # fmt: skip
    reextract_data_star: str | None = option(
        None, "refined particles to extract again, in place of coordinates", group="input", metavar="FILE", unset="none"
    )
    set_angpix: float | None = option(None, "pixel size of the micrographs, in place of the STAR file's", group="input",
                                      unit="A", unset="from --i", gt=0)  # fmt: skip
    output: str = option("Particles/", "folder for the stacks", group="output", flag="part_dir", metavar="FOLDER")
    part_star: str | None = option(
        None, "STAR file of all particles", group="output", metavar="FILE", unset="particles.star in --part_dir"
    )
    pick_star: str | None = option(
        None, "also write a coordinate list that points at the _extract.star of each micrograph", group="output",
        metavar="FILE", unset="none",
    )  # fmt: skip
    float16: bool = option(
        False, "write half precision (mode 12), half the size; RELION 3.1 cannot read it", group="output"
    )
    only_do_unfinished: bool = option(
        False, "leave micrographs whose _extract.star exists as they are, and join their particles", group="output"
    )
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")

    extract_size: int | None = option(None, "side of the boxes in the micrograph; even", group="basic", unit="px",
                                      unset="required", gt=1, le=8192)  # fmt: skip
    scale: int | None = option(
        None, "side after rescaling", group="basic", unit="px", unset="not rescaled", gt=1, le=8192
    )
    norm: bool = option(False, "background with mean 0 and standard deviation 1", group="basic")
    bg_radius: float | None = option(
        None, "the background is outside of this radius, in px of the final image", group="basic", unit="px",
        unset="37.5 % of the final side", gt=0,
    )  # fmt: skip
    invert_contrast: bool = option(False, "make dark particles bright, as all later steps expect them", group="basic")
    minimum_pick_fom: float = option(-999.0, "take picks with a larger rlnAutopickFigureOfMerit only", group="basic")
    recenter: bool = option(False, "move the boxes of refined particles to their refined centres", group="basic")
    recenter_x: float = option(0.0, "point of the reference that becomes the centre, from its box "
                                    "centre", group="basic",
                               unit="px")  # fmt: skip
    recenter_y: float = option(0.0, "the same for y", group="basic", unit="px")
    recenter_z: float = option(0.0, "the same for z", group="basic", unit="px")
    ref_angpix: float | None = option(None, "pixel size of the reference for --recenter_x and the "
                                            "others", group="basic",
                                      unit="A", unset="that of the particles", gt=0)  # fmt: skip
    reset_offsets: bool = option(
        False, "set the origins of refined particles to 0, without moving the boxes", group="basic"
    )
    keep_ctfs_micrographs: bool = option(
        False, "refined particles take the CTF and optics of --i in place of their own", group="basic"
    )

    window: int | None = option(None, "side after cropping or padding the rescaled image", group="expert", unit="px",
                                unset="not re-windowed", gt=1, le=8192)  # fmt: skip
    no_ramp: bool = option(False, "subtract the background's mean, not a fitted plane", group="expert")
    white_dust: float | None = option(None, "replace pixels brighter than this many standard deviations by noise",
                                      group="expert", unset="off", ge=0)  # fmt: skip
    black_dust: float | None = option(None, "replace pixels darker than this many standard deviations by noise",
                                      group="expert", unset="off", ge=0)  # fmt: skip
    extract_bias_x: int = option(0, "added to every x coordinate", group="expert", unit="px")
    extract_bias_y: int = option(0, "added to every y coordinate", group="expert", unit="px")
    selection_type: int = option(
        0, "take picks with this rlnParticleSelectionType only; 0 takes all", group="expert", ge=0
    )
    premultiply_ctf: bool = option(False, "multiply the boxes by their CTF", group="expert")
    premultiply_extract_size: int | None = option(
        None,
        "side of the boxes in which that is done",
        group="expert",
        unit="px",
        unset="--extract_size",
        gt=1,
        le=8192,
    )
    phase_flip: bool = option(False, "flip the phases of the boxes by the sign of their CTF", group="expert")
    ctf_intact_first_peak: bool = option(False, "leave frequencies before the CTF's first peak alone", group="expert")
    random_seed: int = option(0, "seed of the noise that replaces dust", group="expert", ge=0)
    operate_on: str | None = option(None, "a stack or STAR file whose images are rescaled, re-windowed, normalised and "
                                    "inverted, in place of "
                                    "micrographs", group="expert", metavar="FILE", unset="none")  # fmt: skip
    operate_out: str = option("preprocessed.mrcs", "the stack that --operate_on makes", group="expert", metavar="FILE")
    helix: bool = option(False, "the particles are segments of helical tubes", group="expert")
    helical_outer_diameter: float | None = option(None, "outer diameter of the tubes: the background is outside",
                                                  group="expert", unit="A", unset="none", gt=0)  # fmt: skip
    helical_tubes: bool = option(False, "the coordinates are starts and ends of tubes", group="expert")
    helical_cut_into_segments: bool = option(
        False, "cut tubes into segments; else one box at the middle", group="expert"
    )
    helical_nr_asu: int = option(1, "asymmetric units from one segment to the next", group="expert", ge=1)
    helical_rise: float = option(0.0, "rise of an asymmetric unit", group="expert", unit="A")
    helical_bimodal_angular_priors: bool = option(False, "tubes may point either way", group="expert")

    j: int = option(0, SHARED_THREADS, group="compute", ge=0)
    extract: bool = option(
        False, "extract particles", group="compute", no_effect="this program always does, --operate_on aside"
    )
    max_mpi_nodes: int = option(8, "processes at most", group="compute", no_effect="all that mpirun starts work")

    def check(self) -> None:
        """Refuse options that are missing, or that contradict each other."""
        given = [flag for flag in SOURCES if getattr(self, flag)]
        if self.micrographs is None:
            raise InputError("--i: found none, expected the STAR file of the micrographs; give micrographs_ctf.star")
        if len(given) != 1:
            found = " and ".join(f"--{flag}" for flag in given) or "none"
            raise InputError(
                f"coordinates: found {found}, expected one of --coord_suffix (with --coord_dir), "
                "--coord_list and "
                "--reextract_data_star; give exactly one"
            )
        if self.extract_size is None:
            raise InputError(
                "--extract_size: found none, expected the side of the boxes in px; give about 1.5 to 2 "
                "times the "
                "particle's diameter"
            )
        for flag in ("extract_size", "premultiply_extract_size"):
            if (getattr(self, flag) or 0) % 2:
                raise InputError(
                    f"--{flag}: found {getattr(self, flag)}, expected an even number; give {getattr(self, flag) + 1}"
                )
        self._check_refined()
        if self.premultiply_ctf and self.phase_flip:
            raise InputError("--phase_flip: found --premultiply_ctf too, expected one of them; leave one out")
        if (self.premultiply_extract_size or self.extract_size) < self.extract_size:
            raise InputError(
                f"--premultiply_extract_size: found {self.premultiply_extract_size}, expected at least "
                f"--extract_size {self.extract_size}; give a larger one"
            )
        if self.helix and self.norm and self.helical_outer_diameter is None:
            raise InputError(
                "--helical_outer_diameter: found none, expected the tubes' diameter in A, because of "
                "--helix and "
                "--norm; give it"
            )
        if self.helical_tubes and self.helical_cut_into_segments and not self.helical_rise * self.helical_nr_asu > 0:
            raise InputError(
                f"--helical_rise: found {self.helical_rise:g}, expected more than 0 to cut tubes into "
                "segments; "
                "give the rise in A"
            )

    def _check_refined(self) -> None:
        if self.recenter and self.reset_offsets:
            raise InputError(
                "--reset_offsets: found --recenter too, expected one of them: re-centring uses the "
                "offsets; leave "
                "one out"
            )
        alone = [f for f in ("recenter", "reset_offsets", "keep_ctfs_micrographs") if getattr(self, f)]
        if alone and not self.reextract_data_star:
            raise InputError(
                f"--{alone[0]}: found no refined particles, expected --reextract_data_star; give their _data.star"
            )
        moved = [f for f in ("recenter_x", "recenter_y", "recenter_z") if getattr(self, f)]
        if moved and not self.recenter:
            raise InputError(
                f"--{moved[0]}: found no --recenter, expected it, as nothing moves without; give --recenter too"
            )

    def recipe(self, pixel_size_A: float = 1.0) -> Recipe:
        """What the engine is to do; ``pixel_size_A`` of the micrographs tells a tube's width in px."""
        box = int(self.extract_size or 2)
        scale, window = even(self.scale), even(self.window)
        recipe = Recipe(
            box, scale, window, self.norm, not self.no_ramp, 0.0, self.white_dust or 0.0, self.black_dust or 0.0,
            self.invert_contrast, "ctf" if self.premultiply_ctf else "sign" if self.phase_flip else "",
            self.ctf_intact_first_peak, self.premultiply_extract_size, None, self.random_seed,
        )  # fmt: skip
        radius_px = background_radius(self, recipe.final)
        tube = None
        if self.helix and self.helical_outer_diameter:
            tube = 0.5 * self.helical_outer_diameter / (pixel_size_A * box / recipe.rescaled)
        return Recipe(**{**vars(recipe), "bg_radius_px": radius_px, "tube_radius_px": tube})


def even(size: int | None) -> int | None:
    """RELION's rule for --scale and --window: odd sizes grow by one."""
    return None if size is None else size + size % 2


def background_radius(options: Options, final: int) -> float:
    """--bg_radius, or its default, checked against the final side."""
    if options.bg_radius is None:
        return float(int(0.375 * final))
    if options.norm and 2 * options.bg_radius > final:
        raise InputError(
            f"--bg_radius: found {options.bg_radius:g} px, expected at most {final // 2}, half of the "
            "final side "
            f"{final}; it counts pixels after --scale"
        )
    return options.bg_radius
