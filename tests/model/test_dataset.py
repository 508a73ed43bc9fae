"""The tables keep rows together, batches cover every usable particle once, halves follow the row."""

from dataclasses import replace

import numpy as np
import pytest

from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup

GROUP = OpticsGroup("g1", 1, 300.0, 2.7, 0.1, 1.5, 64)


def made_up(n=10):
    optics = [GROUP, replace(GROUP, name="g2", number=2, pixel_size_A=2.0), replace(GROUP, name="g3", number=3)]
    ctf = CtfColumns.neutral(n)
    particles = Particles.default(
        n,
        source=np.arange(n, dtype=np.int32) % 2,
        optics=np.arange(n, dtype=np.int32) % 3,
        ctf=replace(ctf, defocus_u_A=np.arange(n) * 1000.0),
    )
    return Dataset(optics, ["a", "b"], Exposures.single(2), particles, ["s.mrcs"], ["all"])


def test_subset_takes_every_column_with_its_row():
    part = made_up().subset([7, 2])
    np.testing.assert_array_equal(part.particles.row, [7, 2])
    np.testing.assert_array_equal(part.particles.ctf.defocus_u_A, [7000.0, 2000.0])
    np.testing.assert_array_equal(part.particles.source, [1, 0])
    assert part.particles.position_A is None
    assert part.image_name(0) == "000008@s.mrcs"


def test_batches_cover_usable_particles_once_and_share_a_geometry():
    data = made_up(20).quarantine({3: "NaN", 4: "truncated"})
    batches = list(data.batches(4))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.setdiff1d(np.arange(20), [3, 4]))
    for batch in batches:
        assert len(batch) <= 4
        assert len({data.optics[i].batch_key for i in data.particles.optics[batch]}) == 1


def test_batches_keep_the_order_asked_for():
    data = made_up(9)
    order = np.array([8, 3, 4, 5, 0, 1, 6, 2])
    first, second = data.batches(100, order)
    np.testing.assert_array_equal(first, [i for i in order if i % 3 != 1])
    np.testing.assert_array_equal(second, [i for i in order if i % 3 == 1])
    with pytest.raises(ValueError, match="size is 0"):
        list(data.batches(0))


def test_quarantine_is_kept_by_subsets_and_counts():
    data = made_up().quarantine({3: "NaN"})
    assert data.quarantined == {3: "NaN"}
    np.testing.assert_array_equal(data.subset([3, 4]).usable, [False, True])
    assert data.group_counts.sum() == 9
    assert data.subset([4]).quarantine({0: "empty"}).quarantined == {3: "NaN", 4: "empty"}
    np.testing.assert_array_equal(data.optics_counts, [3, 3, 3])


def test_updated_leaves_the_original_and_the_type():
    data = made_up()
    new = data.updated([1, 2], class_number=[5, 6], shift_A=[[1.0, 2.0], [3.0, 4.0]])
    assert new.particles.class_number.dtype == np.int32
    np.testing.assert_array_equal(new.particles.class_number[:4], [0, 5, 6, 0])
    np.testing.assert_array_equal(new.particles.shift_A[2], [3.0, 4.0])
    assert not data.particles.class_number.any()


def test_split_halves_depends_on_seed_and_row_alone():
    data = made_up(1000)
    halves = data.split_halves(1).particles.half
    assert set(np.unique(halves)) == {1, 2}
    assert abs(np.mean(halves == 1) - 0.5) < 0.08  # five standard deviations of 1000 fair draws
    np.testing.assert_array_equal(data.subset(slice(0, 300)).split_halves(1).particles.half, halves[:300])
    assert (data.split_halves(2).particles.half != halves).any()


def test_tables_of_unequal_length_are_refused():
    data = made_up()
    with pytest.raises(ValueError, match="half has 3 rows, expected 10"):
        data.with_particles(half=np.zeros(3, np.int32))
    with pytest.raises(ValueError, match=r"particles.optics is in 9..9, expected 0..2"):
        data.with_particles(optics=np.full(10, 9, np.int32))
    with pytest.raises(ValueError, match="CtfColumns: ctf_scale has 4 rows"):
        data.with_particles(ctf=replace(data.particles.ctf, ctf_scale=np.zeros(4)))
