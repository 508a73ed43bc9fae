"""The closed-form phantom: projections against its own volume, and the conventions of rotation and origin."""

import numpy as np
import pytest
from scipy.ndimage import rotate

from vitreous.engine import simulate
from vitreous.engine.phantom import Phantom, _sum_of_products, make_phantom

BOX, PIXEL_A = 64, 4.0


@pytest.fixture(scope="module")
def phantom():
    return make_phantom()


def single_blob(x_A, y_A, z_A):
    return Phantom(np.array([[x_A, y_A, z_A]]), np.array([6.0]), np.array([1000.0]))


def peak(image):
    """x, y of the maximum relative to the centre pixel."""
    y, x = np.unravel_index(np.argmax(image), image.shape)
    return x - image.shape[1] // 2, y - image.shape[0] // 2


def test_project_unrotated_is_sum_of_volume_along_z(phantom):
    image = phantom.project(np.eye(3), BOX, PIXEL_A)
    # rtol: float32 products; the two sums differ by the Gaussians' tails between voxel centres, 3 % of 3 % at 8 A
    np.testing.assert_allclose(image, phantom.volume(BOX, PIXEL_A).sum(axis=0), rtol=1e-4, atol=1e-3 * image.max())


def test_projection_mass_is_the_same_in_all_views(phantom):
    rotations = simulate.euler_matrix(np.arange(0, 360, 40.0), np.arange(0, 180, 20.0), 0.0)
    mass = phantom.projections(rotations, np.zeros((9, 2)), BOX, PIXEL_A).sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(mass * PIXEL_A**3, phantom.weights.sum(), rtol=1e-4)  # sums of float32 pixels


def test_projection_origin_is_the_shift_to_apply():
    image = single_blob(0, 0, 0).projections(np.eye(3)[None], [[8.0, -12.0]], BOX, PIXEL_A)[0]
    assert peak(image) == (-2, 3)


@pytest.mark.parametrize("angles, where", [
    ((0, 0, 0), (5, 2)), ((0, 0, 90), (2, -5)), ((90, 0, 0), (2, -5)), ((0, 90, 0), (-3, 2)), ((0, 90, 90), (2, 3)),
])
def test_projection_follows_the_euler_convention(angles, where):
    # blob at x, y, z = 5, 2, 3 pixels: row 1 and row 2 of the ZYZ matrix give its place in the image
    rotation = simulate.euler_matrix(*angles)
    assert peak(single_blob(20, 8, 12).project(rotation, BOX, PIXEL_A)) == where


def test_projection_scales_with_pixel_size(phantom):
    coarse, fine = (phantom.project(np.eye(3), int(256 / a), a) for a in (4.0, 2.0))
    np.testing.assert_allclose(2 * coarse, fine[::2, ::2], rtol=1e-4, atol=1e-4 * fine.max())


def test_phantom_fits_its_diameter():
    for diameter_A in (90.0, 180.0):
        phantom = make_phantom(diameter_A)
        assert phantom.diameter_A == pytest.approx(diameter_A)
        np.testing.assert_allclose(phantom.weights @ phantom.centres_A, 0, atol=1e-9 * phantom.weights.sum())


def test_phantom_views_differ_even_when_turned(phantom):
    rot, tilt = simulate.view_directions(8)
    views = phantom.projections(simulate.euler_matrix(rot, tilt, 0.0), np.zeros((8, 2)), BOX, PIXEL_A)
    views -= views.mean(axis=(1, 2), keepdims=True)
    best = np.zeros((8, 8))
    for angle in range(0, 360, 10):
        turned = rotate(views, angle, axes=(1, 2), reshape=False, order=1)
        norm = np.linalg.norm(turned, axis=(1, 2))[:, None] * np.linalg.norm(views, axis=(1, 2))
        best = np.maximum(best, np.einsum("ayx,byx->ab", turned, views) / norm)
    assert np.max(best[~np.eye(8, dtype=bool)]) < 0.9
    assert np.min(np.diag(best)) > 0.99


@pytest.mark.parametrize("n_blobs, box", [(1, 32), (64, 32), (130, 96)])
def test_sum_of_products_matches_einsum(n_blobs, box):
    rng = np.random.default_rng(5)
    y, x = rng.normal(size=(2, 3, n_blobs, box))
    np.testing.assert_allclose(_sum_of_products(y, x), np.einsum("nby,nbx->nyx", y, x), rtol=1e-9, atol=1e-11)
