import numpy as np
import pytest

from vitreous.engine.extract import outside_circle
from vitreous.kernels_extract import extract_normalise

ATOL = 1e-6  # float32 rounding of values up to 5 in units of the background's standard deviation


def images(n=5, box=24, seed=2, level=500.0):
    rng = np.random.default_rng(seed)
    y, x = np.indices((box, box))
    return (level + 0.4 * x - 0.2 * y + rng.normal(0, 7, (n, box, box))).astype(np.float32)


def oracle(image, background, ramp=True, sign=1.0):
    """Least squares in float64."""
    box, bg = image.shape[-1], background.astype(bool)
    y, x = np.indices((box, box)) - box // 2
    terms = np.stack([x, y, np.ones_like(x)], -1).astype(float) if ramp else np.ones((box, box, 1))
    found = np.linalg.lstsq(terms[bg], image[bg].astype(float), rcond=None)[0]
    flat = image - terms @ found
    spread = flat[bg].std()
    return sign * (flat - flat[bg].mean()) / spread, spread, found


@pytest.mark.parametrize("box", [9, 24, 33])
@pytest.mark.parametrize("ramp", [True, False])
def test_extract_normalise_matches_oracle(be, box, ramp):
    x, background = images(box=box), outside_circle(box, box * 0.35)
    out = x.copy()
    stats = extract_normalise(be, out, background, ramp=ramp, invert=True)
    for i in range(len(x)):
        expected, spread, found = oracle(x[i], background[0], ramp, -1.0)
        np.testing.assert_allclose(out[i], expected, rtol=0, atol=ATOL * 5)
        assert stats[i, 0] == pytest.approx(x[i][background[0] > 0].mean(dtype=float))
        assert stats[i, 1] == pytest.approx(spread)
        np.testing.assert_allclose(stats[i, 2:4], found[:2] if ramp else 0, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            stats[i, 5:],
            [out[i].min(), out[i].max(), out[i].sum(dtype=float), np.square(out[i], dtype=float).sum()],
            rtol=1e-6,
            atol=1e-6,
        )


def test_extract_normalise_makes_mean_0_and_deviation_1_and_again_changes_nothing(be):
    x, background = images(level=1e5), outside_circle(24, 9)
    extract_normalise(be, x, background)
    part = x[:, background[0] > 0].astype(float)
    np.testing.assert_allclose(part.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(part.std(axis=1), 1, atol=1e-6)
    once = x.copy()
    extract_normalise(be, x, background)
    np.testing.assert_allclose(x, once, atol=ATOL)


def test_extract_normalise_takes_a_plane_away_whole(be):
    background = outside_circle(24, 9)
    flat = images(level=0)
    y, x = np.indices((24, 24))
    tilted = flat + (3 * x - 2 * y + 40).astype(np.float32)
    for image in (flat, tilted):
        extract_normalise(be, image, background)
    np.testing.assert_allclose(flat, tilted, atol=2e-5)


def test_extract_normalise_with_a_background_of_each_image(be):
    masks = np.concatenate([outside_circle(24, r) for r in (5, 7, 9, 10, 11)])
    x = images()
    each = x.copy()
    extract_normalise(be, each, masks)
    for i in range(5):
        alone = x[i : i + 1].copy()
        extract_normalise(be, alone, masks[i : i + 1])
        np.testing.assert_array_equal(each[i], alone[0])


def test_extract_normalise_replaces_dust_by_noise_of_the_background(be):
    x, background = images(n=4, box=64), outside_circle(64, 24)
    clean = x.copy()
    x[:, 3, 4], x[:, 30, 31], x[:, 50, 5] = 900, 2000, -300
    stats = extract_normalise(
        be, x, background, white_dust=5, black_dust=5, ids=np.arange(7, 11, dtype=np.uint64), seed=3
    )
    assert stats[:, 4].tolist() == [3] * 4
    assert np.abs(x).max() < 12  # the dust, of 55 deviations and more, widened the noise that replaces it
    assert len({float(v) for v in x[:, 30, 31]}) == 4  # other noise in each image
    again = clean.copy()
    again[:, 3, 4], again[:, 30, 31], again[:, 50, 5] = 900, 2000, -300
    extract_normalise(be, again, background, white_dust=5, black_dust=5, ids=np.arange(7, 11, dtype=np.uint64), seed=3)
    np.testing.assert_array_equal(x, again)
    only_white = clean.copy()
    only_white[:, 30, 31], only_white[:, 50, 5] = 2000, -300
    assert extract_normalise(be, only_white, background, white_dust=5)[0, 4] == 1


def test_extract_normalise_leaves_an_image_without_spread(be):
    x = np.full((2, 16, 16), 3.5, np.float32)
    x[1] = images(1, 16)[0]
    stats = extract_normalise(be, x, outside_circle(16, 5))
    assert stats[0, 1] == 0 and stats[1, 1] > 1
    assert (x[0] == 3.5).all()


def test_extract_normalise_keeps_nan_in_its_image_and_tells(be):
    x = images(3)
    x[1, 12, 12] = np.nan
    stats = extract_normalise(be, x, outside_circle(24, 8))
    assert np.isnan(stats[1]).any()
    assert np.isfinite(stats[[0, 2]]).all() and np.isfinite(x[[0, 2]]).all()


def test_extract_normalise_off_only_turns_the_contrast(be):
    x = images()
    before = x.copy()
    extract_normalise(be, x, outside_circle(24, 8), normalise=False, invert=True)
    np.testing.assert_array_equal(x, -before)


def test_extract_normalise_refuses_wrong_shapes(be):
    with pytest.raises(ValueError, match=r"background has 2 masks for 5 images"):
        extract_normalise(be, images(), np.repeat(outside_circle(24, 8), 2, axis=0))
    with pytest.raises(ValueError, match="at least one pixel each"):
        extract_normalise(be, images(), outside_circle(24, 100))
    with pytest.raises(TypeError, match="background: dtype is <f4, expected <u1"):
        extract_normalise(be, images(), outside_circle(24, 8).astype(np.float32))
