import numpy as np
import pytest

from test_project import case
from tolerances import RTOL
from vitreous.kernels import backproject, project


def rows_for(class_of, kx, seed=3):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(len(class_of), 2, len(kx))).astype(np.float32),
        rng.uniform(0.5, 1, (len(class_of), len(kx))).astype(np.float32),
    )


def run(be, shape, rows, weights, class_of, matrix, kx, ky, radius):
    data, weight = np.zeros((*shape, 2)), np.zeros(shape)
    backproject(be, rows, weights, class_of, matrix, kx, ky, radius, data, weight)
    return data, weight


def test_backproject_is_the_adjoint_of_project(be):
    reference, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    data, _ = run(be, reference.shape, rows, weights, class_of, matrix, kx, ky, radius)
    out = project(be, reference, class_of, matrix, kx, ky, radius)
    left = np.sum(out.astype(float) * rows)
    right = np.sum(data[..., 0] * reference.real + data[..., 1] * reference.imag)
    assert left == pytest.approx(right, rel=RTOL["project"] * 10)


def test_backproject_weights_follow_the_data(be):
    reference, class_of, matrix, kx, ky, radius = case()
    rows, _ = rows_for(class_of, kx)
    rows[:, 1] = 0
    rows[:, 0] = abs(rows[:, 0])
    data, weight = run(be, reference.shape, rows, rows[:, 0].copy(), class_of, matrix, kx, ky, radius)
    np.testing.assert_allclose(weight, data[..., 0], rtol=1e-12, atol=1e-12)
    inside = np.hypot(*np.einsum("rab,bk->ark", matrix, np.stack([kx, ky]))) <= radius
    assert weight.sum() == pytest.approx(rows[:, 0][inside].sum(), rel=RTOL["project"])


def test_backproject_leaves_out_pixels_without_weight(be):
    reference, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    data, weight = run(be, reference.shape, rows, np.zeros_like(weights), class_of, matrix, kx, ky, radius)
    assert not data.any() and not weight.any()


def test_backproject_refuses_scattered_classes(be):
    reference, class_of, matrix, kx, ky, radius = case()
    rows, weights = rows_for(class_of, kx)
    class_of = np.array([0, 1, 0, 1, 2, 2, 2], np.int32)
    with pytest.raises(ValueError, match="not contiguous"):
        run(be, reference.shape, rows, weights, class_of, matrix, kx, ky, radius)
