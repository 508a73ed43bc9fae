"""Masks: distances by brute force, edges by formula, thresholds on known molecules."""

import numpy as np
import pytest

from vitreous.engine import masks3d
from vitreous.engine.phantom import make_phantom


def blob(n=12, seed=1):
    return np.random.default_rng(seed).random((n, n - 1, n + 1)) > 0.97


def squared_distances(inside):
    """To the nearest voxel of the mask, by looking at all of them."""
    where = np.argwhere(inside)
    grid = np.stack(np.indices(inside.shape), -1)
    return np.min([np.sum((grid - p) ** 2, -1) for p in where], axis=0)


@pytest.mark.parametrize("by_px", [1, 2, 3, 2.5])
def test_extend_takes_voxels_nearer_than(by_px):
    inside = blob()
    np.testing.assert_array_equal(masks3d.extend(inside, by_px), squared_distances(inside) < by_px**2)


@pytest.mark.parametrize("by_px", [1, 2, 3])
def test_shrinking_is_extending_the_outside(by_px):
    inside = ~blob()
    np.testing.assert_array_equal(masks3d.extend(inside, -by_px), ~masks3d.extend(~inside, by_px))


@pytest.mark.parametrize("corner", [(0, 0, 0), (9, 13, 5)])
def test_only_the_part_around_a_mask_is_looked_at_with_the_same_result(corner):
    inside = np.zeros((12, 16, 9), bool)
    inside[tuple(slice(c, c + 3) for c in corner)] = True
    near = squared_distances(inside)
    np.testing.assert_array_equal(masks3d.extend(inside, 3), near < 9)
    edge = np.where(near < 16, 0.5 + 0.5 * np.cos(np.pi * np.sqrt(near) / 4), 0)
    np.testing.assert_allclose(masks3d.soft_edge(inside, 4), edge, atol=1e-6)
    # what lies beyond the box is not outside: a mask shrinks from the voxels there are
    np.testing.assert_array_equal(masks3d.extend(inside, -2), inside & (squared_distances(~inside) >= 4))


def test_extend_leaves_full_and_empty_masks():
    for inside in (np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)):
        for by_px in (-2, 0, 2):
            np.testing.assert_array_equal(masks3d.extend(inside, by_px), inside)


@pytest.mark.parametrize("width_px", [1, 3, 4.5])
def test_soft_edge_falls_with_the_distance(width_px):
    inside = blob()
    distance = np.sqrt(squared_distances(inside))
    expected = np.where(distance < width_px, 0.5 + 0.5 * np.cos(np.pi * distance / width_px), 0)
    np.testing.assert_allclose(masks3d.soft_edge(inside, width_px), expected, atol=1e-6)


def test_soft_edge_of_width_0_is_the_mask():
    np.testing.assert_array_equal(masks3d.soft_edge(blob(), 0), blob())


@pytest.mark.parametrize("how, expected", [
    ("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("and_not", [0, 0, 1, 0]), ("or_not", [1, 0, 1, 1]),
])  # fmt: skip
def test_combine_has_the_truth_tables(how, expected):
    first, second = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    np.testing.assert_array_equal(masks3d.combine(first, second, how), np.array(expected, bool))


def test_shell_mask_has_two_edges():
    mask = masks3d.shell_mask(33, 5, 9, 4, (2, -1, 3))
    along = mask[16 + 3, 16 - 1, 16 + 2 :]
    np.testing.assert_allclose(along[[0, 1, 2, 3, 5, 9, 11, 13]], [0, 0, 0.14644661, 0.5, 1, 1, 0.5, 0], atol=1e-7)
    assert masks3d.shell_mask(8, 0, 3).sum() == sum(
        x * x + y * y + z * z < 9 for x in range(-4, 4) for y in range(-4, 4) for z in range(-4, 4)
    )


def test_central_part_is_symmetric():
    part = masks3d.central_part(48, 0.4, 3).ravel()
    values = part[24 + np.array([0, 9, 10, 11, 12, 13])]
    np.testing.assert_allclose(values, [1, 1, 0.95677, 0.55226, 0.09549, 0], atol=1e-5)
    np.testing.assert_array_equal(part[25:], part[23:0:-1])
    with pytest.raises(ValueError, match="width of the edge is 0"):
        masks3d.central_part(8, 0.5, 0)


def test_dust_is_left_out():
    inside = np.zeros((20, 20, 20), bool)
    inside[2:10, 2:10, 2:10] = True
    inside[15:17, 15:17, 15:17] = True
    assert masks3d.without_dust(inside).sum() == 512
    inside[12:19, 12:19, 2:6] = True  # a second domain, of a third of the size
    assert masks3d.without_dust(inside).sum() == 512 + 196


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_automatic_mask_holds_the_molecule(noise):
    n, pixel_size_A = 48, 4.0
    truth = make_phantom(110.0).volume(n, pixel_size_A)
    truth /= truth.std()
    noisy = truth + noise * np.random.default_rng(2).normal(size=truth.shape).astype(np.float32)
    mask, threshold = masks3d.automatic_mask(noisy.astype(np.float32), pixel_size_A)
    assert 0 < threshold < truth.max() and mask.min() == 0 and mask.max() == 1
    assert np.sum(truth[mask == 1]) > 0.97 * truth.sum()  # a thirtieth of the density lies in the blobs' tails
    assert mask.mean() < 0.25  # the molecule fills 3 % of the box, the mask grows it by 3 px and an edge of 6


def test_automatic_threshold_parts_two_levels_whatever_the_scale():
    rng = np.random.default_rng(3)
    volume = rng.normal(0, 0.1, (24, 24, 24)).astype(np.float32)
    volume[8:16, 8:16, 8:16] += 1
    level = masks3d.automatic_threshold(volume)
    assert 0.3 < level < 0.7
    assert masks3d.automatic_threshold(3 * volume - 7) == pytest.approx(3 * level - 7, abs=0.03)  # a bin's width
    assert np.isnan(masks3d.automatic_threshold(np.ones((8, 8, 8), np.float32)))


def test_automatic_threshold_of_an_image():
    image = np.random.default_rng(4).normal(0, 0.1, (1, 32, 32)).astype(np.float32)
    image[:, 10:20, 10:20] += 1
    assert 0.3 < masks3d.automatic_threshold(image) < 0.7
