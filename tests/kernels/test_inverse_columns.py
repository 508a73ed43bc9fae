import numpy as np
import pytest

from tolerances import RTOL
from vitreous.kernels_pick import half_shape, inverse_columns


def case(h=16, m=5, seed=0):
    rng = np.random.default_rng(seed)
    ft = (rng.normal(size=(h, h // 2 + 1)) + 1j * rng.normal(size=(h, h // 2 + 1))).astype(np.complex64)
    return ft, rng.normal(size=(m, h, h // 2 + 1)).astype(np.float32)


def oracle(ft, gain, n_out, n_even):
    h = len(ft)
    factor = np.where(np.arange(len(gain)) < n_even, 1, -1j)[:, None, None]
    tall = np.zeros((len(gain), n_out, h // 2 + 1), complex)
    tall[:, np.r_[0 : h // 2 + 1, -((h - 1) // 2) : 0]] = factor * ft.astype(complex) * gain
    return np.fft.ifft(tall, axis=1, norm="forward")


def flat(half, n_k):
    """(m, n_out, 2, n_k) of what lies in blocks of columns."""
    return np.moveaxis(half, 1, 3).reshape(len(half), half.shape[2], 2, -1)[..., :n_k]


@pytest.mark.parametrize(("h", "n_out"), [(16, 16), (16, 30), (15, 15), (9, 34), (40, 49), (38, 38)])
@pytest.mark.parametrize("n_even", [0, 3, None])
def test_inverse_columns_match_oracle(be, h, n_out, n_even):
    ft, gain = case(h)
    expected = oracle(ft, gain, n_out, 5 if n_even is None else n_even)
    found = flat(inverse_columns(be, ft, gain, n_out, n_even), h // 2 + 1)
    np.testing.assert_allclose(found[:, :, 0] + 1j * found[:, :, 1], expected, atol=RTOL["inverse_columns"] * expected.std())


def test_inverse_columns_of_one_frequency_is_a_wave(be):
    ft, gain = np.zeros((6, 4), np.complex64), np.ones((2, 6, 4), np.float32)
    ft[-1, 2] = 1
    phase = -2 * np.pi * np.arange(20) / 20
    waves = flat(inverse_columns(be, ft, gain, 20, 1), 4)[..., 2]
    np.testing.assert_allclose(waves[0].T, [np.cos(phase), np.sin(phase)], atol=1e-6)  # float32
    np.testing.assert_allclose(waves[1].T, [np.sin(phase), -np.cos(phase)], atol=1e-6)


def test_inverse_columns_refuse_maps_that_are_too_small(be):
    ft, gain = case()
    with pytest.raises(ValueError, match="crop"):
        inverse_columns(be, ft, gain, 14)
    with pytest.raises(ValueError, match="inverse_columns: gain"):
        inverse_columns(be, ft, gain[:, 1:], 16)


@pytest.mark.parametrize("n_even", [-1, 6])
def test_inverse_columns_refuse_more_even_filters_than_there_are(be, n_even):
    with pytest.raises(ValueError, match=f"inverse_columns: n_even is {n_even}, expected 0 to the 5 filters"):
        inverse_columns(be, *case(), 16, n_even)


@pytest.mark.parametrize("shape", [(5, 1, 16, 2, 8), (5, 2, 16, 2, 16), (5, 1, 16, 16, 2), (5, 16, 2, 16), (4, 1, 16, 2, 16)])
def test_inverse_columns_refuse_room_that_is_not_in_their_blocks(be, shape):
    assert half_shape(be, 5, 9, 16) == (5, 1, 16, 2, 16)
    with pytest.raises(ValueError, match=r"inverse_columns: out has shape .*, expected \(5, 1, 16, 2, 16\)"):
        inverse_columns(be, *case(), 16, out=np.empty(shape, np.float32))
