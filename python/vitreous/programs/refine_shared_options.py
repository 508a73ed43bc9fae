"""Options that RELION's refinement program has for classification in 2D and 3D and for refinement alike.

Each program adds its own: class2d_options, class3d_options, refine3d_options. An option has one declaration; where a
program needs it with other words, ``again`` copies it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vitreous.programs.options import SHARED_THREADS, Common, ProgramOptions, again, flag_of, option


class ClassificationOptions(ProgramOptions):
    """Options of classifications: classes and iterations are given."""

    # Basic
    K: int = option(1, "number of classes", group="basic", ge=1, saved=("model", "rlnNrClasses"))
    iter: int = option(
        50,
        "number of iterations; RELION's GUI gives 25",
        group="basic",
        unset="50",
        on_continue=True,
        ge=0,
        saved=("optimiser", "rlnNumberOfIterations"),
    )
    fast_subsets: bool = option(
        False,
        "iterations 1 to 15 use subsets: 100 K particles, 300 K, then 300 K or 30%",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoFastSubsetOptimisation"),
    )

    # Sampling
    skip_align: bool = option(
        False,
        "keep angles and offsets of the particles file, classify only",
        group="sampling",
        on_continue=True,
        saved=("optimiser", "rlnDoSkipAlign"),
    )


class RefinementOptions(ProgramOptions):
    """Options of every classification and refinement."""

    SHARED: ClassVar[bool] = True

    # Input
    particles: str | None = option(
        None, "particles: a STAR file", group="input", flag="i", metavar="FILE", unset="required for a new run"
    )
    continue_from: str | None = option(
        None,
        "go on from this root_itNNN_optimiser.star; options that are not given again are those of the run",
        group="input",
        flag="continue",
        metavar="FILE",
        unset="a new run",
    )
    solvent_mask: str | None = option(
        None,
        "mask for the references, values 0 to 1, with --flatten_solvent",
        group="input",
        metavar="FILE",
        unset="round, of the particle diameter",
        on_continue=True,
        saved=("optimiser", "rlnSolventMaskName"),
    )
    tau: str | None = option(
        None,
        "STAR file with the power of the signal per shell, kept for all iterations",
        group="input",
        metavar="FILE",
        unset="from the references",
        on_continue=True,
        saved=("optimiser", "rlnTauSpectrumName"),
    )

    # Output
    output: str | None = option(
        None,
        "start of the output names: Job/run gives Job/run_it025_data.star",
        group="output",
        flag="o",
        metavar="ROOT",
        unset="required for a new run",
        on_continue=True,
        saved=("optimiser", "rlnOutputRootName"),
    )
    pipeline_control: str | None = again(
        Common,
        "pipeline_control",
        "folder for RELION_JOB_EXIT_SUCCESS, _FAILURE or _ABORTED; RELION_JOB_ABORT_NOW there stops the run",
        on_continue=True,
    )
    verb: int = again(Common, "verb", on_continue=True)

    # Basic
    tau2_fudge: float = option(
        1.0,
        "weight of the data against the prior",
        group="basic",
        unset="1",
        on_continue=True,
        gt=0,
        saved=("model", "rlnTau2FudgeFactor"),
    )
    particle_diameter: float | None = option(
        None,
        "diameter of the circular mask",
        group="basic",
        unit="A",
        unset="the box less the mask edge",
        on_continue=True,
        gt=0,
        saved=("optimiser", "rlnParticleDiameter"),
    )
    zero_mask: bool = option(
        False,
        "outside the mask put the background's mean; without it, synthetic noise",
        group="basic",
        saved=("optimiser", "rlnDoZeroMask"),
    )
    flatten_solvent: bool = option(
        False,
        "mask the references after each iteration",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoSolventFlattening"),
    )
    ctf: bool = option(False, "correct for the CTF", group="basic", saved=("optimiser", "rlnDoCorrectCtf"))
    ctf_intact_first_peak: bool = option(
        False,
        "take the CTF as 1 up to its first peak",
        group="basic",
        saved=("optimiser", "rlnDoIgnoreCtfUntilFirstPeak"),
    )
    norm: bool = option(
        False,
        "correct each particle's intensity for errors of normalisation",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoCorrectNorm"),
    )
    scale: bool = option(
        False,
        "correct the intensity scale of each micrograph or group",
        group="basic",
        on_continue=True,
        saved=("optimiser", "rlnDoCorrectScale"),
    )
    no_norm: bool = option(False, "switch --norm off", group="basic", on_continue=True)
    no_scale: bool = option(False, "switch --scale off", group="basic", on_continue=True)
    ini_high: float | None = option(
        None,
        "low-pass the first references to this resolution",
        group="basic",
        unit="A",
        unset="off",
        on_continue=True,
        gt=0,
    )
    firstiter_cc: bool = option(
        False, "cross-correlation in iteration 1, for references not on the particles' greyscale", group="basic"
    )
    strict_highres_exp: float | None = option(
        None,
        "use no data finer than this for alignment",
        group="basic",
        unit="A",
        unset="off",
        on_continue=True,
        gt=0,
        saved=("optimiser", "rlnHighresLimitExpectation"),
    )

    # Sampling
    offset_range: float = option(
        6.0,
        "search range of the origin",
        group="sampling",
        unit="px",
        on_continue=True,
        ge=0,
        saved=("sampling", "rlnOffsetRange"),
        saved_in_A=True,
    )
    offset_step: float = option(
        2.0,
        "search step of the origin before oversampling",
        group="sampling",
        unit="px",
        on_continue=True,
        gt=0,
        saved=("sampling", "rlnOffsetStep"),
        saved_in_A=True,
    )
    oversampling: int = option(
        1,
        "the fine pass halves both steps this many times; 0 is one pass",
        group="sampling",
        on_continue=True,
        ge=0,
        le=4,
        saved=("optimiser", "rlnAdaptiveOversampleOrder"),
    )
    perturb: float = option(
        0.5,
        "random shift of the sampling grid per iteration, in steps; 0 is none",
        group="sampling",
        on_continue=True,
        ge=0,
        le=1,
        saved=("sampling", "rlnSamplingPerturbFactor"),
    )
    offset: float = option(
        10.0, "first standard deviation of the origins", group="sampling", unit="A", unset="10", on_continue=True, gt=0
    )

    # Computation
    j: int = again(Common, "j", SHARED_THREADS, on_continue=True)
    gpu: str | None = option(
        None,
        "run on GPUs; where there is no CUDA module the CPU runs and the log says so",
        group="compute",
        metavar="IDS",
        unset="the CPU",
        bare="default",
        on_continue=True,
    )
    random_seed: int | None = option(
        None,
        "seed of all random numbers",
        group="compute",
        unset="from the clock, and recorded",
        ge=0,
        saved=("optimiser", "rlnRandomSeed"),
    )
    deterministic: bool = option(
        False,
        "the same bytes whatever the number of threads",
        group="compute",
        on_continue=True,
        no_effect="no sum depends on it anyway",
    )
    preread_images: bool = option(False, "keep all particles in memory", group="compute", on_continue=True)
    scratch_dir: str | None = option(
        None,
        "copy the particles to this local folder first",
        group="compute",
        metavar="FOLDER",
        unset="off",
        on_continue=True,
    )
    keep_free_scratch: float = option(
        10.0, "space to leave free in --scratch_dir", group="compute", unit="GB", on_continue=True, ge=0
    )
    reuse_scratch: bool = option(
        False,
        "use the copy that an earlier job left",
        group="compute",
        on_continue=True,
        no_effect="a copy that is still that of the particles is always used",
    )
    keep_scratch: bool = option(False, "leave the copy in --scratch_dir at the end", group="compute", on_continue=True)
    pool: int = option(
        1,
        "images per thread task",
        group="compute",
        on_continue=True,
        ge=1,
        no_effect="batches are made to fit cache and memory",
    )
    onthefly_shifts: bool = option(
        False,
        "shifted images are not stored",
        group="compute",
        on_continue=True,
        no_effect="shifts are always phase factors made when needed",
    )
    dont_combine_weights_via_disc: bool = option(
        False, "sums travel over MPI", group="compute", on_continue=True, no_effect="sums never travel through files"
    )
    no_parallel_disc_io: bool = option(
        False,
        "only one process reads",
        group="compute",
        on_continue=True,
        no_effect="every process reads its part",
    )
    cpu: bool = option(False, "vectorised CPU code", group="compute", on_continue=True, no_effect="it is always used")
    free_gpu_memory: float = option(
        0.0,
        "GPU memory to leave free",
        group="compute",
        unit="MB",
        on_continue=True,
        ge=0,
        no_effect="memory is predicted and fitted before the start",
    )
    failsafe_threshold: int = option(
        40,
        "particles with zero weights before an error",
        group="compute",
        on_continue=True,
        ge=0,
        no_effect="--max_bad_fraction decides",
    )

    # Expert
    strict_lowres_exp: float | None = option(
        None,
        "use no reference data coarser than this for alignment",
        group="expert",
        unit="A",
        unset="off",
        gt=0,
        saved=("optimiser", "rlnLowresLimitExpectation"),
    )
    adaptive_fraction: float = option(
        0.999,
        "the fine pass keeps this share of each particle's weights",
        group="expert",
        gt=0,
        le=1,
        saved=("optimiser", "rlnAdaptiveOversampleFraction"),
    )
    maxsig: int | None = option(
        None,
        "at most this many poses of a particle go to the fine pass",
        group="expert",
        unset="no limit",
        on_continue=True,
        ge=1,
        saved=("optimiser", "rlnMaximumSignificantPoses"),
    )
    maskedge: float = option(
        5.0, "width of the soft mask edges", group="expert", unit="px", ge=0, saved=("optimiser", "rlnWidthMaskEdge")
    )
    incr_size: int = option(
        10,
        "shells used beyond the current resolution",
        group="expert",
        unit="px",
        ge=0,
        saved=("optimiser", "rlnIncrementImageSize"),
    )
    coarse_size: int | None = option(
        None,
        "largest image size of the coarse pass",
        group="expert",
        unit="px",
        unset="from the angular step",
        ge=2,
        saved=("optimiser", "rlnMaximumCoarseImageSize"),
    )
    nr_parts_sigma2noise: int = option(
        1000, "particles per optics group for the first noise spectrum", group="expert", unset="1000", ge=1
    )
    fix_sigma_noise: bool = option(
        False, "keep the first noise spectra", group="expert", saved=("optimiser", "rlnFixSigmaNoiseEstimates")
    )
    fix_sigma_offset: bool = option(
        False,
        "keep the standard deviation of the origins",
        group="expert",
        saved=("optimiser", "rlnFixSigmaOffsetEstimates"),
    )
    min_sigma2_offset: float = option(
        2.0, "smallest variance of the origins in A^2", group="expert", metavar="A2", gt=0
    )
    minres_map: int = option(5, "shells from the origin that get no prior", group="expert", unit="px", ge=0)
    pad: int = option(
        2,
        "padding of the references' transforms",
        group="expert",
        on_continue=True,
        ge=1,
        le=4,
        saved=("model", "rlnPaddingFactor"),
    )
    ctf_phase_flipped: bool = option(
        False, "the images are phase-flipped", group="expert", saved=("optimiser", "rlnCtfDataArePhaseFlipped")
    )
    only_flip_phases: bool = option(
        False, "correct the CTF's sign only", group="expert", saved=("optimiser", "rlnDoOnlyFlipCtfPhases")
    )
    ctf_uncorrected_ref: bool = option(
        False, "the first references are not CTF-corrected: no CTF on them in iteration 1", group="expert"
    )
    dont_check_norm: bool = option(
        False, "skip the check that the particles' background is normalised", group="expert", on_continue=True
    )
    max_bad_fraction: float = option(
        0.01,
        "stop when more than this share of the particles cannot be used; fewer are listed and left out",
        group="expert",
        on_continue=True,
        ge=0,
        le=1,
    )
    ctf_corrected_ref: bool = option(
        False, "the references are CTF-corrected", group="expert", no_effect="it is assumed; see --ctf_uncorrected_ref"
    )
    skip_gridding: bool = option(
        False, "no iterative gridding", group="expert", on_continue=True, no_effect="gridding is never iterative"
    )

    @property
    def do_norm(self) -> bool:
        """Whether particles' intensities are corrected."""
        return self.norm and not self.no_norm

    @property
    def do_scale(self) -> bool:
        """Whether groups' intensities are corrected."""
        return self.scale and not self.no_scale

    @model_validator(mode="after")
    def _check_input_and_corrections(self) -> RefinementOptions:
        if self.continue_from is None:
            self._need("particles", "output")
        elif self.particles is not None:
            todo = "leave --i out to go on with the run's particles"
            raise ValueError(f"--i: found together with --continue, expected one of them; {todo}")
        if self.ctf_phase_flipped and self.only_flip_phases:
            both = "--only_flip_phases: found together with --ctf_phase_flipped"
            raise ValueError(f"{both}, expected one of them; leave one out")
        for flag in ("ctf_intact_first_peak", "ctf_phase_flipped", "only_flip_phases"):
            if getattr(self, flag) and not self.ctf and self.continue_from is None:
                raise ValueError(f"--{flag}: found without --ctf, expected with it; add --ctf, or leave --{flag} out")
        if self.keep_scratch and not self.scratch_dir:
            raise ValueError("--keep_scratch: found without --scratch_dir, expected with it; add --scratch_dir FOLDER")
        return self

    def _need(self, *names: str) -> None:
        """ValueError where an option that a new run needs has no value."""
        for name in names:
            if not getattr(self, name):
                flag = flag_of(name, type(self).model_fields[name])
                help_ = f"see vitreous {self.PROGRAM} --help"
                raise ValueError(f"--{flag}: found nothing, expected a value, which a new run needs; {help_}")
