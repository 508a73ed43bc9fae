"""How much memory a classification or refinement takes at its peak, from the sizes alone."""

from __future__ import annotations

import math

from vitreous.engine.plan import coarse_and_fine
from vitreous.engine.reconstruct3d import CHUNK_BYTES
from vitreous.job.batches import (
    BANK_BYTES,
    BANK_BYTES_PER_PIXEL,
    BYTES_PER_PIXEL,
    MOST_CHILDREN,
    batch_size,
    posterior_bytes,
)
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Sampling
from vitreous.model.volume import VolumeLattice

INTERPRETER = 120 << 20  # Python and its libraries with those of the report, as measured at the end of a tiny run
PER_PARTICLE = 700  # bytes of a particle's row: its columns as numbers and as the text that is written
CONTRIBUTIONS = 8 << 20  # csrc/kernels/weighted_sums.cpp
READ_AHEAD = 4  # batches of images that wait or are being read


def forecast(
    dataset: Dataset, model: Model, sampling: Sampling, size_px: int, coarse_px: int, *, preread: bool, n_threads: int
) -> dict[str, int]:
    """What takes memory -> bytes, for an iteration at the given Fourier boxes (px of the model)."""
    coarse, fine, *_ = coarse_and_fine(sampling)
    k, n_pixels = model.n_classes, lambda size: int(math.pi / 2 * (size / 2) ** 2) + size
    n_row, n_row_coarse = k * fine.n_row_psi, k * coarse.n_row_psi
    box = max(o.box for o in dataset.optics)
    n_batch = min(batch_size(box), len(dataset))
    side = model.padding * model.box
    priors = n_batch * k * len(fine.shifts_A) * 4 * 3  # of the offsets
    posterior = priors + posterior_bytes(n_batch, max(MOST_CHILDREN, k * len(coarse.psi_deg) * len(coarse.shifts_A)))
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": len(dataset) * PER_PARTICLE,
        "references and their transforms": int(k * side**2 * 12 + k * model.box**2 * 12),
        "slices of the references": 4 * (n_row * n_pixels(size_px) * 2 + n_row_coarse * n_pixels(coarse_px) * 3),
        "sums over particles": 4 * n_row * n_pixels(size_px) * 3
        + int(k * (model.padding * size_px) ** 2 * 12)
        + CONTRIBUTIONS,
        "batches of images": int(n_batch * box**2 * (BYTES_PER_PIXEL + 4 * READ_AHEAD)),
        "posteriors of a batch": posterior,
        "threads": n_threads * (8 << 20),
    }
    if preread:
        parts["images kept in memory"] = int(
            sum(4 * o.box**2 * n for o, n in zip(dataset.optics, dataset.optics_counts))
        )
    return parts


# Of a thread: its stack, the workspace of transforms, and what the allocator keeps for it.
BYTES_PER_THREAD = 8 << 20
IMAGES_OF_PIECE = 64  # that are prepared at once, where posteriors are neither sharp nor flat

# Poses of the coarse grid less than three steps, 3 sigma, from an orientation: 4/3 pi 3^3; and how much more memory than their
# slices the sums take too: so the forecast is 5 % above a refinement of 700 particles of 64 px with D2, 26 % above one of 450 with
# D7, and 40 % below one of 2,000 with C1, whose last posteriors are flat.
POSES_OF_WINDOW, WINDOW_AND_SUMS = 113, 1.5


def forecast_volume(
    dataset: Dataset,
    models: list[Model],
    sampling: Sampling,
    grids: tuple,
    *,
    size_px: int,
    coarse_px: int,
    preread: bool,
    n_threads: int,
    gradient: bool = False,
) -> dict[str, int]:
    """What takes memory -> bytes, in an iteration with 3D references at the given Fourier boxes (px of the model).

    What slices and posteriors take follows the data: here they fill the pieces, as those of some thousand particles do.
    Measured at the last iteration of refinements (C1 and D2, global and local): 2 % above to 13 % below at 128 and 256
    px, a fifth to three fifths above at 64 px with 400 particles in each half, which do not fill their pieces.

    Parameters
    ----------
    grids : the coarse and the fine OrientationGrid
    gradient : the iteration steps along the gradient: two sums for each map, and moments
    """
    model, (coarse, fine) = models[0], grids
    n_maps, lattice = len(models) * model.n_classes, VolumeLattice(model.box, model.padding, size_px / 2)
    box = max(o.box for o in dataset.optics)
    n_half = max(len(dataset) // len(models), 1)
    n_batch, n_waiting = min(batch_size(box), n_half), min((READ_AHEAD + 1) * batch_size(box), n_half)
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": len(dataset) * PER_PARTICLE,
        "maps": int(1.5 * n_maps * model.box**3 * 4),
        "transforms of the references": n_maps * lattice.n_samples * 8,
        "sums over particles": n_maps * lattice.n_samples * 12,
        "maximisation": maximisation_bytes(model.box, lattice, len(models)),
        "slices and their sums": slices_bytes(
            len(models), coarse, fine, sampling.sigma_deg > 0, size_px, coarse_px, n_batch
        ),
        "batches of images": box**2 * (4 * n_waiting + BYTES_PER_PIXEL * min(n_batch, IMAGES_OF_PIECE)),
        "posteriors of a batch": posterior_bytes(n_batch, MOST_CHILDREN),
        "threads": n_threads * (BYTES_PER_THREAD + 8 * len(fine.shifts_A) * pixels(size_px)),
    }
    if gradient:
        whole = VolumeLattice(model.box, model.padding, model.box / 2)
        parts["sums over particles"] *= 2
        parts["moments and a step"] = 20 * n_maps * whole.n_samples + 2 * (12 + 8) * lattice.n_samples
    if preread:
        parts["images kept in memory"] = int(
            sum(4 * o.box**2 * n for o, n in zip(dataset.optics, dataset.optics_counts))
        )
    return parts


def pixels(size_px: int) -> int:
    """Fourier pixels of a slice."""
    return int(math.pi / 2 * (size_px / 2) ** 2) + size_px


def maximisation_bytes(box: int, lattice: VolumeLattice, n_models: int) -> int:
    """Of new maps: the quotient, its pruned transform and the chunks of that, and a mask; or the FSC of the halves."""
    chunk = min(CHUNK_BYTES, lattice.side * lattice.ny * lattice.nx * 8)
    joined = 2 * lattice.n_samples * 12 if n_models == 2 and 2 * lattice.radius_px >= box else 0
    columns = box * lattice.ny * lattice.nx * 8
    maps = joined + lattice.n_samples * 8 + columns + int(2.5 * chunk) + 3 * box**3 * 4
    # Sums in double precision, a quotient and what it is made of, beside the halves' completed sums.
    fsc = 96 * box * box * (box // 2 + 1) + 2 * lattice.n_samples * 12 if n_models == 2 else 0
    return max(maps, fsc)


def slices_bytes(n_models: int, coarse, fine, local: bool, size_px: int, coarse_px: int, n_batch: int) -> int:
    """Of the coarse bank, which each half keeps with its squares, and of a piece's fine bank with its sums.

    A refinement of two half-sets ends with local searches: then of the windows of a batch, and of the sums that follow.
    """
    kept = 0 if local else n_models * coarse.n_row * pixels(coarse_px) * 12
    whole = kept + min(fine.n_row * pixels(size_px) * BANK_BYTES_PER_PIXEL, BANK_BYTES // 4)
    windows = int(n_batch * POSES_OF_WINDOW * pixels(size_px) * 8 * WINDOW_AND_SUMS) if n_models == 2 else 0
    return max(whole, min(windows, BANK_BYTES // 2))
