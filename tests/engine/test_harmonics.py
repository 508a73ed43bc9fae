"""Maps as spherical harmonics: known functions, turned maps, unitary matrices."""

import numpy as np
import pytest
from volume_phantom import Blobs, random_rotations

from vitreous.engine import harmonics


def test_harmonics_of_linear_functions_are_known():
    """z = sqrt(4 pi / 3) Y_10 and x = sqrt(2 pi / 3) (Y_1-1 - Y_11), times the radius."""
    z, _, x = (np.indices((40,) * 3) - 20.0).astype(np.float32)
    of_z, of_x = (harmonics.expand(f, (0, 0, 0), [3, 6], 4) for f in (z, x))
    radii = np.array([3, 6])
    np.testing.assert_allclose(of_z[1], radii[:, None] * np.array([0, np.sqrt(4 * np.pi / 3), 0]), atol=1e-4)
    np.testing.assert_allclose(of_x[1], radii[:, None] * np.sqrt(2 * np.pi / 3) * np.array([1, 0, -1]), atol=1e-4)
    assert all(np.abs(f[l]).max() < 1e-4 for f in (of_z, of_x) for l in (0, 2, 3, 4))


def test_a_turned_map_has_turned_coefficients():
    turn = random_rotations(1, 3)[0]
    blobs = Blobs()
    before = harmonics.expand(blobs.volume(32), (0, 0, 0), np.arange(3, 12), 10)
    blobs.places = blobs.places @ turn.T
    after = harmonics.expand(blobs.volume(32), (0, 0, 0), np.arange(3, 12), 10)
    total = np.sqrt(sum(np.linalg.norm(f) ** 2 for f in before[1:]))
    for sign, least, most in ((1, 0.0, 0.03), (-1, 0.5, 2.0)):  # cubic splines of blobs of 1.4 px; the turn inverted
        matrix = turn if sign > 0 else turn.T
        off = [g - f @ harmonics.rotation_matrices(l, matrix[None])[0].T
               for l, (f, g) in enumerate(zip(before, after))]  # fmt: skip
        assert least <= np.sqrt(sum(np.linalg.norm(d) ** 2 for d in off[1:])) / total < most


@pytest.mark.parametrize("l", [1, 5, harmonics.MOST_DEGREES])
def test_matrices_of_rotations_are_a_representation(l):
    a, b = random_rotations(2, 1)
    of_a, of_b, of_ab = harmonics.rotation_matrices(l, np.array([a, b, a @ b]))
    np.testing.assert_allclose(of_a @ of_b, of_ab, atol=1e-11)
    np.testing.assert_allclose(of_a @ of_a.conj().T, np.eye(2 * l + 1), atol=1e-11)
    np.testing.assert_allclose(harmonics.rotation_matrices(l, np.eye(3)[None])[0], np.eye(2 * l + 1), atol=1e-11)


def test_beyond_the_box_is_nothing():
    assert np.abs(harmonics.expand(np.ones((8,) * 3, np.float32), (0, 0, 0), [20], 3)[0]).max() == 0
