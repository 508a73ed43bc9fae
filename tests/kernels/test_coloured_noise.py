import numpy as np
import pytest
from scipy import fft

import oracles
from tolerances import RTOL
from vitreous.kernels_image import coloured_noise


def case(box=16, seed=7):
    sigma = np.random.default_rng(seed).uniform(0.5, 2, box // 2 + 1).astype(np.float32)
    return sigma, oracles.half_plane_shells(box)


@pytest.mark.parametrize("seed, ids", [(0, [0]), (2**63 + 5, [2**40 + 3, 7])])
@pytest.mark.parametrize("box", [2, 16, 22])
def test_coloured_noise_matches_oracle(be, seed, ids, box):
    sigma, shell_of = case(box)
    out = be.to_host(coloured_noise(be, seed, np.array(ids, np.uint64), sigma, shell_of, box))
    expected = np.stack([oracles.coloured_noise(seed, i, sigma, shell_of, box) for i in ids])
    np.testing.assert_allclose(out, expected, rtol=0, atol=RTOL["coloured_noise"] * np.abs(expected).max())


def test_coloured_noise_oracle_gives_the_published_philox_numbers():
    """Known answers of the Random123 distribution."""
    assert oracles.philox4x32([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    assert oracles.philox4x32(pi[:4], pi[4:]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_coloured_noise_is_the_transform_of_a_real_image(be):
    sigma, shell_of = case()
    ft = be.to_host(coloured_noise(be, 1, np.arange(3, dtype=np.uint64), sigma, shell_of, 16))
    np.testing.assert_allclose(fft.rfft2(fft.irfft2(ft)), ft, rtol=0, atol=2e-6 * np.abs(ft).max())


def test_coloured_noise_does_not_depend_on_its_batch(be):
    sigma, shell_of = case()
    ids = np.array([5, 9, 2**50], np.uint64)
    together = be.to_host(coloured_noise(be, 3, ids, sigma, shell_of, 16))
    for i in range(3):
        alone = be.to_host(coloured_noise(be, 3, ids[i : i + 1], sigma, shell_of, 16))
        np.testing.assert_array_equal(alone[0], together[i])
    assert not np.allclose(together[0], together[1])
    assert not np.allclose(together, be.to_host(coloured_noise(be, 4, ids, sigma, shell_of, 16)))


def test_coloured_noise_has_the_spectrum_asked_for(be):
    box, n_i = 32, 400
    sigma, shell_of = case(box)
    ft = be.to_host(coloured_noise(be, 11, np.arange(n_i, dtype=np.uint64), sigma, shell_of, box)) / box**2
    for s in range(box // 2):
        values = ft[:, shell_of == s]
        power = 0.5 * np.mean(np.abs(values.astype(complex)) ** 2)
        # |F|^2 / 2 has relative standard deviation 1, at the origin sqrt(2); 5 standard errors
        assert power == pytest.approx(sigma[s] ** 2, rel=5 * 1.42 / np.sqrt(values.size))
        assert abs(values.mean()) < 5 * 1.42 * sigma[s] / np.sqrt(values.size)


def test_coloured_noise_is_gaussian(be):
    box = 64
    shell_of = np.zeros((box, box // 2 + 1), np.int32)
    ft = be.to_host(coloured_noise(be, 2, np.arange(50, dtype=np.uint64), np.ones(1, np.float32), shell_of, box))
    values = np.concatenate([f[:, 1:-1].ravel() for f in (ft.real, ft.imag)]) / box**2
    n = values.size  # 1.9e5: standard errors of mean 1/sqrt(n), kurtosis sqrt(24/n)
    assert abs(values.mean()) < 5 / np.sqrt(n)
    assert values.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert (values**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / n))
    assert np.mean(values > 2) == pytest.approx(0.02275, abs=5 * np.sqrt(0.02275 / n))


def test_coloured_noise_without_counted_shells_is_zero(be):
    sigma, shell_of = case()
    assert not be.to_host(coloured_noise(be, 1, np.arange(2, dtype=np.uint64), sigma, 0 * shell_of - 1, 16)).any()


def test_coloured_noise_refuses_an_odd_box_and_signed_ids(be):
    sigma, shell_of = case()
    with pytest.raises(ValueError, match="coloured_noise: box is 15, expected an even number"):
        coloured_noise(be, 1, np.arange(2, dtype=np.uint64), sigma, shell_of, 15)
    with pytest.raises(TypeError, match="ids: dtype is <i8, expected <u8"):
        coloured_noise(be, 1, np.arange(2), sigma, shell_of, 16)
