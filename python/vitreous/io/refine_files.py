"""The files of one iteration with 3D references, the final files of a refinement, and the run's state from them.

A classification has root_itNNN_model.star and a map per class, a refinement with two half-sets a model and a map of
each half. As in io/run_files.py a run continues from these files alone, to the last bit, and the optimiser's is last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io.bild import write_bild
from vitreous.io.model_star import (
    OWN_WEIGHTS,
    WEIGHTS,
    model_blocks,
    read_direction_weights,
    read_fsc,
    read_group_counts,
    read_model,
    read_prior_width,
    reference_dimensions,
    reference_names,
)
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import write_particles
from vitreous.io.run_files import (
    MODEL_FILES,
    OptimiserFile,
    RunLabels,
    RunPaths,
    check_settings,
    list_block,
    optics_of_groups,
    optimiser_values,
    read_existing,
    read_optimiser,
    read_sampling,
    sampling_values,
    write_optimiser,
)
from vitreous.io.star import Block, read_star, write_star
from vitreous.io.table import Row, Table, beside, exists
from vitreous.model import healpix
from vitreous.model.dataset import Dataset
from vitreous.model.relion_directions import carried
from vitreous.model.state import Model, Refinement, Sampling
from vitreous.model.symmetry import Symmetry

DIRECTIONS = ("rlnAngleRot", "rlnAngleTilt")
# RELION's list of directions, and ours where that is another.
SAMPLED, OWN_SAMPLED = "sampling_directions", "vitreous_directions"
NO_TILT_LIMIT_DEG = -91.0  # RELION's "all tilts are searched"


@dataclass(frozen=True)
class RefinePaths(RunPaths):
    """Names of the files of one iteration, or of the final ones, which have no number.

    Attributes
    ----------
    halves : a model and maps of each of two half-sets; otherwise one model
    converged : the final files
    """

    halves: bool = False
    converged: bool = False

    def _name(self, rest: str) -> str:
        return f"{self.root}_{rest}" if self.converged else super()._name(rest)

    def _half(self, i_model: int) -> str:
        return f"half{i_model + 1}_" if self.halves else ""

    @property
    def models(self) -> list[str]:
        return [self._name(f"{self._half(i)}model.star") for i in range(1 + self.halves)]

    def map(self, i_model: int, i_class: int) -> str:
        """The reference of a class."""
        return self._name(f"{self._half(i_model)}class{i_class + 1:03d}.mrc")

    def orientations(self, i_model: int, i_class: int) -> str:
        """The distribution of a class's orientations, for ChimeraX."""
        return self._name(f"{self._half(i_model)}class{i_class + 1:03d}_angdist.bild")

    def unfiltered(self, i_half: int) -> str:
        """The unregularised map of a half-set."""
        return self._name(f"half{i_half + 1}_class001_unfil.mrc")


def write_refinement(
    root: str,
    state: Refinement,
    settings: Mapping[str, Any],
    *,
    converged: bool = False,
    options: Mapping[str, Any] | None = None,
    command: str = "",
    program: str = "vitreous",
) -> RefinePaths:
    """Write the files of iteration ``state.progress.iteration``, the optimiser's last.

    Parameters
    ----------
    root : start of the names, with its folder (which exists), e.g. Refine3D/job012/run
    state : its dataset made by ``quantise``, so that what goes on is what was written; with two models the particles'
        half-sets are 1 and 2. Maps in ``state.unfiltered`` are written as ``_half1_class001_unfil.mrc`` and ``_half2_``
    settings : label of data_optimiser_general -> value, of the options that RELION knows; booleans become 0 or 1 and
        None the label's default
    converged : the final files, without a number: the first model stands for all particles
    options : further options, kept in a block of our own as text; None is left out
    command, program : for the head of the optimiser's file

    Returns
    -------
    RefinePaths

    Raises  InputError: a label that data_optimiser_general lacks; WriteError: the disk.
    """
    check_settings(root, settings)
    halves, models = len(state.models) == 2, state.models
    if converged:
        models = [replace(models[0], group_counts=state.dataset.group_counts)]
    paths = RefinePaths(str(root), state.progress.iteration, len(models) == 2, converged)
    for i, volume in enumerate(state.unfiltered):
        write_mrc(paths.unfiltered(i), volume, models[0].pixel_size_A, stack=False)
    for i, model in enumerate(models):
        names = [paths.map(i, k) for k in range(model.n_classes)]
        for name, volume in zip(names, model.references):
            write_mrc(name, volume, model.pixel_size_A, stack=False)
        own = _weights(state, i, model)
        relions = relion_weights(state, own)
        write_star(paths.models[i], _model_blocks(state, model, names, relions, own))
        if relions is not None:
            _write_bild(paths, state, i, relions)
    write_star(paths.sampling, _sampling_blocks(state))
    write_particles(paths.data, state.dataset)
    # A converged refinement has one model but remains one of half-sets: RELION writes it so, the second name empty.
    settings = {**settings, "rlnDoSplitRandomHalves": halves}
    names = [*paths.models, ""] if halves and converged else paths.models
    values = optimiser_values(paths, names, state.sampling, state.progress, settings)
    write_optimiser(paths.optimiser, values, state.progress, options, command, program)
    return paths


