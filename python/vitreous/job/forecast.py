"""How much memory a 2D classification takes at its peak, from the sizes alone."""

from __future__ import annotations

import math

from vitreous.engine.plan import coarse_and_fine
from vitreous.engine.reconstruct import Lattice
from vitreous.job.batches import (
    BYTES_PER_PIXEL,
    MOST_CHILDREN,
    batch_size,
    pixels,
    posterior_bytes,
)
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Sampling

INTERPRETER = 120 << 20  # Python and its libraries with those of the report, as measured at the end of a tiny run
PER_PARTICLE = 700  # bytes of a particle's row: its columns as numbers and as the text that is written
CONTRIBUTIONS = 8 << 20  # csrc/kernels/weighted_sums.cpp
READ_AHEAD = 4  # batches of images that wait or are being read


def forecast(
    dataset: Dataset, model: Model, sampling: Sampling, size_px: int, coarse_px: int, *, preread: bool, n_threads: int,
    gradient: bool = False,
) -> dict[str, int]:  # fmt: skip
    """What takes memory -> bytes, for an iteration at the given Fourier boxes (px of the model).

    Parameters
    ----------
    gradient : the iteration steps along the gradient: moments, and sums of two half-sets
    """
    coarse, fine, *_ = coarse_and_fine(sampling)
    k = model.n_classes
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
        "slices of the references": 4 * (n_row * pixels(size_px) * 2 + n_row_coarse * pixels(coarse_px) * 3),
        "sums over particles": 4 * n_row * pixels(size_px) * 3
        + int(k * (model.padding * size_px) ** 2 * 12)
        + CONTRIBUTIONS,
        "batches of images": int(n_batch * box**2 * (BYTES_PER_PIXEL + 4 * READ_AHEAD)),
        "posteriors of a batch": posterior,
        "threads": n_threads * (8 << 20),
    }
    if gradient:
        parts["moments"] = 20 * k * int(math.prod(Lattice(model.box, model.padding, model.box / 2).shape))
        parts["sums over particles"] += int(k * (model.padding * size_px) ** 2 * 12) + 4 * n_row * pixels(size_px) * 2
    if preread:
        parts["images kept in memory"] = images_kept(dataset)
    return parts


def images_kept(dataset: Dataset) -> int:
    """Bytes of all images, as read before the start."""
    return int(sum(4 * o.box**2 * n for o, n in zip(dataset.optics, dataset.optics_counts)))
