import numpy as np
import pytest

from vitreous import backend
from vitreous.model import healpix


@pytest.fixture(scope="module")
def be():
    return backend.cpu(1)


def vectors(angles_deg):
    rot, tilt = np.deg2rad(angles_deg).T
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], 1)


def test_directions_of_order_0_are_the_twelve_known_centres(be):
    """Four at z = 2/3, four on the equator, four at z = -2/3."""
    corners, axes = [45, 135, -135, -45], [0, 90, 180, -90]
    z = np.repeat([2 / 3, 0, -2 / 3], 4)
    expected = np.stack([corners + axes + corners, np.rad2deg(np.arccos(z))], 1)
    np.testing.assert_allclose(healpix.directions(be, 0), expected, atol=1e-12)


def test_directions_of_order_1_follow_the_nested_numbering(be):
    """Pixels 0, 3, 16, 17 of n_side 2: the southern corner of face 0, its pole pixel, and the start of face 4."""
    angles = healpix.directions(be, 1)
    expected = [(45, 1 / 3), (45, 11 / 12), (0, -1 / 3), (22.5, 0)]
    np.testing.assert_allclose(angles[[0, 3, 16, 17]], [(r, np.rad2deg(np.arccos(z))) for r, z in expected], atol=1e-12)


@pytest.mark.parametrize("order", range(7))
def test_directions_lie_on_rings_of_equal_area(be, order):
    """Ring i of the cap holds 4 i pixels at z = 1 - i^2 / (3 n^2), the belt 4 n pixels at z = 4/3 - 2 i / (3 n)."""
    n = 2**order
    z = np.cos(np.deg2rad(healpix.directions(be, order)[:, 1]))
    i = np.arange(1, 4 * n)
    cap = np.minimum(i, 4 * n - i)
    ring_z = np.where(cap < n, np.sign(2 * n - i) * (1 - cap**2 / (3 * n**2)), 4 / 3 - 2 * i / (3 * n))
    count = 4 * np.minimum(cap, n)
    np.testing.assert_allclose(np.sort(z), np.sort(np.repeat(ring_z, count)), atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_directions_are_evenly_spread(be, order):
    """Quadrature of equal weights: exact for first moments, second moments to the grid's own error."""
    v = vectors(healpix.directions(be, order))
    np.testing.assert_allclose(v.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(v.T @ v / len(v), np.eye(3) / 3, atol=0.1 / 4**order)
    nearest = np.sort(v @ v.T, axis=1)[:, -2]
    step = np.deg2rad(healpix.step_deg(order))
    assert (np.arccos(nearest) > 0.6 * step).all() and (np.arccos(nearest) < 1.1 * step).all()


def test_directions_of_order_8_are_distinct(be):
    angles = healpix.directions(be, 8)
    assert len(angles) == 786432 == healpix.n_directions(8)
    assert len(np.unique(np.round(angles, 9), axis=0)) == len(angles)
    assert angles[:, 0].min() > -180 and angles[:, 0].max() <= 180


@pytest.mark.parametrize("order, n_levels", [(0, 1), (2, 1), (1, 3)])
def test_children_lie_around_their_parent(be, order, n_levels):
    parents, fine = vectors(healpix.directions(be, order)), vectors(healpix.directions(be, order + n_levels))
    family = healpix.children(np.arange(len(parents)), n_levels)
    assert sorted(family.ravel()) == list(range(len(fine)))
    mean = fine[family].mean(1)
    cosine = (mean * parents).sum(1) / np.linalg.norm(mean, axis=1)
    assert (np.arccos(np.minimum(cosine, 1)) < 0.25 * np.deg2rad(healpix.step_deg(order))).all()


def test_children_run_along_x_first():
    np.testing.assert_array_equal(healpix.children([5], 1), [[20, 21, 22, 23]])
    np.testing.assert_array_equal(healpix.children([0], 2)[0], [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15])
    np.testing.assert_array_equal(healpix.children([7, 9], 0), [[7], [9]])


def test_healpix_refuses_orders_out_of_range(be):
    with pytest.raises(ValueError, match="order is 9, expected 0 to 8"):
        healpix.directions(be, 9)
    with pytest.raises(ValueError, match="n_levels is -1"):
        healpix.children([0], -1)
