"""Simulated micrographs: where particles are, to a fraction of a pixel, what the CTF and the noise are."""

from dataclasses import replace

import numpy as np
import pytest

from vitreous.engine import simulate_micrograph
from vitreous.engine.phantom import Phantom, make_phantom
from vitreous.engine.simulate import (
    Microscope,
    Recipe,
    at_height_0,
    clean_images,
    ctf_images,
    draw_truth,
    generator,
    signal_gain,
)
from vitreous.engine.simulate_micrograph import MEAN, NOISE_SD, Micrograph, ice_power
from vitreous.engine.simulate_micrograph import simulate_micrograph as simulate
from vitreous.engine.simulate_scene import Scene

PIXEL_A, BOX = 4.0, 48
RECIPE = Recipe(n=24, box=BOX, pixel_size_A=PIXEL_A, snr=1.0, shift_std_A=0.0, particle_diameter_A=110.0, seed=5,
                particles_per_micrograph=12, ice_A=0.0, layer_A=50.0)  # fmt: skip
SCENE = Scene((300, 360), PIXEL_A, 200.0)


def made(source, recipe=RECIPE, scene=SCENE, i=0, gain=None) -> Micrograph:
    truth = draw_truth(recipe)
    return simulate(source, recipe, scene, truth, signal_gain(source, truth, recipe) if gain is None else gain, i)


@pytest.fixture
def quiet(monkeypatch):
    """Micrographs without noise."""
    monkeypatch.setattr(simulate_micrograph, "_noise", lambda recipe, truth, shape, rng:
                        np.zeros((shape[0], shape[1] // 2 + 1), np.complex64))  # fmt: skip


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(100.0, n_rods=30, sigma_A=5.0)


def boxes(micrograph, box=BOX):
    """Particles whose boxes lie inside, bright, in units of the noise, and which they are."""
    half, (ny, nx) = box // 2, micrograph.image.shape
    x, y = micrograph.place_px.T
    inside = np.flatnonzero((x >= half) & (y >= half) & (x < nx - half) & (y < ny - half))
    cut = [micrograph.image[j - half : j + half, i - half : i + half] for i, j in micrograph.place_px[inside]]
    return (MEAN - np.array(cut)) / NOISE_SD, inside


def test_a_particle_is_centred_at_its_pixel_less_its_origin(quiet):
    # a round blob under a CTF of nearly 1 everywhere: the centroid of what is dark is where the particle stands
    blob = Phantom(np.zeros((1, 3)), np.array([8.0]), np.array([1e5]))
    recipe = replace(RECIPE, microscopes=(Microscope(Cs_mm=0.0, amplitude_contrast=0.999, defocus_min_A=1.0,
                                                     defocus_max_A=1.0, astigmatism_A=0.0),))  # fmt: skip
    micrograph = made(blob, recipe)
    images, rows = boxes(micrograph)
    assert len(images) > 6 and images.max() > 0 and -images.min() < 0.05 * images.max()
    axis = np.arange(BOX) - BOX // 2
    total = images.sum(axis=(1, 2))
    found = np.stack([images.sum(axis=1) @ axis, images.sum(axis=2) @ axis], axis=1) / total[:, None]
    truth = micrograph.truth[rows]
    expected = -np.stack([truth.origin_x_A, truth.origin_y_A], axis=1) / PIXEL_A
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(expected).max() > 0.3 and np.abs(expected).max() <= 0.5


def test_a_particle_is_its_projection_under_the_ctf(phantom, quiet):
    # in a box that holds the fringes, the micrograph shows what a particle image shows
    recipe = replace(RECIPE, box=96, microscopes=(Microscope(defocus_min_A=6000.0, defocus_max_A=6000.0),))
    micrograph = made(phantom, recipe, replace(SCENE, shape=(420, 420), distance_A=500.0), gain=1.0)
    images, rows = boxes(micrograph, 96)
    assert len(images)
    expected = clean_images(phantom, micrograph.truth[rows], recipe)
    for image, other in zip(images, expected):
        middle = (slice(24, 72),) * 2  # further out, fringes of the neighbours and those that left the box
        assert np.corrcoef(image[middle].ravel(), other[middle].ravel())[0, 1] > 0.999
        slope = np.vdot(image[middle], other[middle]) / np.vdot(other[middle], other[middle])
        assert slope == pytest.approx(1, abs=0.02)


def test_particles_have_the_defocus_of_their_height(phantom, quiet):
    recipe = replace(RECIPE, box=96, ice_A=20000.0, layer_A=5000.0)
    micrograph = made(phantom, recipe, replace(SCENE, shape=(700, 700), distance_A=500.0), gain=1.0)
    images, rows = boxes(micrograph, 96)
    truth = micrograph.truth[rows]
    assert len(np.unique(truth.height_A)) > 2
    own, flat = (clean_images(phantom, t, recipe) for t in (truth, at_height_0(truth)))
    middle = (slice(None), slice(32, 64), slice(32, 64))
    right, wrong = (np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images[middle], other[middle])])
                    for other in (own, flat))  # fmt: skip
    assert right.min() > 0.999 and wrong[truth.height_A != 0].max() < 0.99


