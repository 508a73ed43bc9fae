import numpy as np
import pytest

from vitreous import backend
from vitreous.engine.pick_image import level, transforms
from vitreous.engine.pick_size import work_size
from vitreous.engine.pick_template import highpass_gain
from vitreous.errors import InputError


def image(shape=(130, 90), seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 7 + 300).astype(np.float32)


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def picture(be, small, seed=0, outlier_sd=8.0, **more):
    """The square that the transforms are of."""
    size = work_size(small.shape[1], small.shape[0], 2.0, lowpass_A=None, shrink=1)
    fts = transforms(be, small, size, size.full, outlier_sd=outlier_sd, seed=seed, **more)
    return [np.fft.irfft2(ft, s=(size.full, size.full), norm="forward") for ft in fts]


def test_level_is_mean_and_deviation():
    mean, sd = level(image())
    assert mean == pytest.approx(image().mean(dtype=float), rel=1e-6)  # float32 sums of 64 rows
    assert sd == pytest.approx(image().std(dtype=float), rel=1e-5)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "1 of 11700 pixels that are no finite"), (np.inf, "no finite")])
def test_level_refuses_what_is_no_number(value, words):
    bad = image()
    bad[5, 5] = value
    with pytest.raises(InputError, match=words):
        level(bad)


def test_level_refuses_a_constant_image():
    with pytest.raises(InputError, match="all pixels are 4"):
        level(np.full((20, 20), 4, np.float32))


def test_transforms_are_of_the_normalised_image_in_noise(be):
    small = image()
    out = picture(be, small, seed=3)[0]
    normal = (small - small.mean(dtype=float)) / small.std(dtype=float)
    np.testing.assert_allclose(out[:, 65 - 45 : 65 + 45], normal, atol=1e-4)  # float32 of values around 300
    around = np.delete(out, np.s_[20:110], axis=1)
    assert abs(around.mean()) < 0.1 and around.std() == pytest.approx(1, abs=0.1)  # 5,200 random numbers
    np.testing.assert_array_equal(out, picture(be, small, seed=3)[0])
    assert (out != picture(be, small, seed=4)[0]).any()


@pytest.mark.parametrize("shape", [(90, 130), (100, 100)])
def test_transforms_are_those_of_the_square_and_of_its_squares(be, shape):
    out, squares = picture(be, image(shape), squared=True)
    np.testing.assert_allclose(squares, out**2, atol=1e-4)  # float32 of values up to 20


def test_transforms_replace_outliers_by_the_mean(be):
    noisy = image((100, 100))
    noisy[3, 4] = 1e4
    assert picture(be, noisy)[0][3, 4] == pytest.approx(0, abs=1e-4)
    assert picture(be, noisy, outlier_sd=0)[0][3, 4] > 8


def test_transforms_take_out_a_slope_where_they_are_high_passed(be):
    size = work_size(128, 128, 4.0, lowpass_A=None, shrink=1)
    noise = np.random.default_rng(0).normal(size=(128, 128)) * 0.1
    slope = (noise + np.sin(2 * np.pi * np.arange(128) / 128)).astype(np.float32)
    gain = highpass_gain(size, 100.0, 4.0)
    as_is, flat = (transforms(be, slope, size, 64, outlier_sd=8.0, seed=0, highpass=g)[0] for g in (None, gain))
    assert abs(flat[0, 1]) < 1e-3 * abs(as_is[0, 1])
    np.testing.assert_allclose(flat[20:40, 20:], as_is[20:40, 20:], atol=1e-6)  # float32, there and back
