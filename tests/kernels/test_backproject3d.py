import numpy as np
import pytest

from tolerances import RTOL
from vitreous import backend
from vitreous.kernels_volume import backproject3d, project3d
from volume_case import case


def rows_for(class_of, kx, seed=3):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(len(class_of), 2, len(kx))).astype(np.float32),
        rng.uniform(0.5, 1, (len(class_of), len(kx))).astype(np.float32),
    )


def run(be, shape, rows, weights, class_of, matrix, kx, ky, radius):
    sums = np.zeros((*shape, 3), np.float32)
    backproject3d(be, rows, weights, class_of, matrix, kx, ky, radius, sums)
    return sums


def test_backproject3d_is_the_adjoint_of_project3d(be):
    volume, class_of, matrix, kx, ky, radius = case(n_row=40)
    rows, weights = rows_for(class_of, kx)
    sums = run(be, volume.shape, rows, weights, class_of, matrix, kx, ky, radius).astype(float)
    out = project3d(be, volume, class_of, matrix, kx, ky, radius).astype(float)
    left = np.sum(out * rows)
    right = np.sum(sums[..., 0] * volume.real + sums[..., 1] * volume.imag)
    # sums of thousands of float32 products of either sign: an error of 1e-6 of their size, not of their sum
    assert abs(left - right) < 1e-6 * np.linalg.norm(out) * np.linalg.norm(rows)


def test_backproject3d_weights_follow_the_data(be):
    volume, class_of, matrix, kx, ky, radius = case()
    rows, _ = rows_for(class_of, kx)
    rows[:, 1] = 0
    rows[:, 0] = abs(rows[:, 0])
    sums = run(be, volume.shape, rows, rows[:, 0].copy(), class_of, matrix, kx, ky, radius)
    np.testing.assert_array_equal(sums[..., 2], sums[..., 0])
    assert sums[..., 2].sum(dtype=float) == pytest.approx(rows[:, 0].sum(dtype=float), rel=RTOL["project"])


def test_backproject3d_leaves_out_pixels_without_weight(be):
    volume, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    assert not run(be, volume.shape, rows, np.zeros_like(weights), class_of, matrix, kx, ky, radius).any()


def test_backproject3d_adds_to_what_is_there(be):
    volume, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    sums = run(be, volume.shape, rows[:3], weights[:3], class_of[:3], matrix[:3], kx, ky, radius)
    backproject3d(be, rows[3:], weights[3:], class_of[3:], matrix[3:], kx, ky, radius, sums)
    np.testing.assert_array_equal(sums, run(be, volume.shape, rows, weights, class_of, matrix, kx, ky, radius))


@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_backproject3d_has_the_same_bits_at_every_number_of_threads(n_threads):
    volume, class_of, matrix, kx, ky, radius = case(n_row=60, radius=41.0, band_radius=20, box=48)
    rows, weights = rows_for(class_of, kx)
    sums = []
    for n in (1, n_threads):
        be = backend.cpu(n)
        sums.append(run(be, volume.shape, rows, weights, class_of, matrix, kx, ky, radius))
    assert sums[0].any()
    np.testing.assert_array_equal(*sums)


def test_backproject3d_refuses_sums_too_small(be):
    volume, class_of, matrix, kx, ky, _ = case()
    rows, weights = rows_for(class_of, kx)
    with pytest.raises(ValueError, match="backproject3d: radius 15"):
        run(be, volume.shape, rows, weights, class_of, matrix, kx, ky, 15.0)


def test_backproject3d_refuses_float64_sums(be):
    volume, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    with pytest.raises(TypeError, match="sums: dtype is <f8, expected <f4"):
        backproject3d(be, rows, weights, class_of, matrix, kx, ky, radius, np.zeros((*volume.shape, 3)))
