"""Options of postprocess."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import Common, ProgramOptions, again, option

REFUSED = {
    "ios": "optimisation sets are not read here yet: give the half maps with --i and --i2",
    "ampl_corr": "it is not in vitreous yet: leave it out, or use relion_postprocess",
}


class Options(ProgramOptions):
    """FSC, masks and sharpening of half maps."""

    PROGRAM: ClassVar[str] = "postprocess"
    SUMMARY: ClassVar[str] = "the resolution of two half maps, and their sharpened average"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous postprocess --i run_half1_class001_unfil.mrc --mask mask.mrc --auto_bfac --o PostProcess/job020/map",
        "vitreous postprocess --i run_half1_class001_unfil.mrc --auto_mask --auto_bfac --molweight 465",
        "vitreous postprocess --i run_half1_class001_unfil.mrc --locres --adhoc_bfac -100 --mask mask.mrc",
    )
    REFUSED = REFUSED

    half1: str | None = option(None, "unfiltered half map", group="input", flag="i", metavar="FILE", unset="required")
    half2: str | None = option(
        None, "the other half map", group="input", flag="i2", metavar="FILE", unset="--i with half2 for half1"
    )
    mask: str | None = option(
        None, "mask, 1 in the molecule and 0 in the solvent", group="input", metavar="FILE", unset="none"
    )
    mtf: str | None = option(
        None, "STAR file with the detector's modulation transfer, to be undone", group="input", metavar="FILE",
        unset="none",
    )  # fmt: skip
    output: str = option("postprocess", "start of the output names", group="output", flag="o", metavar="ROOT")
    half_maps: bool = option(False, "write the half maps, sharpened like the map, for validation", group="output")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    angpix: float | None = option(None, "pixel size", group="basic", unit="A", unset="from the header", gt=0)
    mtf_angpix: float | None = option(
        None,
        "pixel size of the detector, at which --mtf is given",
        group="basic",
        unit="A",
        unset="that of the map",
        gt=0,
    )
    molweight: float | None = option(
        None, "mass of the ordered protein, for a part-volume FSC", group="basic", unit="kDa", unset="not given", gt=0
    )
    auto_mask: bool = option(False, "make a mask from the average of the half maps", group="basic")
    inimask_threshold: float | None = option(
        None, "threshold of --auto_mask on the low-passed map", group="basic", metavar="X", unset="chosen, and printed"
    )
    extend_inimask: float = option(3.0, "extension of --auto_mask", group="basic", unit="px", ge=0)
    width_mask_edge: float = option(6.0, "soft edge of --auto_mask", group="basic", unit="px", ge=0)
    force_mask: bool = option(False, "use the masked FSC where it falls before the unmasked one, too", group="basic")
    auto_bfac: bool = option(False, "take the B-factor from a line through the Guinier plot", group="basic")
    autob_lowres: float = option(10.0, "coarsest resolution of that line", group="basic", unit="A", gt=0)
    autob_highres: float = option(0.0, "finest resolution of that line; 0 is Nyquist", group="basic", unit="A", ge=0)
    adhoc_bfac: float = option(0.0, "B-factor to apply, e.g. -100; negative sharpens", group="basic", unit="A^2")
    skip_fsc_weighting: bool = option(False, "do not weight shells by their FSC", group="basic")
    low_pass: float = option(
        0.0, "low-pass the map at last; 0 is off, negative is the resolution found", group="basic", unit="A"
    )
    randomize_at_fsc: float = option(
        0.8, "randomise phases from the shell where the unmasked FSC falls below this", group="expert", gt=0, lt=1
    )
    randomize_at_A: float | None = option(
        None, "randomise phases from this resolution on", group="expert", unit="A", unset="by --randomize_at_fsc", gt=0
    )
    filter_edge_width: float = option(2.0, "width of the low-pass' edge, in shells", group="expert", ge=0)
    interpolate: bool = option(False, "print the resolution between shells, too", group="expert")
    equal_pairs: bool = option(
        False,
        "count each pair of Friedel mates once in the curves, so that turning a map changes nothing; RELION counts "
        "those with kx = 0 twice",
        group="expert",
    )
    random_seed: int = option(0, "seed of the random phases; negative draws one, which is printed", group="expert")
    locres: bool = option(
        False,
        "local resolution, in place of one for the whole map; gives its map and a map filtered by it",
        group="expert",
    )
    locres_sampling: float = option(25.0, "distance of the points of --locres", group="expert", unit="A", gt=0)
    locres_maskrad: float | None = option(
        None, "radius of the ball around each point", group="expert", unit="A", unset="half of --locres_sampling", gt=0
    )
    locres_edgwidth: float | None = option(
        None, "soft edge of the ball", group="expert", unit="A", unset="--locres_sampling", gt=0
    )
    locres_randomize_at: float = option(
        25.0, "randomise phases from this resolution on, for --locres", group="expert", unit="A", gt=0
    )
    locres_minres: float = option(50.0, "no local resolution is worse than this", group="expert", unit="A", gt=0)
    j: int = again(Common, "j")
