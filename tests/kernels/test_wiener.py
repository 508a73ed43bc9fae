import numpy as np
import pytest

from test_symmetrise import case, frequencies
from vitreous.kernels_volume import wiener

N_BIN = 7


def test_wiener_matches_oracle(be):
    sums, radius = case()
    rng = np.random.default_rng(1)
    prior, least = rng.uniform(0, 1, N_BIN).astype(np.float32), rng.uniform(0, 2, N_BIN).astype(np.float32)
    out = wiener(be, sums, prior, least, radius, 2.0, 5.0)
    distance = np.linalg.norm(frequencies(sums.shape[2] - 1), axis=-1)
    bins = np.minimum(distance.astype(int), N_BIN - 1)  # half a shell of two samples is one
    divisor = np.maximum(sums[..., 2] + prior[bins], least[bins])
    expected = np.where(distance <= radius, 5 * (sums[..., 0] + 1j * sums[..., 1]) / divisor, 0)
    np.testing.assert_allclose(out, expected, rtol=1e-6)  # one division in float32
    assert out.any()


def test_wiener_is_zero_where_nothing_was_measured(be):
    sums, radius = case()
    sums[..., 2] = 0
    zeros = np.zeros(N_BIN, np.float32)
    assert not wiener(be, sums, zeros, zeros, radius, 2.0, 5.0).any()
    assert wiener(be, sums, zeros + 1, zeros, radius, 2.0, 5.0).any()


def test_wiener_with_a_strong_prior_shrinks(be):
    sums, radius = case()
    zeros = np.zeros(N_BIN, np.float32)
    plain = wiener(be, sums, zeros, zeros, radius, 2.0, 1.0)
    shrunk = wiener(be, sums, zeros + 1e6, zeros, radius, 2.0, 1.0)
    assert abs(shrunk).max() < 1e-4 * abs(plain).max()


def test_wiener_refuses_priors_of_another_length(be):
    sums, radius = case()
    with pytest.raises(ValueError, match="wiener: least has shape"):
        wiener(be, sums, np.ones(5, np.float32), np.ones(6, np.float32), radius, 2.0, 1.0)
