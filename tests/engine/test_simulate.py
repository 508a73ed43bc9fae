"""Simulated particles: the same bytes for a seed, the stated statistics, and RELION's conventions."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft

from vitreous.engine.map_source import MapSource
from vitreous.engine.phantom import make_phantom
from vitreous.engine.simulate import (
    Microscope,
    Recipe,
    clean_images,
    ctf_images,
    draw_truth,
    euler_matrix,
    signal_gain,
    simulate_batches,
    simulate_particles,
    view_directions,
)
from vitreous.errors import InputError

RECIPE = Recipe(n=120, box=48, pixel_size_A=4.0, snr=0.2, views=4, seed=3, particles_per_micrograph=20,
                microscopes=(Microscope(), Microscope(voltage_kV=200.0, amplitude_contrast=0.07)))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(RECIPE.diameter_A, n_rods=40)


@pytest.fixture(scope="module")
def simulated(phantom):
    return simulate_particles(phantom, RECIPE)


def background(recipe):
    axis_A = (np.arange(recipe.box) - recipe.box // 2) * recipe.pixel_size_A
    return axis_A**2 + axis_A[:, None] ** 2 > (recipe.diameter_A / 2) ** 2


def test_images_do_not_depend_on_the_batch(phantom, simulated):
    again = np.concatenate(list(simulate_batches(phantom, RECIPE, batch=17)))
    np.testing.assert_array_equal(again, simulated[0])


def test_images_of_a_smaller_set_begin_a_larger_one(phantom, simulated):
    small, truth = simulate_particles(phantom, replace(RECIPE, n=70))
    np.testing.assert_array_equal(small, simulated[0][:70])
    np.testing.assert_array_equal(truth.psi_deg, simulated[1].psi_deg[:70])


def test_images_change_with_the_seed(phantom, simulated):
    other, _ = simulate_particles(phantom, replace(RECIPE, n=4, seed=4))
    assert np.abs(np.corrcoef(other.ravel(), simulated[0][:4].ravel())[0, 1]) < 0.1


def test_angles_shifts_and_defocus_are_drawn_apart():
    truth = draw_truth(replace(RECIPE, n=400, views=None))
    radius_A = np.hypot(truth.origin_x_A, truth.origin_y_A)
    draws = {  # back to the uniform numbers behind each
        "rot": truth.rot_deg / 360 + 0.5,
        "tilt": (1 - np.cos(np.radians(truth.tilt_deg))) / 2,
        "psi": truth.psi_deg / 360 + 0.5,
        "shift": -np.expm1(-0.5 * (radius_A / RECIPE.shift_std_A) ** 2),
        "height": truth.height_A / RECIPE.ice_A + 0.5,
        "astigmatism": (truth.defocus_angle_deg / 180)[:: RECIPE.particles_per_micrograph],
    }
    every = np.sort(np.concatenate(list(draws.values())))
    assert np.diff(every).min() > 1e-9  # 2020 numbers; two that are equal come from one stream
    assert all(d.min() >= 0 and d.max() <= 1 for d in draws.values())


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_images_have_a_normalised_background(phantom, noise):
    images, _ = simulate_particles(phantom, replace(RECIPE, n=10, noise=noise))
    outside = images[:, background(RECIPE)].astype(float)
    np.testing.assert_allclose(outside.mean(axis=1), 0, atol=1e-5)  # float32 images
    np.testing.assert_allclose(outside.std(axis=1), 1, atol=1e-5)


def test_images_have_the_stated_snr(phantom):
    recipe = replace(RECIPE, n=400)
    images, truth = simulate_particles(phantom, recipe)
    clean = clean_images(phantom, truth, recipe) * signal_gain(phantom, truth, recipe)
    inside = ~background(recipe)
    slopes = np.einsum("np,np->n", images[:, inside], clean[:, inside]) / np.sum(clean[:, inside] ** 2, axis=1)
    # the regression of a noisy image on its clean self is 1 / (sd of its background), which is close to 1
    assert slopes.mean() == pytest.approx(1, abs=0.03)
    residual = images - slopes.mean() * clean
    snr = clean[:, inside].var(axis=1).mean() / residual[:, inside].var(axis=1).mean()
    assert snr == pytest.approx(recipe.snr, rel=0.15)  # 64 pilot images of four views set the gain


def test_coloured_noise_is_stronger_at_low_frequency(phantom):
    recipe = replace(RECIPE, n=60, snr=0.0, noise="coloured")
    power = np.mean(np.abs(scipy.fft.rfft2(simulate_particles(phantom, recipe)[0])) ** 2, axis=0)
    assert power[0, 1:3].mean() > 2.5 * power[0, -5:].mean()


def test_ctf_is_the_amplitude_contrast_at_the_origin():
    truth = draw_truth(RECIPE)
    ctf = ctf_images(truth, RECIPE.microscopes, 48, 4.0)
    np.testing.assert_allclose(ctf[:, 0, 0], np.where(truth.optics == 0, 0.1, 0.07), rtol=1e-12)


@pytest.mark.parametrize("angle_deg, along_x", [(0.0, 12000.0), (90.0, 20000.0), (180.0, 12000.0)])
def test_ctf_zero_lies_at_the_defocus_of_that_direction(angle_deg, along_x):
    # without Cs and amplitude contrast the first zero is at f^2 = 1 / (lambda defocus); U lies along the angle
    truth = replace(draw_truth(RECIPE)[:1], defocus_u_A=np.array([12000.0]), defocus_v_A=np.array([20000.0]),
                    defocus_angle_deg=np.array([angle_deg]))
    microscope = Microscope(Cs_mm=0.0, amplitude_contrast=0.0)
    box, pixel_A = 512, 4.0
    along = ctf_images(truth, (microscope,), box, pixel_A)[0, 0, :]
    first_zero = 1 + np.argmax(np.diff(np.sign(along[1:])) != 0)
    wavelength_A = 0.0196875  # 300 kV
    assert first_zero / (box * pixel_A) == pytest.approx(1 / np.sqrt(wavelength_A * along_x), abs=1 / (box * pixel_A))
    assert along[first_zero // 2] > 0


def test_astigmatism_between_the_axes_follows_the_angle():
    truth = replace(draw_truth(RECIPE)[:1], defocus_u_A=np.array([12000.0]), defocus_v_A=np.array([20000.0]),
                    defocus_angle_deg=np.array([45.0]))
    ctf = ctf_images(truth, (Microscope(),), 256, 4.0)[0]
    same = ctf_images(replace(truth, defocus_v_A=truth.defocus_u_A), (Microscope(),), 256, 4.0)[0]
    i = np.arange(1, 100)
    np.testing.assert_allclose(ctf[i, i], same[i, i], atol=1e-9)  # y = x is the axis of U
    assert np.abs(ctf[-i, i] - same[-i, i]).max() > 0.5


def test_averaging_with_the_truth_recovers_the_view(phantom):
    # undo shift and in-plane angle by the definitions in RELION's files, weight by the CTF, and average
    recipe = replace(RECIPE, n=200, views=1, view_jitter_deg=0.0)
    images, truth = simulate_particles(phantom, recipe)
    ctf = ctf_images(truth, recipe.microscopes, recipe.box, recipe.pixel_size_A)
    half = recipe.box // 2
    k = np.arange(-8, 9)
    kx, ky = np.meshgrid(k, k)
    grid = np.zeros(kx.shape, complex)
    sums, weights = grid.copy(), np.zeros(kx.shape)
    x = np.arange(recipe.box) - half
    for image, c, psi, sx, sy in zip(images, ctf, truth.psi_deg, truth.origin_x_A / 4, truth.origin_y_A / 4):
        # the image at (x, y) shows the reference at x row1 + y row2, so the reference's k is read at A k
        cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
        u, v = cos * kx + sin * ky, -sin * kx + cos * ky
        ex, ey = (np.exp(-2j * np.pi * np.multiply.outer(f.ravel() / recipe.box, x)) for f in (u, v))
        ft = np.einsum("py,yx,px->p", ey, image, ex, optimize=True).reshape(kx.shape)
        ft *= np.exp(-2j * np.pi * (u * sx + v * sy) / recipe.box)
        row, column = np.rint(v).astype(int), np.rint(u).astype(int)
        value = np.where(column < 0, c[-row, np.abs(column)], c[row, np.abs(column)])  # CTF(-k) = CTF(k)
        sums += value * ft
        weights += value**2
    rot, tilt = view_directions(1)
    view = phantom.project(euler_matrix(rot[0], tilt[0], 0.0), recipe.box, recipe.pixel_size_A)
    ex = np.exp(-2j * np.pi * np.outer(k / recipe.box, x))
    truth_ft = ex @ view @ ex.T
    average = sums / weights
    middle = (8, 8)
    average[middle] = truth_ft[middle] = 0
    correlation = np.real(np.vdot(average, truth_ft)) / np.linalg.norm(average) / np.linalg.norm(truth_ft)
    assert correlation > 0.97


def test_map_source_agrees_with_the_closed_form(phantom):
    truth = draw_truth(replace(RECIPE, n=12, views=None))
    rotations = euler_matrix(truth.rot_deg, truth.tilt_deg, truth.psi_deg)
    origins = np.stack([truth.origin_x_A, truth.origin_y_A], axis=1)
    expected = phantom.projections(rotations, origins, 48, 4.0)
    source = MapSource(phantom.volume(48, 4.0), 4.0, padding=3)
    error = np.linalg.norm(source.projections(rotations, origins, 48, 4.0) - expected) / np.linalg.norm(expected)
    assert error < 0.02  # linear interpolation, and the corners beyond the Nyquist circle that the map lacks


def test_map_source_resamples_to_another_pixel(phantom):
    source = MapSource(phantom.volume(96, 2.5), 2.5, padding=2)
    rotation = euler_matrix(30.0, 50.0, 70.0)
    expected = phantom.project(rotation, 48, 4.0)
    image = source.projections(rotation[None], np.zeros((1, 2)), 48, 4.0)[0]
    assert np.linalg.norm(image - expected) / np.linalg.norm(expected) < 0.03  # twofold oversampling


def test_view_directions_are_no_mirror_images_of_each_other():
    rot, tilt = view_directions(12)
    axis = euler_matrix(rot, tilt, 0.0)[:, 2]
    cosine = np.abs(axis @ axis.T)[~np.eye(12, dtype=bool)]
    assert np.degrees(np.arccos(cosine.max())) > 15


@pytest.mark.parametrize("change, text", [
    ({"box": 47}, "box is 47"), ({"snr": -1.0}, "SNR is -1"), ({"noise": "pink"}, "noise is 'pink'"),
    ({"n": 0}, "n is 0"), ({"particle_diameter_A": 500.0}, "choose a larger box"), ({"views": 0}, "views is 0"),
])
def test_recipe_refuses(change, text):
    with pytest.raises(InputError, match=text):
        draw_truth(replace(RECIPE, **change))


def test_map_off_the_centre_is_refused():
    volume = np.zeros((32, 32, 32), np.float32)
    with pytest.raises(InputError, match="projections are empty"):
        next(simulate_batches(MapSource(volume, 4.0), Recipe(n=2, box=32, pixel_size_A=4.0)))
