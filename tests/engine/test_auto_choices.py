"""Choices of an automatic run: what they promise of sizes, and where they turn."""

import numpy as np
import pytest

from vitreous.engine import auto_choices as choices
from vitreous.engine.map_score import body, clear_averages, particle_classes
from vitreous.engine.particle_size import diameter_of_averages, diameter_of_blobs
from vitreous.engine.phantom import make_phantom


@pytest.mark.parametrize("n", [17, 64, 75.2, 121, 337])
def test_fast_even_is_the_least_that_is_even_and_has_small_primes(n):
    size = choices.fast_even(n)
    assert size % 2 == 0 and size >= n and choices.is_fast(size)
    assert not any(m % 2 == 0 and choices.is_fast(m) for m in range(int(np.ceil(n)), size))


@pytest.mark.parametrize(("diameter_A", "pixel_A", "wanted_A"), [(165, 3.8, 4.5), (180, 0.885, 4.5), (300, 1.1, 2.6), (90, 1.5, 4.5)])
def test_extraction_has_room_for_the_particle_and_pixels_near_those_wanted(diameter_A, pixel_A, wanted_A):
    size, scale = choices.extraction(diameter_A, pixel_A, wanted_A)
    assert size.value % 2 == 0 and size.value * pixel_A >= 1.6 * diameter_A
    assert scale.value < size.value and scale.value % 2 == 0
    assert pixel_A * size.value / scale.value == pytest.approx(wanted_A, rel=0.05)  # sizes are even, which costs a few per cent


def test_extraction_never_enlarges():
    size, scale = choices.extraction(165, 3.8, 3.8)
    assert scale is None and choices.is_fast(size.value)


def test_mask_stays_inside_the_box():
    assert choices.mask_diameter(165, 290).value == 198
    assert choices.mask_diameter(165, 180).value == 166


def test_number_of_classes_grows_with_the_particles_within_limits():
    numbers = [choices.n_classes(n).value for n in (10, 200, 2000, 10**6)]
    assert numbers[0] == choices.FEWEST_CLASSES and numbers[-1] == choices.MOST_CLASSES and numbers == sorted(numbers)


def test_finer_pixels_pay_only_where_the_refinement_is_at_its_pixels_and_there_are_finer_ones():
    near = choices.finer_pixels(9.5, 4.5, 1.0)
    assert 1.0 <= near.value < 4.5 and 2 * near.value < 9.5
    assert choices.finer_pixels(9.5, 4.5, 3.5).value == 3.5  # the micrographs have no finer pixels
    assert choices.finer_pixels(20.0, 4.5, 1.0).value is None
    assert choices.finer_pixels(9.5, 4.5, None).value is None
    assert choices.finer_pixels(9.0, 4.5, 4.5).value is None


def test_few_particles_keep_a_first_map_from_fine_detail():
    many, few = (choices.details_of_first_map(200, n) for n in (5000, 125))
    assert many[1].value == 20 and few[1].value == 40  # the cube root of 8 times coarser
    assert many[0].value == 2 * many[1].value


def test_a_map_of_a_particle_stands_over_its_rim_and_one_of_a_carbon_edge_does_not():
    phantom = make_phantom(160.0).volume(32, 8.0)
    edge = np.zeros((32, 32, 32), np.float32)
    edge[:, :, :12] = -1
    noise = 0.1 * phantom.std() * np.random.default_rng(1).standard_normal(phantom.shape)
    bodies = [body(edge + noise, 8.0, 190), body(phantom + noise, 8.0, 190)]
    assert particle_classes(bodies, [0.5, 0.5]).value == [2]
    assert particle_classes([1.0, -2.0], [0.5, 0.5]).value == []
    assert particle_classes([9.0, 12.0, 5.0], [0.3, 0.3, 0.4]).value == [2, 1]
    assert particle_classes([12.0, 3.7, 5.4], [0.0, 0.1, 0.9]).value == [3]  # nothing made the first one


def test_templates_that_pick_much_more_than_the_good_blobs_are_not_trusted():
    assert not choices.trust_templates(474, 140).value
    assert choices.trust_templates(346, 327).value and choices.trust_templates(2978, 60).value  # too few blobs for a map


def test_a_b_factor_is_fitted_where_there_are_shells_beyond_10_A():
    assert choices.fits_b_factor(8.0, 250).value and not choices.fits_b_factor(9.5, 250).value
    assert not choices.fits_b_factor(8.0, 80).value and not choices.fits_b_factor(13.0, 250).value


def test_map_picks_again_where_it_shows_more_than_averages_and_is_kept_where_more_came_of_it():
    assert choices.shows_more_than_averages(13.2, 146).value and not choices.shows_more_than_averages(27.9, 152).value
    assert choices.clearly_more(168, 147).value and not choices.clearly_more(150, 147).value
    assert choices.enough_left(156, 161).value and not choices.enough_left(120, 161).value
    shells_A = [250.0 / k for k in (17, 18, 19, 20)]
    assert [choices.no_worse(168, 147, now, shells_A[2], 250.0) for now in shells_A] == [False, True, True, True]
    assert [choices.no_worse(156, 161, now, shells_A[2], 250.0) for now in shells_A] == [False, False, True, True]


def test_averages_of_noise_are_not_clear_beside_those_of_a_particle():
    particle = make_phantom(160.0).volume(32, 8.0).sum(0)
    noise = 0.05 * particle.std() * np.random.default_rng(1).standard_normal((3, 32, 32))
    images = np.array([particle + noise[0], 20 * noise[1], particle.T + noise[2]])
    assert clear_averages(images, 8.0, 190).tolist() == [True, False, True]
    assert clear_averages(images[1:2], 8.0, 190).tolist() == [True]  # the best there is


@pytest.mark.parametrize("diameter_A", [110.0, 180.0, 280.0])
def test_diameter_of_blobs_finds_that_of_discs_in_noise(diameter_A):
    rng, pixel_A, n = np.random.default_rng(3), 5.0, 512
    y, x = np.mgrid[:n, :n] * pixel_A
    picture, step = rng.standard_normal((n, n)).astype(np.float32), 1.6 * diameter_A
    for cy in np.arange(step / 2, n * pixel_A, step):
        for cx in np.arange(step / 2, n * pixel_A, step):
            jitter_y, jitter_x = rng.uniform(-0.25, 0.25, 2) * step
            picture[np.hypot(y - cy - jitter_y, x - cx - jitter_x) < diameter_A / 2] -= 0.7
    assert diameter_of_blobs([picture], pixel_A).value == pytest.approx(diameter_A, rel=0.2)  # class averages tell it better


def test_diameter_of_averages_is_the_extent_of_what_they_show():
    n, pixel_A = 64, 4.0
    y, x = (np.mgrid[:n, :n] - n // 2) * pixel_A
    averages = np.array([np.hypot(y - shift, x) < 80 for shift in (0, 8, -12)], np.float32)
    averages += 0.05 * np.random.default_rng(1).standard_normal(averages.shape)
    assert diameter_of_averages(averages, pixel_A).value == pytest.approx(160, abs=2 * pixel_A)
