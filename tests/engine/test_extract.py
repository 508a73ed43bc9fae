import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import extract as engine
from vitreous.errors import InputError
from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import euler_to_matrix

OPTICS = OpticsGroup("opticsGroup1", 1, 300.0, 2.7, 0.1, 2.0, 0)
CTF = np.array([[12000.0, 11000, 25, 300, 2.7, 0.1, 0, 0, 1]])


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def micrograph(shape=(120, 150), seed=1):
    return np.random.default_rng(seed).normal(300, 20, shape).astype(np.float32)


CENTRES = np.array([(60, 50), (3, 4), (149, 119), (100, 20)], np.int64)


def images_of(be, recipe, image=None, **more):
    batches = list(
        engine.extract(be, micrograph() if image is None else image, CENTRES, recipe, engine.prepare(recipe), **more)
    )
    return np.concatenate([b.images for b in batches]), batches


def test_extract_does_the_steps_in_order(be):
    recipe = engine.Recipe(40, 20, 16, True, True, 6.0, invert=True)
    got, _ = images_of(be, recipe)
    plain, _ = images_of(be, engine.Recipe(40))
    step = engine.rewindow(engine.resize(plain, 20), 16)
    engine.normalise(be, step, engine.outside_circle(16, 6.0), recipe, np.arange(4, dtype=np.uint64))
    np.testing.assert_allclose(got, step, atol=2e-5)


def test_extract_in_batches_is_the_same(be, monkeypatch):
    recipe = engine.Recipe(40, 20, None, True, True, 7.0, 3.0, 3.0)
    whole, one = images_of(be, recipe)
    monkeypatch.setattr(engine, "BATCH_BYTES", 1)
    parts, many = images_of(be, recipe)
    np.testing.assert_array_equal(whole, parts)
    assert (len(one), len(many)) == (1, 4)


@pytest.mark.parametrize("side", [16, 40, 64])
def test_extract_without_norm_keeps_grey_values(be, side):
    got, _ = images_of(be, engine.Recipe(40, side))
    plain, _ = images_of(be, engine.Recipe(40))
    np.testing.assert_allclose(got.mean(axis=(1, 2)), plain.mean(axis=(1, 2)), rtol=1e-6)


def test_resize_there_and_back_is_the_identity_for_band_limited_images():
    images = engine.resize(np.random.default_rng(2).normal(size=(2, 32, 32)), 12)
    circle = engine.resize(engine.resize(images, 10), 12)  # without the corners, which enlarging leaves out
    again = engine.resize(engine.resize(circle, 48), 12)
    inside = engine.resize(engine.resize(again, 48), 12)
    np.testing.assert_allclose(inside, again, atol=1e-5)


