import numpy as np
import pytest

from tolerances import RTOL
from vitreous.kernels_volume import symmetrise
from vitreous.model.rotation import euler_to_matrix
from volume_case import hermitian, trilinear

QUARTER_TURNS = euler_to_matrix(np.array([[0, 0, 90.0 * i] for i in range(4)]))


def case(n=8, seed=0):
    rng = np.random.default_rng(seed)
    volume = hermitian(rng, 1, n)[0]
    weight = abs(hermitian(rng, 1, n)[0])
    weight[..., 0] = (weight[..., 0] + weight[::-1, ::-1, 0]) / 2
    return np.ascontiguousarray(np.stack([volume.real, volume.imag, weight], -1), np.float32), float(n - 2)


def frequencies(n):
    z, y, x = np.mgrid[-n : n + 1, -n : n + 1, : n + 1]
    return np.stack([x, y, z], -1)


def test_symmetrise_matches_oracle(be):
    sums, radius = case()
    n = sums.shape[2] - 1
    operators = euler_to_matrix(np.array([[0.0, 0, 0], [10, 70, -40], [120, 33, 5]]))
    out = symmetrise(be, sums, operators.astype(np.float32), radius)
    points = frequencies(n).reshape(-1, 3).astype(float)
    inside = np.linalg.norm(points, axis=1) <= radius
    for k, volume in ((slice(0, 2), sums[..., 0] + 1j * sums[..., 1]), (slice(2, 3), sums[..., 2])):
        expected = sum(trilinear(volume, points[inside] @ r.T) for r in operators)
        found = out.reshape(-1, 3)[inside]
        parts = np.stack([expected.real, expected.imag], -1)[:, : k.stop - k.start]
        np.testing.assert_allclose(found[:, k], parts, atol=RTOL["project"] * abs(expected).max())
    assert not out.reshape(-1, 3)[~inside].any()


def test_symmetrise_by_the_identity_changes_nothing(be):
    sums, radius = case()
    inside = np.linalg.norm(frequencies(sums.shape[2] - 1), axis=-1) <= radius
    np.testing.assert_array_equal(
        symmetrise(be, sums, np.eye(3, dtype=np.float32)[None], radius), sums * inside[..., None]
    )


def test_symmetrise_by_a_group_of_the_lattice_is_invariant(be):
    # quarter turns map samples onto samples: the second time only multiplies by the order
    sums, radius = case()
    once = symmetrise(be, sums, QUARTER_TURNS.astype(np.float32), radius)
    twice = symmetrise(be, once, QUARTER_TURNS.astype(np.float32), radius)
    np.testing.assert_allclose(twice, 4 * once, atol=RTOL["project"] * abs(once).max())


def test_symmetrise_refuses_to_write_into_its_input(be):
    sums, radius = case()
    with pytest.raises(ValueError, match="symmetrise: out is the array of the sums"):
        symmetrise(be, sums, np.eye(3, dtype=np.float32)[None], radius, out=sums)
    with pytest.raises(ValueError, match=r"symmetrise: radius 9\.0 needs"):
        symmetrise(be, sums, np.eye(3, dtype=np.float32)[None], radius + 3)
