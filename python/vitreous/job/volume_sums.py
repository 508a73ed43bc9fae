"""The loop over particles that adds their images to 3D sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vitreous.engine.slices3d import CtfChoice, ViewBatch, insert
from vitreous.job import batches
from vitreous.job.classify import quarantine
from vitreous.model import views
from vitreous.model.dataset import Dataset
from vitreous.model.volume import VolumeLattice


def view_batch(dataset: Dataset, indices) -> ViewBatch:
    """Geometry of the particles at ``indices``, all of one optics group."""
    part = dataset.particles.take(indices)
    view = views.build(part, dataset.exposures, dataset.optics)
    return ViewBatch(dataset.optics[int(part.optics[0])], view.rotation, np.array(view.shift_A), view.ctf)


def insert_particles(
    be,
    comm,
    dataset: Dataset,
    source,
    lattice: VolumeLattice,
    pixel_size_A: float,
    choice: CtfChoice,
    *,
    order,
    volume_of=None,
    weight=None,
    subtract_ft=None,
    max_bad: float = 0.01,
    advance: Callable[[int], None] = lambda n: None,
) -> tuple[np.ndarray, Dataset]:
    """Sums over particles, and the dataset with those set aside whose images cannot be used.

    Parameters
    ----------
    order : (m,) int64                   positions of the particles to use
    volume_of : (n,) int32 or None       which volume each particle of the dataset belongs to; None = the first
    weight : (n,) float64 or None        factor of each particle of the dataset
    max_bad : share of the particles that may be unusable
    advance : called with the number of particles done

    Returns
    -------
    (n_vol, nz, ny, nx, 3) float32
    Dataset
    """
    n_volumes = 1 if volume_of is None else int(volume_of.max(initial=0)) + 1
    sums = np.zeros((n_volumes, *lattice.shape, 3), np.float32)
    bad_of_all: dict[int, str] = {}
    for indices, images, bad in batches.read(dataset, source, batches.split(dataset, comm.share(order))):
        bad_of_all |= bad
        if len(indices):
            insert(
                be,
                sums,
                images,
                view_batch(dataset, indices),
                lattice,
                pixel_size_A,
                choice,
                volume=None if volume_of is None else volume_of[indices],
                weight=None if weight is None else weight[indices],
                subtract_ft=subtract_ft,
            )
        advance(comm.size * (len(indices) + len(bad)))  # the others have done about as many
    return comm.sum(sums), quarantine(dataset, dict(comm.gather(list(bad_of_all.items()))), max_bad)