def test_rewindow_keeps_the_centre():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 4] = 1
    for side in (4, 5, 12, 13):
        out = engine.rewindow(image, side)
        assert out[0, side // 2, side // 2] == 1 and out.sum() == 1
    assert engine.rewindow(image, 11, fill=2.0)[0, 0, 0] == 2


def test_extract_multiplied_by_the_ctf_matches_its_definition(be):
    image = micrograph()
    got, _ = images_of(be, engine.Recipe(32, multiply="ctf"), image, ctf=CTF, optics=OPTICS)
    box = image[50 - 16 : 50 + 16, 60 - 16 : 60 + 16].astype(float)
    k = np.fft.fftfreq(32, 1 / 32)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    ky[16], kx[:, 16] = 16, 16
    u2 = (kx**2 + ky**2) / 64**2
    azimuth = np.arctan2(ky, kx) - np.deg2rad(25)
    defocus = 12000 * np.cos(azimuth) ** 2 + 11000 * np.sin(azimuth) ** 2
    wavelength = 12.2643247 / np.sqrt(3e5 * (1 + 0.978466e-6 * 3e5))
    gamma = -np.pi * wavelength * defocus * u2 + np.pi / 2 * 2.7e7 * wavelength**3 * u2**2 - np.arcsin(0.1)
    ft = np.fft.fft2(box) * -np.sin(gamma)
    ft[16, 17:] = np.conj(ft[16, 15:0:-1])  # the transform of a real image, by its half plane with the row +16
    half = ft[:, :17]
    np.testing.assert_allclose(got[0], np.fft.irfft2(half, (32, 32)), atol=2e-3)


def test_extract_flipping_twice_is_the_identity_inside(be):
    image = micrograph((64, 64))
    recipe = engine.Recipe(64, multiply="sign")
    tables, centre = engine.prepare(recipe), np.array([[32, 32]])
    once = next(engine.extract(be, image, centre, recipe, tables, ctf=CTF, optics=OPTICS)).images[0]
    twice = next(engine.extract(be, once.copy(), centre, recipe, tables, ctf=CTF, optics=OPTICS)).images[0]
    assert np.abs(once - image).max() > 1
    # unpaired frequencies lose their imaginary part: compare without them
    keep = engine.resize(np.stack([twice, image]), 60)
    np.testing.assert_allclose(keep[0], keep[1], atol=1e-3)


# Positions and origins of relion_preprocess 3.1.3 for one particle.
VECTORS = [
    (None, None, (95.9, 83.2), (0.5, -1.0)),
    ((5, 2, 3), 8.0, (99.9, 81.2), (0.590697, 0.043608)),
    ((5, 2, 3), 4.0, (97.9, 82.2), (0.545349, -0.47820)),
]


@pytest.mark.parametrize(("centre", "reference_A", "position", "origin"), VECTORS)
def test_recentred_gives_the_vectors_of_relion(centre, reference_A, position, origin):
    rotation = euler_to_matrix(np.array([[30.0, 40.0, 10.0]]))
    xy, left_A = engine.recentred([[100.9, 80.2]], [[20.5, -13.0]], rotation, (reference_A or 8.0) / 4.0, 4.0, centre)
    np.testing.assert_allclose(xy, [position], atol=1e-9)
    np.testing.assert_allclose(left_A, [origin], atol=1e-5)


def test_recentred_does_not_move_the_particle():
    rng = np.random.default_rng(5)
    xy, shift_A = rng.uniform(0, 1000, (50, 2)), rng.normal(0, 20, (50, 2))
    rotation = euler_to_matrix(rng.uniform(-180, 180, (50, 3)))
    new_xy, new_A = engine.recentred(xy, shift_A, rotation, 2.0, 1.5)
    np.testing.assert_allclose(new_xy - new_A / 1.5, xy - shift_A / 1.5, atol=1e-9)
    assert np.abs(new_A).max() <= 0.75
    moved_xy, moved_A = engine.recentred(xy, shift_A, rotation, 2.0, 1.5, (3, -4, 5))
    expected = xy - shift_A / 1.5 + 2 * (rotation @ np.array([3, -4, 5]))[:, :2]
    np.testing.assert_allclose(moved_xy - moved_A / 1.5, expected, atol=1e-9)


def test_whole_pixels_cut_the_fraction_off():
    assert engine.whole_pixels([(1.9, -1.9), (3.0, 0.2)]).tolist() == [[1, -1], [3, 0]]
    assert engine.whole_pixels([(1.2, 2.9)], (3, -5)).tolist() == [[4, -2]]  # the bias first, as RELION


def test_touches_tells_boxes_with_a_pixel_inside():
    centres = np.array([(0, 0), (-4, 5), (-5, 5), (23, 5), (24, 5), (10, -5), (10, 34)])
    assert engine.touches((30, 20), centres, 8).tolist() == [True, False, False, True, False, False, False]
    assert engine.touches((30, 20), np.array([(-3, 0)]), 8).all()


def test_cut_tubes_steps_along_the_line_and_stays_inside():
    found = engine.cut_tubes([(40, 60), (140, 60), (100, 90), (100, 10)], (120, 150), 20, 10.0, 2.0)
    first = found.tube == 1
    np.testing.assert_allclose(np.diff(found.coordinate_px[first, 0]), 10)
    np.testing.assert_allclose(found.coordinate_px[first, 1], 60)
    np.testing.assert_allclose(found.psi_deg[first], 0)
    np.testing.assert_allclose(found.psi_deg[~first], 90)
    np.testing.assert_allclose(np.diff(found.track_A[first]), 20)
    assert found.coordinate_px.min() >= 10
    middle = engine.cut_tubes([(40, 60), (140, 60)], (120, 150), 20, None, 2.0)
    assert middle.coordinate_px.tolist() == [[90, 60]]


def test_cut_tubes_refuses_an_end_without_a_start():
    with pytest.raises(InputError, match="found 3 ends of tubes"):
        engine.cut_tubes([(0, 0), (1, 1), (2, 2)], (120, 150), 20, 10.0, 2.0)


def test_outside_tube_is_turned_by_minus_psi():
    mask = engine.outside_tube(32, 5, [0.0, 90.0, 30.0])
    assert not mask[0, 16].any() and mask[0, 4].all()  # along x
    assert not mask[1, :, 16].any() and mask[1, :, 4].all()  # along y
    x, y = 16 + 10 * np.cos(np.deg2rad(30)), 16 - 10 * np.sin(np.deg2rad(30))
    assert not mask[2, round(y), round(x)] and mask[2, round(32 - y), round(x)]


def test_extract_a_pixel_that_is_no_number_spoils_its_own_boxes_only(be):
    image = micrograph()
    recipe = engine.Recipe(32, 16, None, True, True, 6.0, multiply="ctf", multiply_box=40)
    clean, _ = images_of(be, recipe, image, ctf=CTF, optics=OPTICS)
    spoilt = image.copy()
    spoilt[50, 60] = np.nan  # in the first box
    got, batches = images_of(be, recipe, spoilt, ctf=CTF, optics=OPTICS)
    assert np.isnan(batches[0].stats[0]).any() and np.isfinite(batches[0].stats[1:]).all()
    np.testing.assert_allclose(got[1:], clean[1:], atol=2e-3)  # the mean that fills outside has one pixel less


def test_extract_in_memory_that_is_given_is_the_same(be):
    recipe = engine.Recipe(40, 20, None, True, True, 7.0)
    given = np.full(10**5, np.nan, np.float32)
    got, batches = images_of(be, recipe, take=lambda shape: given[: np.prod(shape)].reshape(shape))
    assert np.shares_memory(batches[0].images, given)
    np.testing.assert_array_equal(got, images_of(be, recipe)[0])
