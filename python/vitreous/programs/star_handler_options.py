"""The options of star-handler: relion_star_handler's names, with what they mean there."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import Common, ProgramOptions, again, option


class Options(ProgramOptions):
    """One operation on a STAR file."""

    PROGRAM: ClassVar[str] = "star-handler"
    SUMMARY: ClassVar[str] = "one operation on a STAR file: select, combine, split, compare, centre, edit columns"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous star-handler --i particles.star --o good.star --select rlnCtfMaxResolution --maxval 5",
        'vitreous star-handler --combine --i "a.star b*.star" --check_duplicates rlnImageName --o all.star',
        "vitreous star-handler --i run_data.star --o centred.star --center --center_Z 40",
        "vitreous star-handler --i old.star --o new.star",
    )
    REFUSED: ClassVar[dict[str, str]] = {
        "combine_picks": "join the pick lists of each micrograph with --combine, one micrograph at a time",
    }

    star: str | None = option(
        None, "STAR file; with --combine several names and patterns in one pair of quotes", group="input", flag="i",
        metavar="FILE", unset="required",
    )  # fmt: skip
    output: str = option("out.star", "the result", group="output", flag="o", metavar="FILE")
    ignore_optics: bool = option(False, "work on the one table and write it without optics groups", group="input")
    angpix: float = option(
        1.0, "pixel size of the images where the file has no optics groups", group="input", unit="A", gt=0
    )
    i_tablename: str | None = option(
        None, "name of the table to work on", group="input", metavar="NAME", unset="found by itself"
    )
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")

    select: str | None = option(
        None, "keep the rows whose value of this label lies in --minval to --maxval", group="basic", metavar="LABEL",
        unset="off",
    )  # fmt: skip
    minval: float = option(-99999999.0, "smallest value for --select, which is kept too", group="basic")
    maxval: float = option(99999999.0, "largest value for --select, which is kept too", group="basic")
    select_by_str: str | None = option(
        None, "keep rows by the text in this label", group="basic", metavar="LABEL", unset="off"
    )
    select_include: str | None = option(
        None, "keep rows whose --select_by_str contains this", group="basic", metavar="TEXT", unset="none"
    )
    select_exclude: str | None = option(
        None, "keep rows whose --select_by_str does not contain this", group="basic", metavar="TEXT", unset="none"
    )
    remove_duplicates: float | None = option(
        None, "of particles of one micrograph within this distance keep the last", group="basic", unit="A", unset="off"
    )
    image_angpix: float | None = option(
        None, "pixel size of the coordinates, for --remove_duplicates with particles that were scaled when extracted",
        group="basic", unit="A", unset="rlnMicrographPixelSize, else that of the particles", gt=0,
    )  # fmt: skip
    discard_on_stats: bool = option(
        False, "leave out images whose mean or standard deviation is far from that of the others", group="basic"
    )
    discard_label: str = option(
        "rlnImageName", "label that names the images of --discard_on_stats", group="basic", metavar="LABEL"
    )
    discard_sigma: float = option(
        4.0, "standard deviations of the ensemble that --discard_on_stats allows", group="basic", gt=0
    )
    combine: bool = option(False, "join the files of --i", group="basic")
    check_duplicates: str | None = option(
        None, "with --combine: tell values of this label that occur twice", group="basic", metavar="LABEL", unset="off"
    )
    split: bool = option(False, "part the file into --nr_split files or files of --size_split rows", group="basic")
    random_order: bool = option(False, "with --split: draw the rows in random order", group="basic")
    random_seed: int | None = option(
        None, "with --random_order", group="basic", unset="a new one every time, which is printed"
    )
    nr_split: int | None = option(
        None, "with --split: number of files", group="basic", unset="as --size_split needs", ge=1
    )
    size_split: int | None = option(
        None, "with --split: rows in every file", group="basic", unset="as --nr_split needs", ge=1
    )
    compare: str | None = option(
        None, "second file: writes _both, _only1 and _only2", group="basic", metavar="FILE", unset="off"
    )
    label1: str | None = option(
        None, "with --compare: label to compare", group="basic", metavar="LABEL", unset="required with --compare"
    )
    label2: str | None = option(
        None,
        "with --compare: second label of numbers, for a distance in 2D",
        group="basic",
        metavar="LABEL",
        unset="none",
    )
    label3: str | None = option(
        None,
        "with --compare: third label of numbers, for a distance in 3D",
        group="basic",
        metavar="LABEL",
        unset="none",
    )
    max_dist: float = option(
        0.0, "with --compare: largest difference or distance of numbers that match", group="basic", ge=0
    )

    center: bool = option(
        False,
        "change the origins so that a point of the reference becomes the centre of a new reconstruction",
        group="basic",
    )
    center_X: float = option(0.0, "with --center: x of the point, from the box centre", group="basic", unit="px")
    center_Y: float = option(0.0, "with --center: y of the point, from the box centre", group="basic", unit="px")
    center_Z: float = option(0.0, "with --center: z of the point, from the box centre", group="basic", unit="px")

    operate: str | None = option(None, "label whose values to change", group="expert", metavar="LABEL", unset="off")
    operate2: str | None = option(
        None, "second label to change in the same way", group="expert", metavar="LABEL", unset="none"
    )
    operate3: str | None = option(
        None, "third label to change in the same way", group="expert", metavar="LABEL", unset="none"
    )
    set_to: str | None = option(None, "with --operate: the new value of all rows", group="expert", metavar="VALUE")
    multiply_by: float = option(1.0, "with --operate: factor, before --add_to", group="expert")
    add_to: float = option(0.0, "with --operate: summand", group="expert")
    remove_column: str | None = option(None, "label to leave out", group="expert", metavar="LABEL", unset="off")
    add_column: str | None = option(None, "label to add", group="expert", metavar="LABEL", unset="off")
    add_column_value: str | None = option(
        None, "with --add_column: the value in all rows", group="expert", metavar="VALUE"
    )
    copy_column_from: str | None = option(
        None, "with --add_column: label to copy", group="expert", metavar="LABEL", unset="none"
    )
    hist_column: str | None = option(
        None,
        "print the histogram of this label and draw it to an .eps file",
        group="expert",
        metavar="LABEL",
        unset="off",
    )
    in_percent: bool = option(False, "with --hist_column: percent in place of counts", group="expert")
    show_cumulative: bool = option(False, "with --hist_column: percent up to the end of each bin", group="expert")
    hist_bins: int | None = option(
        None, "with --hist_column: number of bins", group="expert", unset="by the rule of Freedman and Diaconis", ge=1
    )
    hist_min: float | None = option(None, "with --hist_column: start of the bins", group="expert")
    hist_max: float | None = option(None, "with --hist_column: end of the bins", group="expert")
