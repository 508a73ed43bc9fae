import numpy as np
import pytest

import oracles
from tolerances import RTOL
from vitreous.kernels_image import prepare_images
from vitreous.model.masks import soft_circle


def case(n_i=6, box=24, seed=2):
    rng = np.random.default_rng(seed)
    images = rng.normal(0.3, 1, (n_i, box, box)).astype(np.float32)
    gain = rng.uniform(0.5, 2, n_i).astype(np.float32)
    shift = rng.integers(-5, 6, (n_i, 2)).astype(np.int32)
    return images, gain, shift, soft_circle(box, box / 4, 3)


@pytest.mark.parametrize("box", [1, 8, 24, 33])
@pytest.mark.parametrize("with_noise", [False, True])
def test_prepare_images_matches_oracle(be, box, with_noise):
    images, gain, shift, mask = case(box=box)
    noise = np.random.default_rng(3).normal(size=images.shape).astype(np.float32) if with_noise else None
    plain, masked = (be.to_host(a) for a in prepare_images(be, images, gain, shift, mask, noise))
    for got, expected in zip((plain, masked), oracles.prepared(images, gain, shift, mask, noise)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=RTOL["prepare_images"] * np.abs(images).max() * 2)


def test_prepare_images_is_the_identity_without_gain_shift_and_mask(be):
    images, gain, shift, mask = case()
    plain, masked = prepare_images(be, images, np.ones_like(gain), np.zeros_like(shift), np.ones_like(mask))
    np.testing.assert_array_equal(be.to_host(plain), images)
    np.testing.assert_array_equal(be.to_host(masked), images)


def test_prepare_images_there_and_back_loses_only_the_border(be):
    images, gain, shift, mask = case()
    one = np.ones_like(gain)
    there, _ = prepare_images(be, images, one, shift, mask)
    back = be.to_host(prepare_images(be, there, one, -shift, mask)[0])
    np.testing.assert_array_equal(back[:, 5:-5, 5:-5], images[:, 5:-5, 5:-5])


@pytest.mark.parametrize("shift", [(24, 0), (0, -24), (1000, 1000), (-(2**31), 2**31 - 1)])
def test_prepare_images_shifted_out_of_the_box_is_zero(be, shift):
    images, gain, _, mask = case(1)
    plain, masked = prepare_images(be, images, gain, np.array([shift], np.int32), mask)
    assert not be.to_host(plain).any() and not be.to_host(masked).any()


def test_prepare_images_fills_a_constant_image_with_itself(be):
    _, gain, shift, mask = case()
    images = np.full((len(gain), *mask.shape), 3, np.float32)
    _, masked = prepare_images(be, images, np.ones_like(gain), np.zeros_like(shift), mask)
    np.testing.assert_allclose(be.to_host(masked), 3, rtol=1e-6)


def test_prepare_images_keeps_nan_in_its_image(be):
    images, gain, shift, mask = case(3)
    images[1, 12, 12] = np.nan
    plain, masked = (be.to_host(a) for a in prepare_images(be, images, gain, np.zeros_like(shift), mask))
    assert np.isnan(plain[1]).any() and np.isnan(masked[1]).any()
    assert np.isfinite(plain[[0, 2]]).all() and np.isfinite(masked[[0, 2]]).all()


def test_prepare_images_refuses_wrong_shapes_and_types(be):
    images, gain, shift, mask = case()
    with pytest.raises(ValueError, match=r"prepare_images: mask has shape \(23, 24\), expected \(24, 24\)"):
        prepare_images(be, images, gain, shift, mask[1:])
    with pytest.raises(TypeError, match="shift_px: dtype is <f4, expected <i4"):
        prepare_images(be, images, gain, shift.astype(np.float32), mask)
