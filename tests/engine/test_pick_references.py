import numpy as np
import pytest

from vitreous.engine import pick_references as pr
from vitreous.errors import InputError


def disc(box=32, radius=9, value=1.0):
    x = np.arange(box) - box // 2
    return np.where(np.hypot(x[:, None], x) <= radius, value, 0).astype(np.float32)


def test_own_diameter_is_that_of_the_flat_corners_circle():
    images = np.stack([disc(radius=9), disc(radius=5)])
    assert pr.own_diameter_px(images) == (18 + 10) / 2  # one less than the number of pixels, as RELION counts
    noise = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    assert pr.own_diameter_px(noise) == 31  # the whole row


def test_rescaled_keeps_grey_values_when_it_shrinks_and_weakens_when_it_enlarges():
    images = np.stack([disc()]) + 1
    small, large = pr.rescaled(images, 2.0, 4.0), pr.rescaled(images, 2.0, 1.0)
    assert small.shape == (1, 16, 16) and large.shape == (1, 64, 64)
    assert small.mean() == pytest.approx(images.mean(), rel=1e-5)
    assert large.mean() == pytest.approx(images.mean() / 2, rel=1e-5)
    assert pr.rescaled(images, 2.0, 2.0005) is images


def test_masked_is_zero_outside_its_circle():
    found = pr.masked(np.ones((1, 32, 32), np.float32), 2.0, 40.0, 2)
    assert found.radius_px == 8 and found.n_inside == int(found.inside.sum()) == int(found.images.sum())
    with pytest.raises(InputError, match="at most the 64 A"):
        pr.masked(np.ones((1, 32, 32), np.float32), 2.0, 70.0, 2)
    with pytest.raises(InputError, match="circle of 0 px"):
        pr.masked(np.ones((1, 32, 32), np.float32), 2.0, 8.0, 2)


@pytest.mark.parametrize(("box", "full"), [(12, 40), (13, 41)])
def test_transform_at_is_that_of_the_embedded_image(box, full):
    image = np.random.default_rng(0).normal(size=(box, box)).astype(np.float32)
    large = np.zeros((full, full))
    start = full // 2 - box // 2
    large[start : start + box, start : start + box] = image
    whole = np.fft.fft2(np.roll(large, (-(full // 2),) * 2, (0, 1))) / full**2
    ky, kx = np.arange(-8, 9), np.arange(9)
    np.testing.assert_allclose(pr.transform_at(image, ky, kx, full, full), whole[ky][:, kx], atol=1e-8)
    ft = pr.transform_at(
        image,
        np.where(np.arange(full) <= full // 2, np.arange(full), np.arange(full) - full),
        np.arange(full // 2 + 1),
        full,
        full,
    )
    if full % 2 == 0:
        np.testing.assert_allclose(pr.centre_of_inverse(ft, box, full), image, atol=1e-5)


def test_gaussian_blob_has_its_peak_in_the_middle():
    blob = pr.gaussian_blob(100.0, 4.0, 0.3)
    assert blob.shape == (1, 38, 38) and blob[0, 19, 19] == blob.max() == np.float32(0.3)
