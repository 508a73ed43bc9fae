"""The options of select: those of RELION's class display and STAR handler, and criteria in place of mouse clicks."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import Common, ProgramOptions, again, option
from vitreous.programs.star_handler_options import Options as StarHandler


class Options(ProgramOptions):
    """Which particles or micrographs go on."""

    PROGRAM: ClassVar[str] = "select"
    SUMMARY: ClassVar[str] = (
        "particles of chosen classes, rows by their values, micrographs; regrouped, split, re-centred"
    )
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous select --i Class2D/job008/run_it025_model.star --o Select/job009/ --classes 1,4,7-12 --recenter",
        "vitreous select --i Class2D/job008/run_it025_optimiser.star --o Select/job009/ --max_class_resolution 12 "
        "--min_class_share 0.01",
        "vitreous select --i Class2D/job008/run_it025_optimiser.star --o Select/job009/ --auto_select --min_score 0.5",
        "vitreous select --i CtfFind/job003/micrographs_ctf.star --o Select/job005/ --select rlnCtfMaxResolution "
        "--maxval 6",
        "vitreous select --i Extract/job007/particles.star --o Select/job010/ --split --size_split 10000 "
        "--random_order",
    )
    star: str | None = again(
        StarHandler, "star", "_model.star or _optimiser.star of a classification, or a STAR file of particles or micrographs"
    )
    output: str | None = option(
        None,
        "folder for the results",
        group="output",
        flag="o",
        metavar="FOLDER",
        unset="that of --fn_parts, or required",
    )
    fn_parts: str | None = option(
        None, "the selected particles", group="output", metavar="FILE", unset="particles.star in --o"
    )
    fn_imgs: str | None = option(
        None, "the selected class averages, or the selected micrographs", group="output", metavar="FILE",
        unset="class_averages.star or micrographs.star in --o",
    )  # fmt: skip
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")

    classes: str | None = option(
        None,
        "class numbers, such as 1,4,7-12",
        group="basic",
        metavar="LIST",
        unset="all that the other criteria leave",
    )
    min_class_share: float | None = option(
        None, "choose classes with at least this share of the particles", group="basic", unset="off", ge=0, le=1
    )
    min_class_parts: int | None = option(
        None, "choose classes with at least this many particles", group="basic", unset="off", ge=0
    )
    max_class_resolution: float | None = option(
        None,
        "choose classes whose rlnEstimatedResolution is this or better",
        group="basic",
        unit="A",
        unset="off",
        gt=0,
    )
    best_classes: int | None = option(
        None, "of the classes that are left, choose this many with most particles", group="basic", unset="off", ge=1
    )
    auto_select: bool = option(False, "score the class averages, and choose those of --min_score", group="basic")
    min_score: float | None = option(
        None, "choose classes whose rlnClassScore is at least this: that of the file, or with --auto_select our own",
        group="basic", unset="0.5 with --auto_select, else off", ge=0,
    )  # fmt: skip
    select_min_nr_particles: int | None = option(
        None, "with a score: choose further classes, best first, until there are this many particles", group="basic",
        unset="off", ge=1,
    )  # fmt: skip
    select_min_nr_classes: int | None = option(
        None, "with a score: choose further classes, best first, until there are this many", group="basic",
        unset="off", ge=1,
    )  # fmt: skip
    fn_root: str = option("rank", "with --auto_select: start of the names of the scored model's files", group="output")
    invert_selection: bool = option(False, "take the classes or micrographs that were not chosen", group="basic")
    selection: str | None = option(
        None, "file with rlnSelected for every class or micrograph, in the order of the input", group="basic",
        metavar="FILE", unset="backup_selection.star in --o, where no other criterion is given",
    )  # fmt: skip
    recenter: bool = option(False, "move the class averages to their centre of mass", group="basic")
    regroup: int | None = option(
        None, "join groups of similar intensity scale until there are about this many", group="basic", unset="off", ge=1
    )
    max_nr_parts_per_class: int | None = option(
        None, "take at most this many particles of every class, the first ones", group="basic", unset="all", ge=1
    )
    sort: str | None = option(
        None, "order of the classes in the particle file: by this label of model_classes", group="expert",
        metavar="LABEL", unset="by number",
    )  # fmt: skip
    reverse: bool = option(False, "with --sort: largest first", group="expert")

    select: str | None = again(StarHandler, "select")
    minval: float = again(StarHandler, "minval")
    maxval: float = again(StarHandler, "maxval")
    select_by_str: str | None = again(StarHandler, "select_by_str")
    select_include: str | None = again(StarHandler, "select_include")
    select_exclude: str | None = again(StarHandler, "select_exclude")
    mics: str | None = option(
        None, "keep these micrographs: a STAR file, a text file of names, or row numbers such as 1-5,8", group="basic",
        metavar="FILE", unset="off",
    )  # fmt: skip
    discard_on_stats: bool = again(StarHandler, "discard_on_stats")
    discard_label: str = again(StarHandler, "discard_label")
    discard_sigma: float = again(StarHandler, "discard_sigma")
    remove_duplicates: float | None = again(StarHandler, "remove_duplicates")
    image_angpix: float | None = again(StarHandler, "image_angpix")
    split: bool = again(StarHandler, "split", "part the result into --nr_split files or files of --size_split rows")
    random_order: bool = again(StarHandler, "random_order")
    random_seed: int | None = again(StarHandler, "random_seed")
    nr_split: int | None = again(StarHandler, "nr_split")
    size_split: int | None = again(StarHandler, "size_split")
    do_granularity_features: bool = option(
        False, "relion_class_ranker's", group="expert", no_effect="the score needs no network"
    )
    gui: bool = option(False, "relion_display's", group="expert", no_effect="the choice is made by options")
    allow_save: bool = option(False, "relion_display's", group="expert", no_effect="results are always written")
