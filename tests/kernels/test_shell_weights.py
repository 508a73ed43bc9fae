import numpy as np
import pytest

from test_symmetrise import case, frequencies
from vitreous import backend
from vitreous.kernels_volume import shell_weights


def by_hand(sums, radius, ratio, n_bin, least):
    distance = np.linalg.norm(frequencies(sums.shape[2] - 1), axis=-1)
    inside = distance <= radius
    bins = np.minimum((2 * distance[inside] / ratio).astype(int), n_bin - 1)
    weight = sums[..., 2][inside].astype(float)
    strong = np.bincount(bins, weight >= least[bins], n_bin)
    return np.bincount(bins, weight, n_bin), np.bincount(bins, minlength=n_bin), strong


@pytest.mark.parametrize("ratio, n_bin", [(2.0, 7), (1.0, 13), (1.5, 4)])
def test_shell_weights_match_oracle(be, ratio, n_bin):
    sums, radius = case()
    least = np.linspace(0.2, 2, n_bin).astype(np.float32)
    total, count, strong = shell_weights(be, sums, radius, ratio, n_bin, least)
    expected = by_hand(sums, radius, ratio, n_bin, least)
    np.testing.assert_allclose(total, expected[0], rtol=1e-12)  # float64 sums in another order
    np.testing.assert_array_equal(count, expected[1])
    np.testing.assert_array_equal(strong, expected[2])
    assert 0 < strong.sum() < count.sum()


def test_shell_weights_without_a_least_have_no_strong_samples(be):
    sums, radius = case()
    assert not shell_weights(be, sums, radius, 2.0, 7)[2].any()


def test_shell_weights_have_the_same_bits_at_every_number_of_threads():
    sums, radius = case(n=20)
    one, three = (shell_weights(backend.cpu(n), sums, radius, 2.0, 19)[0] for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_shell_weights_refuse_a_least_of_another_length(be):
    sums, radius = case()
    with pytest.raises(ValueError, match="shell_weights: least has shape"):
        shell_weights(be, sums, radius, 2.0, 7, np.ones(6, np.float32))
