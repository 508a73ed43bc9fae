"""Options of autopick."""

from __future__ import annotations

from typing import ClassVar

from vitreous.programs.options import SHARED_THREADS, Common, ProgramOptions, again, option

_HELIX = "picking of helices is not in vitreous yet: leave it out to pick segments as single particles, or use relion_autopick"
_TOPAZ = "vitreous does not call Topaz: run it by itself and import its coordinates, or leave the topaz options out"
REFUSED = dict.fromkeys(
    [
        "helix",
        "helical_tube_kappa_max",
        "helical_tube_outer_diameter",
        "helical_tube_length_min",
        "amyloid",
        "max_diam_local_avg",
    ],
    _HELIX,
) | dict.fromkeys(
    [
        "topaz_train",
        "topaz_extract",
        "topaz_model",
        "topaz_nr_particles",
        "topaz_threshold",
        "topaz_train_picks",
        "topaz_train_parts",
        "topaz_test_ratio",
        "topaz_downscale",
        "topaz_radius",
        "topaz_args",
        "topaz_workers",
        "topaz_plot",
    ],
    _TOPAZ,
)


class Options(ProgramOptions):
    """Particles found in micrographs, without or with templates."""

    PROGRAM: ClassVar[str] = "autopick"
    SHARED: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = "finds particles in micrographs, as blobs (--LoG) or by templates (--ref)"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous autopick --i micrographs_ctf.star --odir AutoPick/job006/ --LoG --LoG_diam_min 150 --LoG_diam_max "
        "180 --shrink 0 --lowpass 20",
        "vitreous autopick --i micrographs_ctf.star --odir AutoPick/job010/ --ref class_averages.star --invert --ctf "
        "--ang 5 --shrink 0 "
        "--lowpass 20 --threshold 0.1 --min_distance 100",
        "vitreous autopick ... --write_fom_maps; vitreous autopick ... --read_fom_maps --threshold 0.3",
    )
    REFUSED: ClassVar[dict[str, str]] = REFUSED

    # Input and output
    micrographs: str | None = option(
        None,
        "STAR file of micrographs, or a pattern such as 'Micrographs/*.mrc'",
        group="input",
        flag="i",
        metavar="FILE",
        unset="required",
    )
    angpix: float | None = option(
        None,
        "pixel size of the micrographs of a pattern; a STAR file tells its own",
        group="input",
        unit="A",
        unset="from the STAR file",
        gt=0,
    )
    ref: str | None = option(
        None,
        "references: a STAR file, a stack, a map (.mrc with sections), or gauss for a Gaussian blob",
        group="input",
        metavar="FILE",
        unset="none",
    )
    angpix_ref: float | None = option(
        None,
        "pixel size of the references",
        group="input",
        unit="A",
        unset="from the header of a STAR file's first image, else that of the micrographs",
        gt=0,
    )  # fmt: skip
    odir: str = option("AutoPick/", "folder of the coordinate files", group="output", metavar="FOLDER")
    pickname: str = option("autopick", "end of the coordinate files' names", group="output")
    write_fom_maps: bool = option(
        False, "write the maps of figures of merit, to be read with other peak options", group="output"
    )
    fom_mrc: bool = option(False, "with --write_fom_maps, write each map as MRC too", group="output")
    read_fom_maps: bool = option(False, "read the maps of an earlier run and only find peaks", group="output")
    no_fom_limit: bool = option(False, "write maps for more than 30 micrographs", group="output")
    only_do_unfinished: bool = option(False, "leave out micrographs that have a coordinate file", group="output")
    pipeline_control: str | None = again(
        Common, "pipeline_control",
        "folder for RELION_JOB_EXIT_SUCCESS, _FAILURE or _ABORTED; RELION_JOB_ABORT_NOW there stops the run",
    )  # fmt: skip
    verb: int = again(Common, "verb")

    # Blobs
    LoG: bool = option(False, "pick blobs, by the Laplacian of a Gaussian", group="basic")
    LoG_diam_min: float | None = option(
        None, "least diameter of the particles", group="basic", unit="A", unset="required with --LoG", gt=0
    )
    LoG_diam_max: float | None = option(
        None, "largest diameter of the particles", group="basic", unit="A", unset="required with --LoG", gt=0
    )
    LoG_neighbour: float = option(
        100.0, "least distance of two picks, in percent of the mean of own and least diameter", group="basic", ge=0
    )
    Log_invert: bool = option(False, "particles are white on dark", group="basic")
    LoG_invert: bool = option(False, "the same as --Log_invert", group="basic")
    LoG_adjust_threshold: float = option(
        0.0,
        "threshold in standard deviations of the response from its mean: higher gives fewer picks, negative more",
        group="basic",
    )
    LoG_upper_threshold: float = option(
        99999.0, "responses of more standard deviations above the mean are contamination", group="basic"
    )
    LoG_upper_median: float | None = option(
        None, "picks of more than this many times the median figure of merit of their micrograph are contamination",
        group="basic", unset="off", gt=1,
    )  # fmt: skip

    # Templates
    lowpass: float | None = option(
        None,
        "resolution limit; with --shrink 0 it also sets the size of the maps",
        group="basic",
        unit="A",
        unset="off",
        gt=0,
    )
    highpass: float | None = option(
        None,
        "filter out what is coarser from the micrographs; templates only",
        group="basic",
        unit="A",
        unset="off",
        gt=0,
    )
    particle_diameter: float | None = option(
        None,
        "diameter of the circle around a template",
        group="basic",
        unit="A",
        unset="from the references' own circle",
        gt=0,
    )
    invert: bool = option(False, "particles are dark and references white, or the other way round", group="basic")
    ctf: bool = option(False, "multiply templates with the CTF of the micrograph", group="basic")
    ctf_intact_first_peak: bool = option(False, "leave the CTF out up to its first peak", group="basic")
    ang: float = option(
        10.0,
        "angular step of the templates in the plane; 360 for no rotation",
        group="sampling",
        unit="deg",
        gt=0,
        le=360,
    )
    healpix_order: int = option(
        1,
        "directions of a map's projections: 0 is 60 degrees, 1 is 30, 2 is 15, 3 is 7.5",
        group="sampling",
        ge=0,
        le=4,
    )
    sym: str = option("C1", "point group of a map, whose repeated views are left out", group="basic")
    gauss_max: float = option(0.1, "peak of the blob of --ref gauss", group="basic")
    threshold: float = option(0.25, "least figure of merit", group="basic")
    min_distance: float | None = option(
        None, "least distance of two picks", group="basic", unit="A", unset="half the side of the templates", gt=0
    )
    max_stddev_noise: float | None = option(
        None,
        "no picks where the surroundings' standard deviation is higher, in those of the micrograph; 1 to 1.5 keeps off "
        "carbon and ice",
        group="basic", unset="off", gt=0,
    )  # fmt: skip
    min_avg_noise: float = option(
        -999.0,
        "no picks where the surroundings' mean is lower, in standard deviations of the micrograph; off at -900 and "
        "below",
        group="basic",
    )

    # Sampling of the maps, computation
    shrink: float = option(
        1.0,
        "size of the maps: 0 = as the low-pass allows, which is best; up to 1 = fraction of the micrograph; more = px",
        group="sampling",
        ge=0,
    )
    j: int = again(Common, "j", SHARED_THREADS)
    gpu: str | None = option(
        None, "run on GPUs; where there is no CUDA code for this the CPU runs and says so", group="compute", metavar="IDS", unset="the CPU",
        bare="default",
    )  # fmt: skip

    # Expert
    LoG_use_ctf: bool = option(False, "divide by the CTF up to its first peak before looking for blobs", group="expert")
    Log_max_search: float = option(
        5.0, "diameters up to this many times larger and smaller are tried too", group="expert", ge=2, le=50
    )
    LoG_max_search: float | None = option(
        None, "the same as --Log_max_search", group="expert", unset="--Log_max_search", ge=2, le=50
    )
    keep_best_of_pairs: str | None = option(
        None, "of two picks closer than --min_distance always keep the better one; RELION drops both where they are of different clusters",
        group="expert", metavar="yes|no", bare="yes", unset="yes with a map, whose views find each particle several times; no otherwise",
    )  # fmt: skip
    shrink_particle_mask: float = option(
        2.0, "make the circle around a template smaller by this much", group="expert", unit="px", ge=0
    )
    outlier_removal_zscore: float = option(
        8.0, "pixels this many standard deviations off become the mean; 0 keeps all", group="expert", ge=0
    )
    skip_optimise_scale: bool = option(False, "keep the size of the maps where its FFT is slow", group="expert")
    skip_side: int = option(
        0, "margin of the micrograph without picks, beyond half the template", group="expert", unit="px", ge=0
    )
    random_seed: int | None = option(
        1, "seed of the noise around micrographs that are no squares", group="expert", unset="from the clock", ge=0
    )
    extra_pad: int = option(0, "padding of the micrograph on every side", group="expert", unit="px", ge=0)
    pad: float = option(2.0, "padding of the templates' transforms", group="expert", ge=1, le=4)
    fom_noise: bool = option(
        False, "scale figures of merit with noise in the expected particle, as RELION does; without it the number is the same in every run",
        group="expert",
    )  # fmt: skip
    bank_error: float = option(
        0.001,
        "largest relative error of a template that is made from fewer basis images; 0 uses every template by itself",
        group="expert",
        ge=0,
        le=0.1,
    )
    fn_topaz_exe: str | None = option(
        None,
        "Topaz's program",
        group="expert",
        metavar="FILE",
        unset="none",
        no_effect="RELION's interface sends it for every kind of picking",
    )

    @property
    def folder(self) -> str:
        """--odir with one slash at its end."""
        return self.odir.rstrip("/") + "/"

    @property
    def suffix(self) -> str:
        """End of the names of coordinate files."""
        return f"_{self.pickname}.star"

    @property
    def output(self) -> str:
        """Start of the names of the log and the record."""
        return self.folder + self.pickname
