import numpy as np
import pytest

import oracles_expectation as oracle
from tolerances import RTOL
from vitreous.kernels import project
from vitreous.model.band import Band


def case(n_class=3, n_row=7, radius=9.0, band_radius=5, box=24, seed=0):
    rng = np.random.default_rng(seed)
    n = int(radius) + 2
    reference = (rng.normal(size=(n_class, 2 * n + 1, n + 1)) + 1j * rng.normal(size=(n_class, 2 * n + 1, n + 1))).astype(np.complex64)
    reference[:, :n, 0] = reference[:, :n:-1, 0].conj()  # a real image: the column kx = 0 is Hermitian
    reference[:, n, 0] = reference[:, n, 0].real
    angle = rng.uniform(0, 2 * np.pi, n_row)
    matrix = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    band = Band(box, band_radius)
    class_of = np.sort(rng.integers(0, n_class, n_row)).astype(np.int32)
    return reference, class_of, np.ascontiguousarray(matrix, np.float32), band.kx.astype(np.float32), band.ky.astype(np.float32), radius


def test_project_matches_oracle(be):
    reference, class_of, matrix, kx, ky, radius = case()
    out = project(be, reference, class_of, matrix, kx, ky, radius)
    for r, c in enumerate(class_of):
        expected = oracle.slice_at(reference[c].astype(complex), matrix[r].astype(float), kx, ky, radius)
        inside = abs(np.hypot(*(matrix[r] @ np.stack([kx, ky]))) - radius) > 1e-4
        np.testing.assert_allclose((out[r, 0] + 1j * out[r, 1])[inside], expected[inside], atol=RTOL["project"] * abs(expected).max())


def test_project_of_a_half_turn_is_the_conjugate(be):
    reference, class_of, matrix, kx, ky, radius = case()
    a = project(be, reference, class_of, matrix, kx, ky, radius)
    b = project(be, reference, class_of, -matrix, kx, ky, radius)
    np.testing.assert_allclose(b * np.array([1, -1], np.float32)[None, :, None], a, atol=RTOL["project"] * abs(a).max())


def test_project_without_rotation_reads_the_samples(be):
    reference, _, _, kx, ky, radius = case()
    out = project(be, reference, np.zeros(1, np.int32), np.eye(2, dtype=np.float32)[None], kx, ky, radius)
    half = reference.shape[1] // 2
    np.testing.assert_array_equal(out[0, 0] + 1j * out[0, 1], reference[0][ky.astype(int) + half, kx.astype(int)])


def test_project_refuses_a_radius_beyond_the_transform(be):
    reference, class_of, matrix, kx, ky, radius = case()
    with pytest.raises(ValueError, match="project: radius"):
        project(be, reference, class_of, matrix, kx, ky, radius + 3)