def _model_blocks(state: Refinement, model: Model, names: list[str], relions, own) -> list[Block]:
    optics, sigma_deg = optics_of_groups(state.dataset), state.sampling.sigma_deg
    own = None if relions is own else own
    return model_blocks(
        model, names, optics, sigma_deg=sigma_deg, fsc=state.fsc, direction_weights=relions, own_weights=own
    )


def _write_bild(paths: RefinePaths, state: Refinement, i_model: int, weights: np.ndarray) -> None:
    model = state.models[i_model]
    listed = state.relion_directions_deg if len(state.relion_directions_deg) else state.directions_deg
    for k, of_class in enumerate(weights):
        path, box_A = paths.orientations(i_model, k), model.box * model.pixel_size_A
        write_bild(path, listed, of_class, state.sampling.healpix_order, box_A)


def _weights(state: Refinement, i_model: int, model: Model) -> np.ndarray | None:
    """(K, n_dir) weights of the directions that are searched; None where there are no directions."""
    n_dir = len(state.directions_deg)
    weights = state.direction_weights[i_model] if i_model < len(state.direction_weights) else None
    if n_dir == 0:
        return None
    if weights is None or weights.shape != (model.n_classes, n_dir):  # of other directions than are searched now
        return _uniform(model, n_dir)
    return weights


def relion_weights(state: Refinement, own: np.ndarray | None) -> np.ndarray | None:
    """Weights of the directions that are searched as weights of RELION's; the same array where the lists are one."""
    if own is None or not len(state.relion_directions_deg):
        return own
    symmetry = Symmetry.parse(state.symmetry)
    return carried(own, state.directions_deg, state.relion_directions_deg, symmetry)


def _uniform(model: Model, n_dir: int) -> np.ndarray:
    return np.repeat(model.class_weight[:, None] / n_dir, n_dir, 1)


def _sampling_blocks(state: Refinement) -> list[Block]:
    sampling = state.sampling
    general = sampling_values(sampling)
    head = {label: general.pop(label) for label in ("rlnIs3DSampling", "rlnIs3DTranslationalSampling")}
    head["rlnIs3DSampling"] = 1
    head |= {"rlnHealpixOrder": int(sampling.healpix_order), "rlnSymmetryGroup": state.symmetry}
    head["rlnTiltAngleLimit"] = NO_TILT_LIMIT_DEG
    general["rlnHealpixOrderOriginal"] = _original_order(sampling)
    lists = {SAMPLED: state.directions_deg}
    if len(state.relion_directions_deg):
        lists = {SAMPLED: state.relion_directions_deg, OWN_SAMPLED: state.directions_deg}
    return [list_block("sampling_general", head | general), *(_directions_block(*item) for item in lists.items())]


def _directions_block(name: str, directions) -> Block:
    columns = {label: np.asarray(column, float) for label, column in zip(DIRECTIONS, np.reshape(directions, (-1, 2)).T)}
    return Block(name, "loop", columns, precise=True)


def _original_order(sampling: Sampling) -> int:
    """HEALPix order that the run began with: the one whose step was the in-plane step; -1 where nobody knows."""
    if sampling.psi_step_original_deg <= 0:
        return -1
    steps = np.array([healpix.step_deg(order) for order in range(healpix.MAX_ORDER + 1)])
    return int(np.abs(np.log(steps / sampling.psi_step_original_deg)).argmin())


def read_refinement(optimiser) -> tuple[Refinement, RunLabels]:
    """The state of a run with 3D references from the _optimiser.star of one iteration, ours or RELION's (3.0 to 5).

    Labels that other versions lack have defaults. Not in the files, so empty in the state: unfiltered maps, times and
    counts of samples.

    Parameters
    ----------
    optimiser : path; the files it names are looked for as named, then beside it

    Raises  InputError: a file is missing or damaged, or is of a run with 2D references.
    """
    head = read_optimiser(optimiser)
    stars = [read_existing(name, "the model of the iteration") for name in _model_files(head)]
    if any(reference_dimensions(star) != 3 for star in stars):
        raise InputError(f"{optimiser}: is of a run with 2D references, expected 3D; give it to class2d")
    dataset = head.read_dataset()
    if len(stars) == 2:
        _check_halves(optimiser, dataset)
    models = [_read_model(head, star, dataset, i + 1 if len(stars) == 2 else 0) for i, star in enumerate(stars)]
    sampling_star = _sampling_star(head)
    sampling, sampling_general = read_sampling(sampling_star, models[0].pixel_size_A)
    row = Row(sampling_star.path, sampling_star["sampling_general"])
    sampling.oversampling = head.general.integer("rlnAdaptiveOversampleOrder", 1)
    sampling.healpix_order = row.integer("rlnHealpixOrder", 2)
    sampling.sigma_deg = read_prior_width(stars[0])
    halves = head.general.flag("rlnDoSplitRandomHalves", False)
    directions, relion_directions, weights_name = _read_directions(sampling_star)
    state = Refinement(
        dataset=dataset,
        models=models,
        sampling=sampling,
        progress=head.read_progress(models[0].pixel_size_A),
        symmetry=row.string("rlnSymmetryGroup", "C1").upper(),
        direction_weights=[_read_weights(star, model, weights_name) for star, model in zip(stars, models)],
        directions_deg=directions,
        relion_directions_deg=relion_directions,
        fsc=read_fsc(stars[0], models[0].n_shells) if halves else None,
    )
    return state, RunLabels(**head.labels(stars[0], sampling_general))


