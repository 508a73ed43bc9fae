"""Options of image-handler."""

from __future__ import annotations

from typing import Any, ClassVar

from vitreous.programs.options import Common, ProgramOptions, again, option

_COLOURS = "pictures are grey here: leave it out"
REFUSED = {
    "avg_ampl2_ali": "averages of aligned images are not in vitreous yet: use --avg_ampl2, or relion_image_handler",
    "average_all_movie_frames": "movies are not read from STAR files yet: average each with --average",
    **dict.fromkeys(
        ("colour_fire", "colour_ice", "colour_fire_n_ice", "colour_rainbow", "colour_difference"), _COLOURS
    ),
}


def _file(help: str) -> Any:
    return option(None, help, group="input", metavar="FILE", unset="off")


def _flag(help: str) -> Any:
    return option(False, help, group="basic")


class Options(ProgramOptions):
    """Operations on images, stacks and maps."""

    PROGRAM: ClassVar[str] = "image-handler"
    SUMMARY: ClassVar[str] = "arithmetic, filters, sizes and statistics of images, stacks and maps"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous image-handler --i map.mrc --o small.mrc --rescale_angpix 3.5 --new_box 128",
        "vitreous image-handler --i particles.star --o lp20 --lowpass 20",
        "vitreous image-handler --i half1.mrc --fsc half2.mrc",
        "vitreous image-handler --i stack.mrcs --stats",
    )
    REFUSED = REFUSED

    images: str | None = option(
        None, "image, stack (.mrcs) or map (.mrc), one section 000012@stack.mrcs, or a STAR file of images",
        group="input", flag="i", metavar="FILE", unset="required",
    )  # fmt: skip
    multiply: str | None = _file("multiply by this image")
    divide: str | None = _file("divide by this image; 0 where it is 0")
    add: str | None = _file("add this image")
    subtract: str | None = _file("subtract this image")
    fsc: str | None = _file("print the FSC with this image")
    adjust_power: str | None = _file("give each shell the power that it has in this image")
    fourier_filter: str | None = _file(
        "multiply the transform by this one: of the image's size with the origin in the centre, or half of it as "
        "--avg_ampl writes"
    )
    mask_optimise_subtract: str | None = _file("mask of the voxels that --optimise_scale_subtract looks at")
    correct_avg_ampl: str | None = _file("even out the anisotropy of this amplitude spectrum, from --avg_ampl")

    output: str | None = option(
        None, "output; of a STAR file the text put before each image's suffix, or a stack (.mrcs) for all of them",
        group="output", flag="o", metavar="FILE", unset="none",
    )  # fmt: skip
    force_header_angpix: float | None = option(
        None, "pixel size to write in the header, whatever the image has", group="output", unit="A", unset="off", gt=0
    )
    black: float = option(0.0, "grey value that is black in a .png; 0 with --white 0 is automatic", group="output")
    white: float = option(0.0, "grey value that is white in a .png", group="output")
    sigma_contrast: float = option(
        0.0, "black and white of a .png this many standard deviations from the mean; 0 is off", group="output", ge=0
    )
    float16: bool = option(False, "write half precision (mode 12), which RELION 3.1 cannot read", group="output")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb", "0 is silent but for what was asked for")

    stats: bool = _flag("print mean, standard deviation and extremes of each image")
    com: bool = _flag("print the centre of mass of what is positive in each image")
    power: bool = _flag("print the power spectrum of each image")
    average: bool = _flag("write the mean of all images, and their standard deviation as <o>_sigma")
    avg_ampl: bool = _flag("write the mean amplitude spectrum of all images")
    avg_ampl2: bool = _flag("write the mean power spectrum of all images, by Fourier pixel")
    avg_bin: int | None = option(None, "average every so many images of a stack", group="basic", unset="off", ge=1)
    avg_first: int | None = option(None, "first image to average, from 1", group="basic", unset="the first", ge=1)
    avg_last: int | None = option(None, "last image to average", group="basic", unset="the last", ge=1)
    angpix: float | None = option(None, "pixel size", group="basic", unit="A", unset="from the header", gt=0)
    multiply_constant: float = option(1.0, "multiply by this", group="basic")
    divide_constant: float = option(1.0, "divide by this", group="basic")
    add_constant: float = option(0.0, "add this", group="basic")
    subtract_constant: float = option(0.0, "subtract this", group="basic")
    threshold_above: float | None = option(None, "set all values above this to it", group="basic")
    threshold_below: float | None = option(None, "set all values below this to it", group="basic")
    optimise_scale_subtract: bool = _flag("scale the image of --subtract so that it fits best")
    optimise_bfactor_subtract: float = option(
        0.0,
        "look for a B-factor of the image of --subtract between minus and plus this",
        group="basic",
        unit="A^2",
        ge=0,
    )
    bfactor: float = option(0.0, "apply this B-factor, negative sharpens", group="basic", unit="A^2")
    lowpass: float | None = option(None, "low-pass", group="basic", unit="A", unset="off", gt=0)
    highpass: float | None = option(None, "high-pass", group="basic", unit="A", unset="off", gt=0)
    directional: str | None = option(
        None, "low-pass along X, Y or Z alone", group="basic", metavar="AXIS", unset="off"
    )
    filter_edge_width: float = option(2.0, "width of the filters' edge, in shells", group="basic", ge=0)
    LoG: float | None = option(
        None, "Laplacian of a Gaussian that answers most to blobs of this diameter", group="basic", unit="A",
        unset="off", gt=0,
    )  # fmt: skip
    rescale_angpix: float | None = option(
        None, "resample to this pixel size", group="basic", unit="A", unset="off", gt=0
    )
    new_box: int | None = option(None, "crop, or pad with zeros", group="basic", unit="px", unset="off", ge=2)
    flipX: bool = _flag("mirror along x")
    flipY: bool = _flag("mirror along y")
    flipZ: bool = _flag("mirror along z")
    invert_hand: bool = _flag("mirror along x about the centre pixel, which keeps a symmetry axis where it is")
    shift_com: bool = _flag("shift the centre of mass of what is positive to the centre")
    shift_x: float = option(0.0, "shift the content along x", group="basic", unit="px")
    shift_y: float = option(0.0, "shift the content along y", group="basic", unit="px")
    shift_z: float = option(0.0, "shift the content along z", group="basic", unit="px")
    minr_ampl_corr: float = option(0.0, "last shell that --correct_avg_ampl leaves as it is", group="basic", ge=0)
    remove_nan: bool = _flag("replace NaN and infinity")
    replace_nan: float = option(0.0, "what --remove_nan puts in their place", group="basic")
    phase_randomise: float | None = option(
        None, "randomise phases beyond this resolution", group="basic", unit="A", unset="off", gt=0
    )
    random_seed: int = option(0, "seed of --phase_randomise", group="basic", ge=0)
    sym: str | None = option(None, "symmetrise a map with this point group, e.g. D7", group="basic", unset="off")
    flipXY: bool = _flag("exchange x and y")
    flipmXY: bool = _flag("exchange x and y and reverse both")
    add_edge: bool = _flag("repeat the outermost good rows and columns to the edge of a micrograph")
    edge_x0: int = option(0, "first good column, from 0", group="basic", ge=0)
    edge_y0: int = option(0, "first good row, from 0", group="basic", ge=0)
    edge_xF: int = option(4095, "last good column", group="basic", ge=0)
    edge_yF: int = option(4095, "last good row", group="basic", ge=0)
