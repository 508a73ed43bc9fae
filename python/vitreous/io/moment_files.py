"""Moments of a gradient-driven run beside its other files: of maps root_itNNN_1momentKKK.mrc and _2momentKKK.mrc, of 2D
references the stacks root_itNNN_1moment.mrcs and _2moment.mrcs.

Half transforms on the padded lattice, centred, with the real and imaginary part side by side along x. As in RELION the
first moments of the second half-set are those of classes K + 1 .. 2 K; the lattice's margin is ours.
"""

from __future__ import annotations

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.run_files import RunPaths
from vitreous.io.table import exists
from vitreous.model.state import Moments


def moment_names(paths: RunPaths, n_classes: int, n_dim: int) -> tuple[list[str], list[str]]:
    """Names of the first moments, both half-sets', and of the second; of 2D references one name each."""
    name = lambda order, rest: f"{paths.root}_it{paths.iteration:03d}_{order}moment{rest}"
    if n_dim == 2:
        return [name(1, ".mrcs")], [name(2, ".mrcs")]
    return tuple([name(order, f"{i + 1:03d}.mrc") for i in range(n)] for order, n in ((1, 2 * n_classes), (2, n_classes)))


def write_moments(paths: RunPaths, moments: Moments, pixel_size_A: float) -> None:
    """Write them; before the optimiser's file, which tells that an iteration is complete."""
    n_classes, *shape = moments.second.shape
    first = np.ascontiguousarray(moments.first).reshape(2 * n_classes, *shape).view(np.float32)
    for names, arrays in zip(moment_names(paths, n_classes, len(shape)), (first, moments.second)):
        for name, values in zip(names, [arrays] if len(shape) == 2 else arrays):
            write_mrc(name, values, pixel_size_A, stack=len(shape) == 2)


def read_moments(paths: RunPaths, n_classes: int, shape: tuple[int, ...]) -> Moments | None:
    """The moments of an iteration on a lattice of a shape; None where there are no such files, or on another lattice.

    Raises  InputError: some of the files are missing or damaged.
    """
    first, second = moment_names(paths, n_classes, len(shape))
    of_file = lambda n: (n, *shape) if len(shape) == 2 else shape
    if not exists(first[0]) or _read(first[0], np.complex64).shape != of_file(2 * n_classes):
        return None
    read = lambda names, n, kind: np.stack([_checked(name, of_file(n), kind) for name in names]).reshape(n, *shape)
    both = read(first, 2 * n_classes, np.complex64)
    return Moments(both.reshape(2, n_classes, *shape), read(second, n_classes, np.float32))


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
