import numpy as np
import pytest
from scipy import fft

import oracles
from tolerances import RTOL
from vitreous.kernels_image import gather_band
from vitreous.model.band import Band


def case(n_i=4, box=16, seed=4, radius_px=None):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n_i, box, box)).astype(np.float32)
    shift = rng.uniform(-6, 6, (n_i, 2)).astype(np.float32)
    band = Band(box, box / 2 if radius_px is None else radius_px)
    return images, shift, band, band.kx.astype(np.float32), band.ky.astype(np.float32)


def as_complex(planes):
    return planes[:, 0] + 1j * planes[:, 1]


@pytest.mark.parametrize("box, radius_px", [(4, 2), (16, 8), (30, 15), (30, 4.5)])
def test_gather_band_matches_oracle(be, box, radius_px):
    images, shift, band, kx, ky = case(box=box, radius_px=radius_px)
    out = as_complex(be.to_host(gather_band(be, fft.rfft2(images), band.index, kx, ky, shift, box)))
    expected = np.stack([oracles.band_coefficients(x, kx, ky, s) for x, s in zip(images, shift)])
    np.testing.assert_allclose(out, expected, rtol=0, atol=RTOL["gather_band"] * np.abs(expected).max())


def test_gather_band_multiplies_by_the_phase(be):
    images, shift, band, kx, ky = case()
    ft = fft.rfft2(images)
    phase = np.random.default_rng(5).normal(size=(2, len(band))).astype(np.float32)
    bare = as_complex(be.to_host(gather_band(be, ft, band.index, kx, ky, shift, 16)))
    out = as_complex(be.to_host(gather_band(be, ft, band.index, kx, ky, shift, 16, phase)))
    np.testing.assert_allclose(out, bare * (phase[0] + 1j * phase[1]), rtol=0, atol=1e-6 * np.abs(bare).max() * 3)


def test_gather_band_of_a_centred_point_is_flat_and_real(be):
    images, shift, band, kx, ky = case(1)
    images[:] = 0
    images[0, 8, 8] = 256
    out = be.to_host(gather_band(be, fft.rfft2(images), band.index, kx, ky, 0 * shift, 16))
    np.testing.assert_allclose(out[0, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(out[0, 1], 0, atol=1e-6)


def test_gather_band_whole_shift_is_a_roll(be):
    images, shift, band, kx, ky = case()
    shift[:] = 3, -2
    rolled = np.roll(images, (-2, 3), (1, 2))
    out = be.to_host(gather_band(be, fft.rfft2(images), band.index, kx, ky, shift, 16))
    expected = be.to_host(gather_band(be, fft.rfft2(rolled), band.index, kx, ky, 0 * shift, 16))
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_gather_band_keeps_its_digits_at_large_shifts(be):
    """A shift by whole boxes changes nothing."""
    images, shift, band, kx, ky = case()
    ft = fft.rfft2(images)
    near = be.to_host(gather_band(be, ft, band.index, kx, ky, np.round(shift), 16))
    far = be.to_host(gather_band(be, ft, band.index, kx, ky, np.round(shift) + np.float32(160), 16))
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-5 * np.abs(near).max())


def test_gather_band_of_the_origin_alone_is_the_mean(be):
    images, shift, band, kx, ky = case(radius_px=0)
    out = be.to_host(gather_band(be, fft.rfft2(images), band.index, kx, ky, shift, 16))
    np.testing.assert_allclose(out[:, 0, 0], images.mean((1, 2)), atol=1e-7)


def test_gather_band_refuses_a_band_of_another_box(be):
    images, shift, _, _, _ = case()
    band = Band(32, 16)
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    with pytest.raises(ValueError, match=r"gather_band: pixel \d+ has index .* not one pixel of a transform of box 16"):
        gather_band(be, fft.rfft2(images), band.index, kx, ky, shift, 16)
    with pytest.raises(ValueError, match="box is 15, expected an even number"):
        gather_band(be, fft.rfft2(images[:, :15, :15]), band.index, kx, ky, shift, 15)
    with pytest.raises(TypeError, match="ft: dtype is <c16, expected <c8"):
        gather_band(be, fft.rfft2(images.astype(float)), band.index, kx, ky, shift, 16)
