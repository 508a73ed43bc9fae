import numpy as np
import pytest

from tolerances import RTOL
from vitreous.kernels_pick import lowest_frequencies


def case(n_full=60, ny=41, nx=50, corner=(7, 4), seed=0):
    """An image, what is around it, and the square that they make."""
    rng = np.random.default_rng(seed)
    image = rng.normal(3, 2, (ny, nx)).astype(np.float32)
    outside = np.ones((n_full, n_full), bool)
    outside[corner[0] : corner[0] + ny, corner[1] : corner[1] + nx] = False
    around = rng.normal(size=outside.sum()).astype(np.float32)
    square = np.zeros((n_full, n_full))
    square[outside] = around
    square[~outside] = ((image.astype(float) - 3) / 2).ravel()
    return image, around, square


def oracle(square, n):
    rows = np.r_[0 : n // 2 + 1, -((n - 1) // 2) : 0]
    return (np.fft.fft2(square) / square.size)[rows][:, : n // 2 + 1]


@pytest.mark.parametrize("n_full", [4, 30, 49, 60, 64, 77, 202, 225])
@pytest.mark.parametrize("share", [1, 0.3])
@pytest.mark.parametrize("squared", [False, True])
def test_lowest_frequencies_match_oracle(be, n_full, share, squared):
    n = max(int(share * n_full), 3)
    image, around, square = case(n_full, n_full - n_full // 4, n_full - 2, (n_full // 5, 1))
    out = lowest_frequencies(be, image, around, (n_full // 5, 1), n_full, n, mean=3, factor=0.5, squared=squared)
    assert len(out) == 1 + squared
    for found, values in zip(out, (square, square**2)):
        expected = oracle(values, n)
        np.testing.assert_allclose(found, expected, atol=RTOL["lowest_frequencies"] * np.sqrt((values**2).mean()))


def test_lowest_frequencies_of_a_wave_are_one_number(be):
    n, ky, kx = 48, -3, 5
    y, x = np.mgrid[:n, :n]
    image = np.cos(2 * np.pi * (ky * y + kx * x) / n).astype(np.float32)
    out = lowest_frequencies(be, image, np.zeros(0, np.float32), (0, 0), n, 16)[0]
    expected = np.zeros((16, 9))
    expected[ky, kx] = 0.5
    np.testing.assert_allclose(out, expected, atol=1e-6)  # float32 sums of 48^2 terms, divided by their number


def test_lowest_frequencies_beyond_the_limit_are_0(be):
    image, around, _ = case()
    image[5, 6], image[7, 8] = 1000, -1000
    put = image.copy()
    put[5, 6] = put[7, 8] = 3
    cut, expected = (lowest_frequencies(be, a, around, (7, 4), 60, 20, mean=3, factor=0.5, limit=t)
                     for a, t in ((image, 20), (put, np.inf)))  # fmt: skip
    np.testing.assert_array_equal(cut, expected)


def test_lowest_frequencies_refuse_an_image_outside(be):
    image, around, _ = case()
    with pytest.raises(ValueError, match="inside of the square"):
        lowest_frequencies(be, image, around, (30, 4), 60, 20)
    with pytest.raises(ValueError, match="lowest_frequencies: around"):
        lowest_frequencies(be, image, around[1:], (7, 4), 60, 20)
