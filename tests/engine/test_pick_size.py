import numpy as np
import pytest

from vitreous.engine import pick_size
from vitreous.errors import InputError


@pytest.mark.parametrize(
    ("n", "most", "expected"), [(192, 360, 190), (144, 360, 148), (390, 1024, 390), (128, 1024, 128)]
)
def test_good_size_is_relions(n, most, expected):
    assert pick_size.good_size(n, most) == expected


# shrink, lowpass_A -> work size of a 3710 px micrograph of 0.885 A; 3710 = 2 5 7 53 has a large factor
@pytest.mark.parametrize(
    ("shrink", "lowpass_A", "work", "n_notes"),
    [
        (0, 20.0, 328, 0),
        (0.5, 20.0, 1860, 0),
        (1, 20.0, 3608, 0),
        (512, 20.0, 510, 0),
        (511, 20.0, 510, 0),
        (0.1, 10.0, 370, 1),
        (0.1, 20.0, 370, 0),
    ],
)
def test_work_size_of_every_kind_of_shrink(shrink, lowpass_A, work, n_notes):
    size = pick_size.work_size(3710, 3838 - 200, 0.885, lowpass_A=lowpass_A, shrink=shrink)
    assert (size.work, len(size.notes)) == (work, n_notes)
    assert (size.asked == work) == (shrink not in (0.5, 1, 512))  # their sizes have slow transforms
    assert max(pick_size.largest_factor(work), pick_size.largest_factor(work // 2 + 1)) <= 43


def test_work_size_keeps_a_slow_size_when_asked():
    size = pick_size.work_size(3710, 3710, 0.885, lowpass_A=None, shrink=1, optimise=False)
    assert size.work == size.band == size.full == 3710
    assert size.window == (3710, 3710)


@pytest.mark.parametrize(("shrink", "words"), [(-1, "--shrink"), (3710, "less than"), (0.001, "at least 16")])
def test_work_size_refuses_what_is_no_size(shrink, words):
    with pytest.raises(InputError, match=words):
        pick_size.work_size(3710, 3710, 0.885, lowpass_A=20.0, shrink=shrink)


@pytest.mark.parametrize(("full", "n"), [(24, 24), (24, 10), (25, 10), (10, 24), (27, 16)])
def test_crop_takes_the_lowest_frequencies_or_adds_zeros(full, n):
    image = np.random.default_rng(0).normal(size=(full, full)).astype(np.float32)
    ft = pick_size.crop(pick_size.forward(image), n)
    whole = np.fft.fft2(image) / full**2
    ky, kx = (a.astype(int) for a in np.broadcast_arrays(*pick_size.frequencies(n)))
    inside = (
        (abs(ky) <= full // 2) & (kx <= full // 2)
        if n <= full
        else (kx**2 + ky**2 <= (full // 2) ** 2) & (ky > -full / 2)
    )
    expected = np.where(inside, whole[ky % full, kx % full], 0)
    np.testing.assert_allclose(ft, expected, atol=1e-6)


def test_inverse_undoes_forward():
    image = np.random.default_rng(0).normal(size=(22, 22)).astype(np.float32)
    np.testing.assert_allclose(pick_size.inverse(pick_size.forward(image)), image, atol=1e-5)  # float32 transforms


def test_shrinking_keeps_grey_values():
    image = np.full((40, 40), 3.0, np.float32)
    np.testing.assert_allclose(pick_size.inverse(pick_size.crop(pick_size.forward(image), 16)), 3.0, atol=1e-5)