def test_a_micrograph_is_a_function_of_seed_and_number(phantom):
    scene = replace(SCENE, carbon=1.0, contaminants=2.0, gradient=0.1)
    again = made(phantom, scene=scene, i=1, gain=1e-3)
    larger = made(phantom, replace(RECIPE, n=60), scene, 1, gain=1e-3)
    np.testing.assert_array_equal(larger.image, again.image)
    other = made(phantom, replace(RECIPE, seed=6), scene, 1, gain=1e-3)
    assert np.abs(np.corrcoef(other.image.ravel()[::7], again.image.ravel()[::7])[0, 1]) < 0.9
    assert not np.array_equal(other.place_px, again.place_px)


@pytest.mark.parametrize("noise", ["white", "coloured", "ice"])
def test_noise_has_unit_variance(phantom, noise):
    image = made(phantom, replace(RECIPE, noise=noise), replace(SCENE, shape=(700, 600)), gain=0.0).image
    assert image.mean() == pytest.approx(MEAN, abs=5)
    # 420,000 pixels, of which the structure of ice leaves some thousand independent ones
    assert image.std() == pytest.approx(NOISE_SD, rel=0.03)


def test_noise_of_ice_has_the_spectrum_that_is_stated():
    recipe = replace(RECIPE, noise="ice", microscopes=(Microscope(astigmatism_A=0.0),))
    truth = at_height_0(draw_truth(recipe)[:1])
    side = 256
    ft = sum(np.abs(simulate_micrograph._noise(recipe, truth, (side, side), generator(1, i))) ** 2 for i in range(60))
    f2 = np.fft.rfftfreq(side, PIXEL_A) ** 2 + np.fft.fftfreq(side, PIXEL_A)[:, None] ** 2
    expected = ice_power(f2, ctf_images(truth, recipe.microscopes, side, PIXEL_A)[0])
    shell = np.rint(np.sqrt(f2) * side * PIXEL_A).astype(int)
    found, wanted = (np.bincount(shell.ravel(), p.ravel())[1:120] for p in (ft, expected))
    ratio = found / wanted / np.median(found / wanted)
    n = np.bincount(shell.ravel())[1:120] * 60
    assert (np.abs(ratio - 1) < 5 / np.sqrt(n)).all()  # five standard deviations of a sum of exponentials
    assert np.ptp(wanted / n) > 0.5 * np.median(wanted / n)


def test_carbon_has_a_texture_of_its_own(phantom):
    scene = replace(SCENE, shape=(512, 512), carbon=1.0)
    micrograph = made(phantom, replace(RECIPE, noise="white"), scene, gain=0.0)
    film = simulate_micrograph.simulate_scene.carbon(scene, micrograph.around)
    image = (micrograph.image - MEAN) / NOISE_SD
    assert image[film == 1].var() > 1.1 * image[film == 0].var()


def test_an_empty_micrograph_is_ice(phantom):
    crowded = replace(SCENE, contaminants=60.0)  # no free place is left
    micrograph = made(phantom, scene=crowded)
    assert len(micrograph.truth) == 0 and np.isfinite(micrograph.image).all()
