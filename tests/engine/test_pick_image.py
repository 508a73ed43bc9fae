import numpy as np
import pytest

from vitreous.engine.pick_image import normalise, square
from vitreous.engine.pick_size import work_size
from vitreous.errors import InputError


def image(shape=(130, 90), seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 7 + 300).astype(np.float32)


def test_normalise_gives_mean_0_and_sd_1():
    out = normalise(image(), 8)
    assert abs(out.mean(dtype=float)) < 1e-4 and out.std(dtype=float) == pytest.approx(
        1, abs=1e-4
    )  # float32 of values around 300


def test_normalise_replaces_outliers_by_the_mean():
    noisy = image()
    noisy[3, 4] = 1e4
    assert normalise(noisy, 8)[3, 4] == 0
    assert normalise(noisy, 0)[3, 4] > 8


@pytest.mark.parametrize(("value", "words"), [(np.nan, "1 of 11700 pixels that are no finite"), (np.inf, "no finite")])
def test_normalise_refuses_what_is_no_number(value, words):
    bad = image()
    bad[5, 5] = value
    with pytest.raises(InputError, match=words):
        normalise(bad, 8)


def test_normalise_refuses_a_constant_image():
    with pytest.raises(InputError, match="all pixels are 4"):
        normalise(np.full((20, 20), 4, np.float32), 8)


def test_square_puts_the_image_in_the_middle_of_noise():
    small = normalise(image(), 8)
    size = work_size(90, 130, 2.0, lowpass_A=None, shrink=1)
    out = square(small, size, seed=3)
    np.testing.assert_array_equal(out[:, 65 - 45 : 65 + 45], small)
    around = np.delete(out, np.s_[20:110], axis=1)
    assert abs(around.mean()) < 0.1 and around.std() == pytest.approx(1, abs=0.1)  # 5,200 random numbers
    np.testing.assert_array_equal(out, square(small, size, seed=3))
    assert (out != square(small, size, seed=4)).any()
