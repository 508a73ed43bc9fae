"""Scores of class averages: what junk looks like, what must not matter, and what is not known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vitreous.engine.class_score import LIMITS, choose, look, part, scores, typical

BOX, PIXEL_A, DIAMETER_A = 48, 4.0, 150.0
Y, X = np.mgrid[:BOX, :BOX] - BOX // 2


def blob(dy=0.0, dx=0.0, radius_px=10.0):
    return 1 / (1 + np.exp(np.hypot(Y - dy, X - dx) - radius_px))


def noise(seed, spread=0.1):
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal((BOX, BOX)), 1.5)
    return spread * smooth / smooth.std()


GOOD = [blob() + noise(1), blob(radius_px=8) + noise(2), 0.8 * blob(1, -1) + noise(3)]
JUNK = {
    "body": 1 / (1 + np.exp(-X / 2.0)) + noise(5),  # an edge of carbon through the middle
    "contrast": 4 * blob() + noise(6),  # ice
    "centring": blob(12, 0) + noise(7),  # beside a particle
}


def scored(images, n=None, resolution_A=None, accuracies=()):
    n = np.full(len(images), 50) if n is None else n
    resolution_A = np.full(len(images), 12.0) if resolution_A is None else resolution_A
    return scores(look(np.array(images), PIXEL_A, DIAMETER_A), n, resolution_A, accuracies)


def test_scores_of_particles_are_high():
    assert (scored(GOOD)[0] > 0.85).all()


@pytest.mark.parametrize("kind", JUNK)
def test_scores_of_junk_are_low_and_the_part_says_why(kind):
    score, parts = scored([*GOOD, JUNK[kind]])
    assert score[-1] < 0.3 and (score[:-1] > 0.85).all()
    assert min(parts, key=lambda name: parts[name][-1]) in (kind, "body")
    assert parts[kind][-1] < 0.5


def test_scores_of_noise_are_low_beside_particles():
    score, parts = scored([*GOOD, noise(4)])
    assert score[-1] < 0.1 and parts["contrast"][-1] < 0.1


def test_scores_of_an_elongated_particle_that_reaches_the_rim_are_high():
    rod = 1 / (1 + np.exp(np.abs(X) - 5.0)) + noise(9)
    assert scored([*GOOD, rod])[0][-1] > 0.8


def test_scores_do_not_depend_on_grey_scale_direction_or_order():
    images = np.array([*GOOD, *JUNK.values()])
    n, resolution_A = np.arange(40, 46), np.linspace(10, 20, 6)
    score, _ = scored(images, n, resolution_A)
    odd = images[:, 1:, 1:]  # the centre of an odd box is a pixel, so that a quarter turn is exact
    straight, _ = scored(odd, n, resolution_A)
    np.testing.assert_allclose(scored(7.5 * images + 3, n, resolution_A)[0], score, rtol=1e-9)
    np.testing.assert_allclose(scored(np.rot90(odd, axes=(1, 2)), n, resolution_A)[0], straight, rtol=1e-9)
    order = np.array([3, 1, 5, 0, 2, 4])
    np.testing.assert_allclose(scored(images[order], n[order], resolution_A[order])[0], score[order], rtol=1e-12)


def test_scores_fall_with_resolution_accuracy_and_size():
    images = [GOOD[0]] * 6
    for kwargs in (
        {"resolution_A": np.array([12.0, 12, 12, 12, 16, 30])},
        {"accuracies": [np.array([2.0, 2, 2, 2, 4, 9]), np.array([1.0, 1, 1, 1, 2, 9])]},
        {"n": np.array([80, 80, 80, 80, 20, 2])},
    ):
        score, _ = scored(images, **kwargs)
        assert score[0] > score[4] > score[5], kwargs


def test_scores_of_what_is_not_known_are_those_without_it():
    score, parts = scored(GOOD, accuracies=[np.array([2.0, 999.0, np.nan])], resolution_A=np.array([12.0, 999.0, np.nan]))
    assert parts["accuracy"][1] == parts["accuracy"][2] == parts["resolution"][1] == parts["resolution"][2] == 1
    assert np.isfinite(score).all()


def test_scores_of_empty_classes_and_of_nothing_but_them_are_zero():
    score, _ = scored([*GOOD, np.zeros((BOX, BOX))], n=np.array([50, 50, 50, 0]))
    assert score[-1] == 0 and (score[:-1] > 0.85).all()
    assert not scored([np.zeros((BOX, BOX))] * 2, n=np.zeros(2, int))[0].any()
    assert scored([np.full((BOX, BOX), np.nan)], n=np.array([3]))[0] == 0


def test_look_keeps_a_circle_larger_than_the_image_inside_it():
    looks = look(np.array(GOOD), PIXEL_A, np.inf)
    assert np.isfinite(looks.body).all() and (looks.body > 1).all()


@pytest.mark.parametrize("name", LIMITS)
def test_part_is_a_half_at_the_limit_and_grows(name):
    limit = LIMITS[name]
    values = part(limit, np.array([-1.0, 0.0, 0.5 * limit.half, limit.half, 2 * limit.half, np.inf]))
    assert values[0] == values[1] == limit.least and values[-1] == 1
    assert values[3] == pytest.approx(limit.least + 0.5 * (1 - limit.least))
    assert (np.diff(values[1:]) > 0).all()


def test_typical_is_the_weighted_median():
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal(30), rng.integers(1, 9, 30)
    spread = np.sort(np.repeat(values, weights))
    assert typical(values, weights.astype(float)) == spread[(len(spread) - 1) // 2]
    assert np.isnan(typical(values, np.zeros(30)))


def test_choose_fills_up_best_first_and_leaves_empty_classes():
    score, n = np.array([0.9, 0.2, 0.4, 0.0, 0.6]), np.array([10, 50, 20, 0, 5])
    assert choose(score, n, 0.5).tolist() == [True, False, False, False, True]
    assert choose(score, n, 0.5, n_least_particles=30).tolist() == [True, False, True, False, True]
    assert choose(score, n, 0.5, n_least_classes=4).tolist() == [True, True, True, False, True]
    assert choose(score, n, 0.5, n_least_classes=99).tolist() == [True, True, True, False, True]
