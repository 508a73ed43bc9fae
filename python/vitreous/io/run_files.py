"""The files of one iteration, root_itNNN_{optimiser,model,sampling,data}.star and _classes.mrcs, and the run's state.

A run continues from these files alone, to the same answer, so they hold all digits of every number but the particles',
which the run itself holds as the file does (io/particles.py, quantise). Each file appears whole or not at all, and the
optimiser's, which names the others, comes last: while it is missing the iteration did not happen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io.model_star import model_blocks, read_model, reference_dimensions, reference_names
from vitreous.io.mrc import write_mrc
from vitreous.io.particles import quantise, read_particles, write_particles
from vitreous.io.references import read_images
from vitreous.io.star import Block, read_star, write_star
from vitreous.io.table import Row, beside, exists
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Progress, Sampling

OWN_OPTIONS = "vitreous_options"

# data_optimiser_general in RELION 5's order -> value where the run has nothing to say. RELION's own defaults, and with
# them the labels that only 3.1 knows and asks for when it continues.
OPTIMISER: dict[str, Any] = {
    "rlnOutputRootName": "",
    "rlnModelStarFile": "",
    "rlnExperimentalDataStarFile": "",
    "rlnTomoTomogramsFile": "",
    "rlnTomoTrajectoriesFile": "",
    "rlnOrientSamplingStarFile": "",
    "rlnCurrentIteration": 0,
    "rlnNumberOfIterations": 0,
    "rlnDoSplitRandomHalves": 0,
    "rlnJoinHalvesUntilThisResolution": -1.0,
    "rlnAdaptiveOversampleOrder": 1,
    "rlnAdaptiveOversampleFraction": 0.999,
    "rlnRandomSeed": 0,
    "rlnParticleDiameter": -1.0,
    "rlnWidthMaskEdge": 5,
    "rlnDoZeroMask": 0,
    "rlnDoSolventFlattening": 0,
    "rlnDoSolventFscCorrection": 0,
    "rlnSolventMaskName": "None",
    "rlnSolventMask2Name": "None",
    "rlnBodyStarFile": "None",
    "rlnTauSpectrumName": "None",
    "rlnMaximumCoarseImageSize": -1,
    "rlnHighresLimitExpectation": -1.0,
    "rlnLowresLimitExpectation": -1.0,
    "rlnIncrementImageSize": 10,
    "rlnDoMapEstimation": 1,
    "rlnDoFastSubsetOptimisation": 0,
    "rlnDoExternalReconstruct": 0,
    "rlnDoGradientRefine": 0,
    "rlnDoStochasticGradientDescent": 0,
    "rlnTau2FudgeScheme": "",
    "rlnTau2FudgeArg": -1.0,
    "rlnMaximumSignificantPoses": -1,
    "rlnDoAutoRefine": 0,
    "rlnDoAutoSampling": 0,
    "rlnAutoLocalSearchesHealpixOrder": 4,
    "rlnNumberOfIterWithoutResolutionGain": 0,
    "rlnBestResolutionThusFar": 0.0,
    "rlnNumberOfIterWithoutChangingAssignments": 0,
    "rlnDoSkipAlign": 0,
    "rlnDoSkipRotate": 0,
    "rlnOverallAccuracyRotations": 999.0,
    "rlnOverallAccuracyTranslationsAngst": 999.0,
    "rlnChangesOptimalOrientations": 999.0,
    "rlnChangesOptimalOffsets": 999.0,
    "rlnChangesOptimalClasses": 9999999.0,
    "rlnSmallestChangesOrientations": 999.0,
    "rlnSmallestChangesOffsets": 999.0,
    "rlnSmallestChangesClasses": 9999999,
    "rlnLocalSymmetryFile": "None",
    "rlnDoHelicalRefine": 0,
    "rlnFourierMask": "None",
    "rlnHasConverged": 0,
    "rlnHasHighFscAtResolLimit": 0,
    "rlnHasLargeSizeIncreaseIterationsAgo": 0,
    "rlnDoCorrectNorm": 0,
    "rlnDoCorrectScale": 0,
    "rlnDoCorrectCtf": 0,
    "rlnDoCenterClasses": 0,
    "rlnDoIgnoreCtfUntilFirstPeak": 0,
    "rlnCtfDataArePhaseFlipped": 0,
    "rlnDoOnlyFlipCtfPhases": 0,
    "rlnRefsAreCtfCorrected": 1,
    "rlnFixSigmaNoiseEstimates": 0,
    "rlnFixSigmaOffsetEstimates": 0,
    "rlnMaxNumberOfPooledParticles": 1,
}
MODEL_FILES = ("rlnModelStarFile", "rlnModelStarFile2")  # the second one of half-set 2
# label -> field of Progress
PROGRESS = {
    "rlnCurrentIteration": "iteration",
    "rlnNumberOfIterations": "n_iterations",
    "rlnRandomSeed": "random_seed",
    "rlnIncrementImageSize": "increment_px",
    "rlnNumberOfIterWithoutResolutionGain": "n_iter_without_gain",
    "rlnNumberOfIterWithoutChangingAssignments": "n_iter_without_change",
    "rlnBestResolutionThusFar": "best_resolution_inv_A",
    "rlnChangesOptimalOrientations": "change_angle_deg",
    "rlnChangesOptimalOffsets": "change_offset_A",
    "rlnChangesOptimalClasses": "change_class",
    "rlnSmallestChangesOrientations": "smallest_change_angle_deg",
    "rlnSmallestChangesOffsets": "smallest_change_offset_A",
    "rlnHasConverged": "has_converged",
    "rlnHasHighFscAtResolLimit": "high_fsc_at_limit",
    "rlnOverallAccuracyRotations": "accuracy_rotation_deg",
    "rlnOverallAccuracyTranslationsAngst": "accuracy_shift_A",
}
# label in our own block -> field of Progress: what RELION has no label for. It keeps the smallest change of classes as
# a whole number, which for a fraction is 0 or 1.
OWN_PROGRESS = {"vitreousSmallestChangesClasses": "smallest_change_class", "vitreousFineEnough": "fine_enough"}
# label -> field of Sampling
SAMPLING = {
    "rlnPsiStep": "psi_step_deg",
    "rlnOffsetRange": "offset_range_A",
    "rlnOffsetStep": "offset_step_A",
    "rlnSamplingPerturbInstance": "perturb",
    "rlnSamplingPerturbFactor": "perturb_factor",
    "rlnPsiStepOriginal": "psi_step_original_deg",
    "rlnOffsetRangeOriginal": "offset_range_original_A",
    "rlnOffsetStepOriginal": "offset_step_original_A",
}
OFFSETS = ("rlnOffsetRange", "rlnOffsetStep", "rlnOffsetRangeOriginal", "rlnOffsetStepOriginal")


@dataclass(frozen=True)
class RunPaths:
    """Names of the files of one iteration, as they are written into one another."""

    root: str
    iteration: int

    def _name(self, rest: str) -> str:
        return f"{self.root}_it{self.iteration:03d}_{rest}"

    @property
    def optimiser(self) -> str:
        return self._name("optimiser.star")

    @property
    def model(self) -> str:
        return self._name("model.star")

    @property
    def sampling(self) -> str:
        return self._name("sampling.star")

    @property
    def data(self) -> str:
        return self._name("data.star")

    @property
    def classes(self) -> str:
        return self._name("classes.mrcs")

    @property
    def unmasked(self) -> str:
        return f"{self.root}_unmasked_classes.mrcs"


@dataclass(frozen=True, kw_only=True)
class RunLabels:
    """What the files of an iteration hold beside its state.

    Attributes
    ----------
    root : start of the names of all files
    optimiser, model_general, sampling_general : label -> int, float or str of the list blocks, for the options
    options : what only this program writes: name -> str
    """

    root: str
    optimiser: dict[str, Any]
    model_general: dict[str, Any]
    sampling_general: dict[str, Any]
    options: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Run(RunLabels):
    """All that the files of one iteration with 2D references hold."""

    model: Model
    sampling: Sampling
    progress: Progress
    dataset: Dataset


def write_iteration(
    root: str,
    model: Model,
    sampling: Sampling,
    progress: Progress,
    dataset: Dataset,
    settings: Mapping[str, Any],
    *,
    options: Mapping[str, Any] | None = None,
    unmasked: np.ndarray | None = None,
    command: str = "",
    program: str = "vitreous",
) -> RunPaths:
    """Write the files of iteration ``progress.iteration``, the optimiser's last.

    Parameters
    ----------
    root : start of the names, with its folder (which exists), e.g. Class2D/job012/run
    dataset : made by ``quantise``, so that what goes on is what was written
    settings : label of data_optimiser_general -> value, of the options that RELION knows; booleans become 0 or 1 and
        None the label's default
    options : further options, kept in a block of our own as text; None is left out
    unmasked : (K, box, box) float32 references before the solvent was flattened, for root_unmasked_classes.mrcs
    command, program : for the head of the optimiser's file

    Returns
    -------
    RunPaths

    Raises  InputError: a label that data_optimiser_general lacks; WriteError: the disk.
    """
    check_settings(root, settings)
    paths = RunPaths(str(root), progress.iteration)
    write_mrc(paths.classes, model.references, model.pixel_size_A, stack=True)
    if unmasked is not None:
        write_mrc(paths.unmasked, unmasked, model.pixel_size_A, stack=True)
    names = [f"{k + 1:06d}@{paths.classes}" for k in range(model.n_classes)]
    write_star(paths.model, model_blocks(model, names, optics_of_groups(dataset)))
    write_star(paths.sampling, [list_block("sampling_general", sampling_values(sampling))])
    write_particles(paths.data, dataset)
    values = optimiser_values(paths, [paths.model], sampling, progress, settings)
    write_optimiser(paths.optimiser, values, progress, options, command, program)
    return paths


def check_settings(root: str, settings: Mapping[str, Any]) -> None:
    """Raise an InputError where data_optimiser_general has no such label, before any file is written."""
    unknown = [label for label in settings if label not in OPTIMISER]
    if unknown:
        raise InputError(f"{root}: found the setting {unknown[0]}, expected a label of OPTIMISER; pass it in options")


def write_optimiser(
    path: str, values: Mapping[str, Any], progress: Progress, options, command: str, program: str
) -> None:
    """The file that names all others of an iteration, so the last to be written; ``values`` of ``optimiser_values``."""
    own = {label: float(getattr(progress, name)) for label, name in OWN_PROGRESS.items()}
    own |= {name: str(value) for name, value in (options or {}).items() if value is not None}
    blocks = [list_block("optimiser_general", values), list_block(OWN_OPTIONS, own)]
    write_star(path, blocks, comments=(f"RELION optimiser; version {program}", command))


def list_block(name: str, values: Mapping[str, Any]) -> Block:
    """A block of one value per label, with all digits."""
    columns = {label: np.array([value], object if isinstance(value, str) else None) for label, value in values.items()}
    return Block(name, "list", columns, precise=True)


def optimiser_values(
    paths: RunPaths, models: list[str], sampling: Sampling, progress: Progress, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """label -> value of data_optimiser_general; ``models`` are the names of the one or two model files."""
    values = OPTIMISER | {label: value for label, value in settings.items() if value is not None}
    values |= dict(zip(MODEL_FILES, models))
    values |= {
        "rlnOutputRootName": paths.root,
        "rlnExperimentalDataStarFile": paths.data,
        "rlnOrientSamplingStarFile": paths.sampling,
        "rlnAdaptiveOversampleOrder": sampling.oversampling,
        "rlnSmallestChangesClasses": int(min(progress.smallest_change_class + 0.5, 9999999)),
    }
    values |= {label: getattr(progress, name) for label, name in PROGRESS.items()}
    # The type is the default's: RELION reads 5.0 as a whole number with a complaint.
    values = {label: type(OPTIMISER.get(label, ""))(value) for label, value in values.items()}
    first = {label: values[label] for label in ("rlnOutputRootName", *MODEL_FILES) if label in values}
    return first | values


def sampling_values(sampling: Sampling) -> dict[str, Any]:
    """label -> value of data_sampling_general in RELION's order."""
    values = {label: float(getattr(sampling, name)) for label, name in SAMPLING.items()}
    head = {"rlnIs3DSampling": 0, "rlnIs3DTranslationalSampling": 0}
    order = ["rlnPsiStep", "rlnOffsetRange", "rlnOffsetStep", "rlnHelicalOffsetStep", "rlnSamplingPerturbInstance"]
    order += ["rlnSamplingPerturbFactor", "rlnHealpixOrderOriginal", "rlnPsiStepOriginal"]
    values |= {"rlnHelicalOffsetStep": -1.0, "rlnHealpixOrderOriginal": -1}
    return head | {label: values[label] for label in order} | {label: values[label] for label in OFFSETS[2:]}


