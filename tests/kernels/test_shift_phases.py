import numpy as np
import pytest

from tolerances import ATOL
from vitreous import kernels
from vitreous.model.band import Band


def shift_phases(be, kx, ky, shifts_px, box):
    """The kernel on the device, its result on the host."""
    return be.to_host(kernels.shift_phases(be, be.to_device(kx), be.to_device(ky), be.to_device(shifts_px), box))


def test_shift_phases_match_oracle(be):
    band = Band(256, 128)
    shifts = np.random.default_rng(0).uniform(-40, 40, (9, 2)).astype(np.float32)
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    out = shift_phases(be, kx, ky, shifts, 256)
    turns = shifts.astype(float) @ np.stack([band.kx, band.ky]).astype(float) / 256
    np.testing.assert_allclose(out[:, 0] + 1j * out[:, 1], np.exp(-2j * np.pi * turns), atol=ATOL["shift_phases"])


def test_shift_phases_move_content_by_plus_shift(be):
    image = np.zeros((16, 16))
    image[8, 8] = 1
    ky, kx = np.meshgrid(np.fft.fftfreq(16, 1 / 16), np.arange(9), indexing="ij")
    phase = shift_phases(be, kx.ravel().astype("f"), ky.ravel().astype("f"), np.array([[3, -2]], "f"), 16)[0]
    moved = np.fft.irfft2(np.fft.rfft2(image) * (phase[0] + 1j * phase[1]).reshape(16, 9), s=(16, 16))
    assert np.unravel_index(moved.argmax(), moved.shape) == (6, 11)


def test_shift_phases_without_shift_are_one(be):
    out = shift_phases(be, np.arange(5, dtype="f"), np.arange(5, dtype="f"), np.zeros((1, 2), "f"), 8)
    np.testing.assert_array_equal(out[0], [[1] * 5, [0] * 5])


def test_shift_phases_refuse_three_components(be):
    with pytest.raises(ValueError, match=r"shifts_px has shape \(2, 3\)"):
        shift_phases(be, np.arange(5, dtype="f"), np.arange(5, dtype="f"), np.zeros((2, 3), "f"), 8)
