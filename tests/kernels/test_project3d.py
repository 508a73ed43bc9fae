import numpy as np
import pytest

from tolerances import RTOL
from vitreous.kernels_volume import project3d
from volume_case import case, slice_at


def test_project3d_matches_oracle(be):
    volume, class_of, matrix, kx, ky, radius = case()
    out = project3d(be, volume, class_of, matrix, kx, ky, radius)
    for r, c in enumerate(class_of):
        expected = slice_at(volume[c], matrix[r], kx, ky, radius)
        np.testing.assert_allclose(out[r, 0] + 1j * out[r, 1], expected, atol=RTOL["project"] * abs(expected).max())


def test_project3d_of_a_half_turn_is_the_conjugate(be):
    volume, class_of, matrix, kx, ky, radius = case()
    a = project3d(be, volume, class_of, matrix, kx, ky, radius)
    b = project3d(be, volume, class_of, -matrix, kx, ky, radius)
    np.testing.assert_allclose(b * np.array([1, -1], np.float32)[None, :, None], a, atol=RTOL["project"] * abs(a).max())


def test_project3d_without_rotation_reads_the_samples(be):
    volume, _, _, kx, ky, radius = case()
    matrix = np.array([[[1, 0], [0, 1], [0, 0]]], np.float32)
    out = project3d(be, volume, np.ones(1, np.int32), matrix, kx, ky, radius)
    n = volume.shape[-1] - 1
    np.testing.assert_array_equal(out[0, 0] + 1j * out[0, 1], volume[1][n, ky.astype(int) + n, kx.astype(int)])


def test_project3d_is_zero_beyond_the_radius(be):
    volume, class_of, matrix, kx, ky, _ = case()
    out = project3d(be, volume, class_of, matrix, kx, ky, 5.0)
    beyond = 2 * np.hypot(kx, ky) > 5 + 1e-4
    assert beyond.any() and not out[:, :, beyond].any()
    assert out[:, 0, ~beyond].all()


def test_project3d_reads_repeated_frequencies(be):
    volume, class_of, matrix, _, _, radius = case()
    many = np.tile(np.array([1.0, 2.0], np.float32), 100)
    out = project3d(be, volume, class_of, matrix, many, np.zeros_like(many), radius)
    once = project3d(be, volume, class_of, matrix, many[:2], np.zeros(2, np.float32), radius)
    np.testing.assert_array_equal(out, np.tile(once, (1, 1, 100)))


@pytest.mark.parametrize(
    "change, text", [({"radius": 11.0}, "radius 11.0 needs"), ({"class_of": 2}, "class_of is in 2..2")]
)
def test_project3d_refuses_to_read_beyond_the_transform(be, change, text):
    volume, class_of, matrix, kx, ky, radius = case()
    class_of = np.full_like(class_of, change.get("class_of", 0))
    with pytest.raises(ValueError, match=f"project3d: {text}"):
        project3d(be, volume, class_of, matrix, kx, ky, change.get("radius", radius))