def optics_of_groups(dataset: Dataset) -> np.ndarray:
    """(n_groups,) int64: the optics group of the first particle of each intensity-scale group, 0 for an empty group."""
    out = np.zeros(len(dataset.group_names), np.int64)
    out[dataset.particles.group[::-1]] = dataset.particles.optics[::-1]
    return out


def read_iteration(optimiser) -> Run:
    """The state of a run from the root_itNNN_optimiser.star of one iteration, ours or RELION's (3.0 to 5).

    Labels that other versions lack have defaults, origins in px become A, and a missing sampling file (RELION writes
    none for iteration 0) gives the steps of RELION's defaults.

    Parameters
    ----------
    optimiser : path; the files it names are looked for as named, then beside it

    Raises  InputError: a file is missing or damaged, or is of a refinement with two half-sets.
    """
    head = read_optimiser(optimiser)
    optimiser, general = head.path, head.general
    if general.flag("rlnDoSplitRandomHalves", False):
        raise InputError(
            f"{optimiser}: is of a refinement with two half-sets, expected a classification; give another file"
        )
    model_star = read_existing(head.named("rlnModelStarFile"), "the model of the iteration")
    if reference_dimensions(model_star) != 2:
        raise InputError(f"{optimiser}: is of a run with 3D references, expected 2D; give it to class3d or refine3d")
    dataset = head.read_dataset()
    names = [beside(optimiser, name) for name in reference_names(model_star)]
    references = read_images(names)
    model = read_model(model_star, references, dataset.group_names, dataset.group_counts, optics_of_groups(dataset))
    sampling_path = head.named("rlnOrientSamplingStarFile", False)
    sampling, sampling_general = read_sampling(read_star(sampling_path) if sampling_path else None, model.pixel_size_A)
    sampling.oversampling = general.integer("rlnAdaptiveOversampleOrder", 1)
    return Run(
        model=model,
        sampling=sampling,
        progress=head.read_progress(model.pixel_size_A),
        dataset=dataset,
        **head.labels(model_star, sampling_general),
    )


