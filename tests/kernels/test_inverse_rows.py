import numpy as np
import pytest

from test_inverse_columns import flat
from tolerances import RTOL
from vitreous.kernels_pick import inverse_maps, inverse_rows, lowest_frequencies


def case(n_rows=40, n_k=9, m=3, seed=0):
    """Half-transformed maps in blocks of columns, and what is beyond the last column, which is to be ignored."""
    return np.random.default_rng(seed).normal(size=(m, -(-n_k // 16), n_rows, 2, 16)).astype(np.float32)


@pytest.mark.parametrize(("n_k", "n_out"), [(9, 16), (9, 17), (9, 40), (1, 5), (8, 15), (20, 202)])
@pytest.mark.parametrize(("first", "rows"), [(0, None), (3, 35), (39, 1), (5, 32)])
def test_inverse_rows_match_oracle(be, n_k, n_out, first, rows):
    half = case(n_k=n_k)
    planes = flat(half, n_k)[:, first : first + (rows or 40)].astype(float)
    z = planes[:, :, 0] + 1j * planes[:, :, 1]
    expected = np.fft.irfft(z, n_out, norm="forward")
    found = inverse_rows(be, half, n_k, n_out, first, rows)
    np.testing.assert_allclose(found, expected, atol=RTOL["inverse_rows"] * expected.std())


@pytest.mark.parametrize("n", [44, 45])
def test_inverse_rows_and_columns_undo_lowest_frequencies(be, n):
    image = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32)
    ft = lowest_frequencies(be, image, np.zeros(0, np.float32), (0, 0), n, n)[0]
    out = inverse_maps(be, ft, np.ones((1, *ft.shape), np.float32), n)
    np.testing.assert_allclose(out[0], image, atol=RTOL["inverse_rows"])


def test_inverse_rows_refuse_rows_that_are_not_there(be):
    with pytest.raises(ValueError, match="rows 30 to 50 of 40"):
        inverse_rows(be, case(), 9, 20, 30, 20)
    with pytest.raises(ValueError, match="rows 30 to 25 of 40"):
        inverse_rows(be, case(), 9, 20, 30, -5)
    with pytest.raises(ValueError, match="9 frequencies for 14 px"):
        inverse_rows(be, case(), 9, 14)
    with pytest.raises(ValueError, match="0 frequencies for 14 px"):
        inverse_rows(be, case(n_k=0), 0, 14)


@pytest.mark.parametrize("shape", [(3, 1, 40, 2, 8), (3, 2, 40, 2, 16), (3, 1, 40, 16, 2), (40, 2, 16)])
def test_inverse_rows_refuse_maps_that_are_not_in_their_blocks(be, shape):
    with pytest.raises(ValueError, match=r"inverse_rows: half has shape .*, expected \(any, 1, any, 2, 16\)"):
        inverse_rows(be, np.zeros(shape, np.float32), 9, 16)


def test_inverse_rows_refuse_room_of_another_shape(be):
    with pytest.raises(ValueError, match="inverse_rows: out has shape"):
        inverse_rows(be, case(), 9, 20, 30, 10, out=np.empty((3, 9, 20), np.float32))
