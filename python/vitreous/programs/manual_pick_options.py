"""The options of manual-pick: relion_manualpick's, with files in place of a mouse."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import Common, ProgramOptions, again, option

VIEW = "nothing is drawn here"


class Options(ProgramOptions):
    """Picks of other programs in and out."""

    PROGRAM: ClassVar[str] = "manual-pick"
    SUMMARY: ClassVar[str] = (
        "picks made in any viewer, in and out: .star, .box, .coord, .cbox, .csv, .json, Topaz tables"
    )
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        'vitreous manual-pick --i micrographs_ctf.star --odir ManualPick/job004/ --import "boxes/*.box"',
        "vitreous manual-pick --i micrographs_ctf.star --odir ManualPick/job004/ --import topaz.txt --coord_scale 8 "
        "--minimum_pick_fom 0.5",
        "vitreous manual-pick --i micrographs_ctf.star --coord_list AutoPick/job006/autopick.star --export box "
        "--box_size 200 "
        "--odir Boxes/",
    )
    REFUSED: ClassVar[dict[str, str]] = {
        "topaz_denoise": "denoise the micrographs before, and give the picks",
        "pick_start_end": "start and end points of helices are not known yet; give picks along them",
    }

    micrographs: str | None = option(
        None, "STAR file of the micrographs", group="input", flag="i", metavar="FILE", unset="required"
    )
    imports: str | None = option(
        None, "files with picks: names and patterns in one pair of quotes", group="input", flag="import",
        metavar="FILES", unset="none",
    )  # fmt: skip
    coord_list: str | None = option(
        None, "list of picks to export: autopick.star, manualpick.star or coords_suffix_*.star", group="input",
        metavar="FILE", unset="the picks in --odir",
    )  # fmt: skip
    folder: str = option("ManualPick/", "folder for the results", group="output", flag="odir", metavar="FOLDER")
    pickname: str = option(
        "manualpick", "last part of the names of the coordinate files", group="output", metavar="NAME"
    )
    selection: str | None = option(
        None, "STAR file of the micrographs with picks", group="output", metavar="FILE",
        unset="micrographs_selected.star in --odir",
    )  # fmt: skip
    export: str | None = option(
        None, "write the picks as box (EMAN), coord (x y) or csv, one file for each micrograph", group="output",
        metavar="KIND", unset="off",
    )  # fmt: skip
    box_size: int = option(200, "side of the boxes of --export box", group="output", unit="px", ge=1)
    overwrite: bool = option(False, "imported picks take the place of those in --odir", group="output")
    append: bool = option(False, "imported picks are added to those in --odir", group="output")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    coord_scale: float = option(
        1.0, "factor that brings imported coordinates to px of the micrographs, such as 8 for picks on images binned "
             "by 8",
        group="basic", gt=0,
    )  # fmt: skip
    flip_y: bool = option(False, "imported y is counted from the last row, as some viewers do", group="basic")
    minimum_pick_fom: float | None = option(
        None, "leave out picks with a lower figure of merit", group="basic", unset="off"
    )
    allow_save: bool = option(False, "relion_manualpick's", group="expert", no_effect="results are always written")
    fast_save: bool = option(False, "relion_manualpick's", group="expert", no_effect="nothing is asked")
    particle_diameter: float | None = option(None, "relion_manualpick's", group="expert", unit="A", no_effect=VIEW)
    scale: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    sigma_contrast: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    black: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    white: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    lowpass: float | None = option(None, "relion_manualpick's", group="expert", unit="A", no_effect=VIEW)
    highpass: float | None = option(None, "relion_manualpick's", group="expert", unit="A", no_effect=VIEW)
    angpix: float | None = option(None, "relion_manualpick's", group="expert", unit="A", no_effect=VIEW)
    ctf_scale: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    ctf_sigma_contrast: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    color_label: str | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    color_star: str | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    blue: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
    red: float | None = option(None, "relion_manualpick's", group="expert", no_effect=VIEW)
