"""Particles to batches of images: grouped by optics, read ahead, bad ones set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np

from vitreous.engine.em import Batch
from vitreous.model import views
from vitreous.model.dataset import Dataset

# Arrays of one batch: the images, two prepared copies, two transforms, two bands and the CTF, at about 40 bytes a pixel.
BYTES_PER_PIXEL = 40
BATCH_BYTES = 128 << 20
MOST, LEAST = 512, 16


# An image whose largest value is this many times that of its batch is damaged; with it in, averages and noise would be its alone.
OFF_SCALE = 1000.0


def batch_size(box: int) -> int:
    """Images per batch, so that a batch's arrays stay near 128 MB whatever the box."""
    return int(np.clip(BATCH_BYTES // (BYTES_PER_PIXEL * box * box), LEAST, MOST))


def split(dataset: Dataset, order) -> list[np.ndarray]:
    """Particles in the given order cut into batches of one optics group each.

    Parameters
    ----------
    order : (m,) int64 positions; quarantined particles are left out
    """
    order = np.asarray(order, np.int64)
    order = order[dataset.usable[order]]
    out = []
    for g, optics in enumerate(dataset.optics):
        same = order[dataset.particles.optics[order] == g]
        size = batch_size(optics.box)
        out += [same[i : i + size] for i in range(0, len(same), size)]
    return out


def make_batch(dataset: Dataset, indices, images, only_class=None) -> Batch:
    """What the engine needs of the particles at ``indices``, whose images were read."""
    part = dataset.particles.take(indices)
    view = views.build(part, dataset.exposures, dataset.optics)
    i_optics = int(part.optics[0])
    only = np.full(len(indices), -1, np.int32) if only_class is None else np.asarray(only_class, np.int32)
    return Batch(np.asarray(indices), part.row, images, i_optics, dataset.optics[i_optics], view.ctf, part.euler_deg[:, 2],
                 np.array(view.shift_A), part.class_number, part.norm, part.group, only)


def read(dataset: Dataset, source, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, str]]]:
    """Indices, images and bad particles (position -> cause) of each batch, read ahead.

    The indices and images are those of the good particles.
    """
    with closing(source.prefetch(batches)) as ahead:
        for indices, images, bad in ahead:
            bad = bad | off_scale(indices, images, bad)
            good = ~np.isin(indices, list(bad))
            yield indices[good], (images if good.all() else np.ascontiguousarray(images[good])), bad


def off_scale(indices, images, bad: dict[int, str]) -> dict[int, str]:
    """Position -> cause of good images whose values are far beyond those of the other good ones of a batch."""
    good = np.flatnonzero(~np.isin(indices, list(bad)))
    if len(good) < 3:
        return {}
    largest = np.maximum(images.max((1, 2)), -images.min((1, 2)))[good]
    usual = float(np.median(largest))
    return {
        int(indices[i]): f"values reach {value:.3g}, far off scale, expected about {usual:.3g} as in other images; extract it again"
        for i, value in zip(good, largest) if value > OFF_SCALE * usual
    }
