"""Particles to batches of images: grouped by optics, read ahead, bad ones set aside."""

from __future__ import annotations

import math
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


# An image whose largest value is this many times that of its batch is damaged; with it in, averages and noise would be
# its alone.
OFF_SCALE = 1000.0


# A point of a fine posterior: pose, shift and weight, and the lists that they are gathered in. Measured with noise
# alone, where nearly all points are kept: 12 to 16 in pieces of this size.
BYTES_PER_POINT = 16
POSTERIOR_BYTES = 192 << 20
LEAST_OF_PIECE = 8
# An image with more children than this keeps one per sample (csrc/kernels/score_fine.cpp).
MOST_CHILDREN = 8192


class Pieces:
    """Cuts batches so that the posteriors of a piece fit into memory however flat they are, as those of noisy data.

    The size comes from the points that the last piece's images had, and so from the data alone: neither threads nor
    free memory change the order of sums.

    Parameters
    ----------
    n_child : points of the fine pass per sample of the coarse one
    n_significant : (n,) samples of each particle in the iteration before, where there was one
    most : images of a piece at the most
    """

    def __init__(self, n_child: int, n_significant=(), most: int = MOST):
        self.n_child, self.most, self.size = n_child, most, min(LEAST_OF_PIECE, most)
        if np.any(n_significant):  # of the iteration before
            self.size = most
            self.learn(n_significant)

    def cut(self, n: int) -> Iterator[slice]:
        """Slices of a batch of n images, each of the size that is right when it is asked for."""
        begin = 0
        while begin < n:
            piece = slice(begin, min(begin + self.size, n))
            yield piece
            begin = piece.stop

    def learn(self, n_significant) -> None:
        """Set the next piece's size from the samples, (n,), that a piece's images kept in the coarse pass."""
        samples = max(int(np.max(n_significant, initial=1)), 1)
        points = samples * self.n_child
        if points > MOST_CHILDREN:  # such an image keeps one per sample
            points = max(MOST_CHILDREN, samples)
        room = 0.8 * POSTERIOR_BYTES / (BYTES_PER_POINT * points)  # the next images may have more points than these
        self.size = int(min(max(room, LEAST_OF_PIECE), 4 * self.size, self.most))


def posterior_bytes(n_images: int, n_points: int) -> int:
    """Memory of the posteriors of a batch whose images keep all of n_points points each."""
    of_image = BYTES_PER_POINT * n_points
    return min(n_images * of_image, max(LEAST_OF_PIECE * of_image, POSTERIOR_BYTES))


def pixels(size_px: int) -> int:
    """Fourier pixels of a slice, of a Fourier box."""
    return int(math.pi / 2 * (size_px / 2) ** 2) + size_px


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
    return Batch(
        np.asarray(indices),
        part.row,
        images,
        i_optics,
        dataset.optics[i_optics],
        view.ctf,
        part.euler_deg[:, 2],
        np.array(view.shift_A),
        part.class_number,
        part.norm,
        part.group,
        only,
    )


def read(
    dataset: Dataset, source, batches: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, str]]]:
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
        int(indices[i]): f"values reach {value:.3g}, far off scale, expected about {usual:.3g} as in other images; "
        "extract it again"
        for i, value in zip(good, largest)
        if value > OFF_SCALE * usual
    }
