import numpy as np
import pytest
from scipy import fft

import oracles
from tolerances import RTOL
from vitreous.kernels_image import shell_power


def case(n_i=3, box=32, seed=6):
    return np.random.default_rng(seed).normal(size=(n_i, box, box)).astype(np.float32), oracles.half_plane_shells(box)


@pytest.mark.parametrize("box", [4, 32, 90])
@pytest.mark.parametrize("n_shells", [1, 3, 100])
def test_shell_power_matches_oracle(be, box, n_shells):
    images, shell_of = case(box=box)
    ft = fft.rfft2(images)
    out = be.to_host(shell_power(be, ft, shell_of, n_shells))
    np.testing.assert_allclose(out, oracles.shell_power(ft, shell_of, n_shells), rtol=RTOL["shell_power"])


def test_shell_power_sums_to_the_variance(be):
    """Parseval: with each Friedel pair once, the interior counts twice."""
    images, shell_of = case()
    twice = np.full_like(shell_of, 0)
    twice[:, 0] = twice[:, -1] = 1  # columns that hold both partners
    out = be.to_host(shell_power(be, fft.rfft2(images), twice, 2))
    np.testing.assert_allclose(2 * out[:, 0] + out[:, 1], (images.astype(float) ** 2).mean((1, 2)), rtol=1e-5)


def test_shell_power_of_white_noise_is_one_over_two_n_squared(be):
    box = 64
    images, shell_of = case(200, box)
    out = be.to_host(shell_power(be, fft.rfft2(images), shell_of, 33)).mean(0)
    counts = np.bincount(shell_of[shell_of >= 0], minlength=33)[:33]
    sigma2 = 0.5 * out / counts
    # Shells of n pixels x 200 images: relative standard error 1/sqrt(200 n) < 2% from shell 5 on; 5 standard errors.
    np.testing.assert_allclose(sigma2[5:] * 2 * box**2, 1, atol=5 / np.sqrt(200 * counts[5]))


def test_shell_power_of_nothing_counted_is_zero(be):
    images, shell_of = case()
    assert not be.to_host(shell_power(be, fft.rfft2(images), np.full_like(shell_of, -1), 17)).any()


def test_shell_power_refuses_shells_of_another_box(be):
    images, shell_of = case()
    with pytest.raises(ValueError, match=r"shell_power: shell_of has shape \(31, 17\), expected \(32, 17\)"):
        shell_power(be, fft.rfft2(images), shell_of[1:], 17)
    with pytest.raises(TypeError, match="shell_of: dtype is <i8, expected <i4"):
        shell_power(be, fft.rfft2(images), shell_of.astype(np.int64), 17)