@dataclass(frozen=True)
class OptimiserFile:
    """An _optimiser.star: the entry to the files of an iteration."""

    path: Path
    general: Row
    own: Row

    def labels(self, model_star, sampling_general: dict[str, Any]) -> dict[str, Any]:
        """The fields of RunLabels, with those of the model's file and of ``read_sampling``."""
        start = re.sub(r"(_it\d+)?_optimiser\.star$", "", str(self.path))
        own = list_values(self.own.block).items()
        return {
            "root": self.general.string("rlnOutputRootName", start),
            "optimiser": list_values(self.general.block),
            "model_general": list_values(model_star["model_general"]),
            "sampling_general": sampling_general,
            "options": {name: str(value) for name, value in own if name not in OWN_PROGRESS},
        }

    def named(self, label: str, needed: bool = True) -> str:
        """The file that a label names; empty where a file that is not needed is missing."""
        name = self.general.string(label, "")
        if not name and needed:
            raise self.general.missing(label, "a file of the same iteration", "restore the file")
        found = beside(self.path, name) if name else ""
        return found if needed or (found and exists(found)) else ""

    def read_dataset(self) -> Dataset:
        need_ctf = self.general.flag("rlnDoCorrectCtf", False)
        return quantise(read_particles(self.named("rlnExperimentalDataStarFile"), need_ctf=need_ctf))

    def read_progress(self, pixel_size_A: float) -> Progress:
        progress, general = Progress(), self.general
        for label, name in (PROGRESS | {"rlnSmallestChangesClasses": "smallest_change_class"}).items():
            default = getattr(progress, name)
            setattr(progress, name, type(default)(general.number(label, default)))
        if "rlnOverallAccuracyTranslationsAngst" not in general and "rlnOverallAccuracyTranslations" in general:
            progress.accuracy_shift_A = general.number("rlnOverallAccuracyTranslations", 0.0) * pixel_size_A
        for label, name in OWN_PROGRESS.items():
            default = getattr(progress, name)
            setattr(progress, name, type(default)(self.own.number(label, default)))
        return progress


