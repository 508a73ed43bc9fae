"""Batches: sizes, groups, bad particles."""

from dataclasses import replace

import numpy as np
import pytest

from vitreous.job import batches
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup


def dataset(n=40, boxes=(8, 12), **columns):
    optics = [OpticsGroup(f"g{i}", i + 1, 300.0, 2.7, 0.1, 1.5 + i, box) for i, box in enumerate(boxes)]
    columns = {"optics": (np.arange(n) % len(boxes)).astype(np.int32)} | columns
    return Dataset(optics, ["m"], Exposures.single(1), Particles.default(n, **columns), ["s.mrcs"], ["all"])


class Source:
    """Images whose every pixel is the particle's position; the bad ones are those named."""

    def __init__(self, data, bad=()):
        self.data, self.bad, self.closed = data, set(bad), False

    def prefetch(self, parts):
        try:
            for indices in parts:
                box = self.data.optics[self.data.particles.optics[indices[0]]].box
                images = (
                    np.ones((len(indices), box, box), np.float32) * (1 + np.asarray(indices, np.float32))[:, None, None]
                )
                yield indices, images, {int(i): "unreadable" for i in indices if int(i) in self.bad}
        finally:
            self.closed = True


@pytest.mark.parametrize("box", [16, 64, 128, 256, 512, 1024])
def test_batch_size_bounds_memory(box):
    size = batches.batch_size(box)
    assert batches.LEAST <= size <= batches.MOST
    bytes_ = size * box * box * batches.BYTES_PER_PIXEL
    assert bytes_ <= batches.BATCH_BYTES or size == batches.LEAST


def test_split_covers_every_usable_particle_once(monkeypatch):
    monkeypatch.setattr(batches, "MOST", 16)
    data = dataset(75).quarantine({3: "x", 10: "y"})
    order = np.random.default_rng(0).permutation(75)
    parts = batches.split(data, order)
    assert sorted(np.concatenate(parts)) == sorted(set(range(75)) - {3, 10})
    for part in parts:
        assert len(part) <= 16 and len(set(data.particles.optics[part])) == 1
    first = np.concatenate([p for p in parts if data.particles.optics[p[0]] == 0])
    assert list(first) == [i for i in order if i % 2 == 0 and i not in (3, 10)]  # in the order asked for
    assert batches.split(data, []) == []


def test_make_batch_holds_what_the_engine_needs():
    rng = np.random.default_rng(1)
    ctf = CtfColumns(*(rng.uniform(1, 2, 40) for _ in range(6)))
    data = dataset(
        40,
        shift_A=rng.normal(size=(40, 2)),
        euler_deg=rng.uniform(0, 90, (40, 3)),
        norm=rng.uniform(0.9, 1.1, 40),
        ctf=ctf,
        group=np.zeros(40, np.int32),
        row=np.arange(40) + 100,
    )
    indices = np.array([7, 1, 33])
    batch = batches.make_batch(data, indices, np.zeros((3, 12, 12), np.float32), [2, 0, -1])
    assert len(batch) == 3 and batch.i_optics == 1 and batch.optics is data.optics[1]
    np.testing.assert_array_equal(batch.row, indices + 100)
    np.testing.assert_array_equal(batch.shift_A, data.particles.shift_A[indices])
    np.testing.assert_array_equal(batch.psi_deg, data.particles.euler_deg[indices, 2])
    np.testing.assert_array_equal(batch.ctf_parameters[:, 0], ctf.defocus_u_A[indices])
    np.testing.assert_array_equal(batch.ctf_parameters[:, 3], 300.0)
    np.testing.assert_array_equal(batch.only_class, [2, 0, -1])
    assert np.all(batches.make_batch(data, indices, np.zeros((3, 12, 12), np.float32)).only_class == -1)


def test_read_leaves_bad_particles_out():
    data = dataset(20)
    source = Source(data, bad=[4, 5])
    seen, bad_of_all = [], {}
    for indices, images, bad in batches.read(data, source, batches.split(data, np.arange(20))):
        np.testing.assert_array_equal(images[:, 0, 0], indices + 1)
        assert images.flags.c_contiguous
        seen += list(indices)
        bad_of_all |= bad
    assert sorted(seen) == sorted(set(range(20)) - {4, 5}) and set(bad_of_all) == {4, 5}


def test_read_closes_the_source_when_it_is_left():
    data = dataset(20)
    source = Source(data)
    reading = batches.read(data, source, batches.split(data, np.arange(20)))
    next(reading)
    reading.close()
    assert source.closed


def test_read_sets_images_off_scale_aside():
    data = replace(dataset(20, boxes=(8,)))

    class Damaged(Source):
        def prefetch(self, parts):
            for indices, images, bad in super().prefetch(parts):
                images[7] *= 1e30
                yield indices, images, bad

    ((indices, _, bad),) = batches.read(data, Damaged(data), batches.split(data, np.arange(20)))
    assert list(bad) == [7] and "off scale" in bad[7] and 7 not in indices
