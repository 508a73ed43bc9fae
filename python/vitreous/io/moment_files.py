"""Moments of a gradient-driven run beside its other files: root_itNNN_1momentKKK.mrc and _2momentKKK.mrc.

Half transforms on the padded lattice, centred, with the real and imaginary part side by side along x. As in RELION the
first moments of the second half-set are those of classes K + 1 .. 2 K; the lattice's margin is ours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.run_files import RunPaths
from vitreous.io.table import exists
from vitreous.model.state import Moments, Refinement


def moment_names(paths: RunPaths, n_classes: int) -> tuple[list[str], list[str]]:
    """Names of the first moments, both half-sets', and of the second."""
    name = lambda order, i: f"{paths.root}_it{paths.iteration:03d}_{order}moment{i + 1:03d}.mrc"
    return [name(1, i) for i in range(2 * n_classes)], [name(2, i) for i in range(n_classes)]


def write_moments(paths: RunPaths, moments: Moments, pixel_size_A: float) -> None:
    """Write them; before the optimiser's file, which tells that an iteration is complete."""
    n_classes = len(moments.second)
    first, second = moment_names(paths, n_classes)
    for name, values in zip(first, moments.first.reshape(2 * n_classes, *moments.first.shape[2:])):
        write_mrc(name, np.ascontiguousarray(values).view(np.float32), pixel_size_A, stack=False)
    for name, values in zip(second, moments.second):
        write_mrc(name, values, pixel_size_A, stack=False)


def with_moments(state: Refinement, root: str, shape: tuple[int, ...]) -> Refinement:
    """A run's state with the moments of its iteration; with none where there are no such files, or on another lattice.

    Raises  InputError: some of the files are missing or damaged.
    """
    n_classes = state.models[0].n_classes
    first, second = moment_names(RunPaths(str(root), state.progress.iteration), n_classes)
    if not exists(first[0]) or _read(first[0], np.complex64).shape != shape:
        return state
    read = lambda names, kind: np.stack([_checked(name, shape, kind) for name in names])
    both = read(first, np.complex64).reshape(2, n_classes, *shape)
    return replace(state, moments=Moments(both, read(second, np.float32)))


def _read(name: str, kind) -> np.ndarray:
    if not exists(name):
        raise InputError(f"{name}: is not there, expected it beside the others; restore it, or continue from an earlier iteration")
    return np.ascontiguousarray(read_mrc(name)[0], np.float32).view(kind)


def _checked(name: str, shape: tuple[int, ...], kind) -> np.ndarray:
    values = _read(name, kind)
    if values.shape != shape:
        raise InputError(
            f"{name}: has shape {values.shape}, expected {shape} as the others; restore it, or remove all moment files of the "
            "iteration to go on from its maps alone"
        )
    return values
