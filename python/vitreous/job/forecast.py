"""How much memory a 2D classification takes at its peak, from the sizes alone."""

from __future__ import annotations

import math

from vitreous.engine.plan import coarse_and_fine
from vitreous.job.batches import BYTES_PER_PIXEL, MOST_CHILDREN, POSTERIOR_BYTES, batch_size, posterior_bytes
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Sampling

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


def forecast_volume(dataset: Dataset, models: list[Model], sampling: Sampling, *, preread: bool, n_threads: int) -> dict[str, int]:
    """What takes memory -> bytes, with 3D references at the limit of sampling, as in the last iteration of a refinement."""
    model = models[0]
    n_maps, side = len(models) * model.n_classes, model.padding * model.box
    box = max(o.box for o in dataset.optics)
    n_batch = batch_size(box)
    samples = side**3 / 2 * (math.pi / 6 * 1.25)  # the sphere of half transforms, in the cube that holds it
    lattice = int(side**2 * (side / 2 + 2))
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": len(dataset) * PER_PARTICLE,
        "maps": int(n_maps * model.box**3 * 4 * 3),
        "transforms of the references": n_maps * lattice * 8,
        "sums over particles": n_maps * lattice * 12,
        "reconstruction": int(lattice * 12 * 3 + samples * 8),
        "slices and their sums": 1 << 30 if len(dataset) > 2000 else 1 << 29,
        "batches of images": int(n_batch * box**2 * (BYTES_PER_PIXEL + 4 * READ_AHEAD)),
        "posteriors of a batch": POSTERIOR_BYTES,
        "threads": n_threads * (24 << 20),
    }
    if preread:
        parts["images kept in memory"] = int(sum(4 * o.box**2 * n for o, n in zip(dataset.optics, dataset.optics_counts)))
    return parts