def read_optimiser(path) -> OptimiserFile:
    """The optimiser file of an iteration; raises InputError where it is missing or damaged."""
    star = read_existing(path, "the _optimiser.star of an iteration")
    own = star.get(OWN_OPTIONS, Block(OWN_OPTIONS, "list"))
    return OptimiserFile(Path(path), Row(str(path), star["optimiser_general"]), Row(str(path), own))


def read_existing(path, meaning: str):
    if not exists(path):
        raise InputError(f"{path}: is not there, expected {meaning}; restore it, or continue from an earlier iteration")
    return read_star(path)


def list_values(block: Block) -> dict[str, Any]:
    """label -> int, float or str of a block's first row."""
    return {label: column[0].item() if column.dtype != object else column[0] for label, column in block.columns.items()}


def read_sampling(star, pixel_size_A: float) -> tuple[Sampling, dict[str, Any]]:
    """Steps and ranges of a sampling.star, and label -> value of its general block; RELION's defaults without one.

    Parameters
    ----------
    star : StarFile of RELION 3.0 or later, or None
    """
    sampling = Sampling(10.0, 6 * pixel_size_A, 2 * pixel_size_A)
    if star is None:
        return sampling, {}
    block = star["sampling_general"]
    row = Row(star.path, block)
    for label, name in SAMPLING.items():
        setattr(sampling, name, row.number(label, getattr(sampling, name)))
    if block.version is None:  # RELION 3.0 and older: offsets in px
        for label in OFFSETS:
            value = getattr(sampling, SAMPLING[label])
            setattr(sampling, SAMPLING[label], value * pixel_size_A if label in row and value > 0 else value)
    values = list_values(block)
    return sampling, values | {label: getattr(sampling, SAMPLING[label]) for label in OFFSETS if label in values}


def optimiser_files(root: str) -> Iterable[Path]:
    """The optimiser files of a run, in the order of their iterations."""
    folder, stem = Path(root).parent, re.escape(Path(root).name)
    found = {}
    for path in folder.glob("*_optimiser.star"):
        match = re.fullmatch(rf"{stem}_it(\d+)_optimiser\.star", path.name)
        if match:
            found[int(match[1])] = path
    return [found[iteration] for iteration in sorted(found)]