def _model_files(head: OptimiserFile) -> list[str]:
    """One model file, or one of each half-set; of a converged refinement the joined one."""
    labels = MODEL_FILES[:1]
    joined = head.general.flag("rlnHasConverged", False) and not head.general.string(MODEL_FILES[1], "")
    if head.general.flag("rlnDoSplitRandomHalves", False) and not joined:
        labels = MODEL_FILES
    return [head.named(label) for label in labels]


def _sampling_star(head: OptimiserFile):
    """The sampling file, without which the point group is unknown."""
    path = head.named("rlnOrientSamplingStarFile")
    if not exists(path):
        raise InputError(
            f"{path}: is not there, expected the sampling of the iteration; restore it, or continue from another "
            "iteration (RELION writes none for iteration 0)"
        )
    return read_star(path)


def _check_halves(optimiser, dataset: Dataset) -> None:
    n_without = int((dataset.usable & (dataset.particles.half == 0)).sum())
    if n_without:
        raise InputError(
            f"{optimiser}: {n_without} of {len(dataset)} particles are in no half-set, expected rlnRandomSubset 1 or "
            "2 in the data file of a refinement; restore that file"
        )


def _read_model(head: OptimiserFile, star, dataset: Dataset, half: int) -> Model:
    """The model of a half-set, or of all particles (0)."""
    names = [beside(head.path, name) for name in reference_names(star)]
    references = _read_maps(star, names)
    counts = dataset.group_counts
    if half:
        # A file that is not ours may have other names for its groups; then the particles tell.
        counts = read_group_counts(star, dataset.group_names)
        counts = counts if counts.any() else _counts_of_half(dataset, half)
    return read_model(star, references, dataset.group_names, counts, optics_of_groups(dataset))


def _counts_of_half(dataset: Dataset, half: int) -> np.ndarray:
    mine = dataset.usable & (dataset.particles.half == half)
    return np.bincount(dataset.particles.group[mine], minlength=len(dataset.group_names))


def _read_maps(star, names: list[str]) -> np.ndarray:
    """(K, box, box, box) float32, one file per class."""
    maps: list[np.ndarray] = []
    for name in names:
        if not exists(name):
            raise InputError(f"{name}: is not there, expected a map of {star.path}; restore it, or continue from an "
                             "earlier iteration")  # fmt: skip
        volume, _ = read_mrc(name)
        if len(set(volume.shape)) > 1 or (maps and volume.shape != maps[0].shape):
            found = " x ".join(map(str, volume.shape[::-1]))
            raise InputError(f"{name}: is {found} px, expected cubes of one size in {star.path}; restore the map")
        if not np.isfinite(volume).all():
            raise InputError(f"{name}: holds NaN or infinity, expected numbers; continue from an earlier iteration")
        maps.append(volume)
    return np.stack(maps)


def _read_weights(star, model: Model, name: str) -> np.ndarray | None:
    """(K, n_dir) share of each class and direction; None where the directions of each class are all alike."""
    weights = read_direction_weights(star, model.n_classes, name)
    if weights is None or np.array_equal(weights, _uniform(model, weights.shape[1])):
        return None
    return weights


def _read_directions(star):
    """Directions that are searched, RELION's where they are others, rot and tilt in degrees; the name of their weights."""
    lists = [_direction_list(star, name) for name in (SAMPLED, OWN_SAMPLED)]
    return (lists[1], lists[0], OWN_WEIGHTS) if len(lists[1]) else (*lists, WEIGHTS)


def _direction_list(star, name: str) -> np.ndarray:
    """(n_dir, 2) rot, tilt, degrees; (0, 2) where the file has no such block."""
    if name not in star:
        return np.zeros((0, 2))
    table = Table(Path(star.path), star[name])
    return np.column_stack([table.numbers(label, 0.0) for label in DIRECTIONS]).reshape(-1, 2)
