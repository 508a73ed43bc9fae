"""Places of particles in a micrograph, and what else is in it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vitreous.engine import simulate_scene
from vitreous.engine.simulate_scene import Scene, Surroundings, carbon, draw_surroundings, is_free, place, transmission
from vitreous.errors import InputError

SCENE = Scene((600, 800), 4.0, 150.0)
CLEAR = Surroundings(np.zeros(2), None, np.zeros((0, 4)), np.zeros((0, 2, 4)))


def generator(seed=1):
    return np.random.Generator(np.random.Philox(key=seed))


def nearest_A(places_A):
    return cKDTree(places_A).query(places_A, k=2)[0][:, 1]


def test_places_keep_their_distance():
    places = place(SCENE.most_particles, SCENE, CLEAR, generator())
    assert len(places) == SCENE.most_particles
    assert nearest_A(places).min() >= SCENE.distance_A
    assert (places >= 0).all() and (places <= SCENE.size_A).all()


def test_places_are_even_over_the_micrograph():
    places = np.concatenate([place(60, SCENE, CLEAR, generator(seed)) for seed in range(60)]) / SCENE.size_A
    counts = np.histogram2d(*places.T, bins=4)[0]
    # 3600 places in 16 cells: 225 each. They repel each other, so the spread is below the 15 of free ones
    assert np.abs(counts - 225).max() < 4 * 15


@pytest.mark.parametrize("overlaps", [0.0, 0.2, 0.5])
def test_a_share_of_the_particles_overlaps(overlaps):
    scene = replace(SCENE, overlaps=overlaps)
    places = place(80, scene, CLEAR, generator())
    near = nearest_A(places) < scene.distance_A
    n_overlapping = round(80 * overlaps)
    assert near[80 - n_overlapping :].all()  # each has a neighbour; that one counts as near, too
    assert nearest_A(places[: 80 - n_overlapping]).min() >= scene.distance_A
    assert nearest_A(places).min() > 0 or n_overlapping == 0


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_particles_find_a_place(n):
    assert len(place(n, replace(SCENE, overlaps=0.9), CLEAR, generator())) == n


def test_particles_stand_clear_of_carbon_and_contaminants():
    scene = replace(SCENE, carbon=1.0, contaminants=3.0, gradient=0.0)
    n_objects = 0
    for seed in range(12):
        rng = generator(seed)
        around = draw_surroundings(scene, rng)
        n_objects += len(around.contaminants)
        places = place(60, scene, around, rng)
        through = transmission(scene, around)
        x, y = np.floor(places / scene.pixel_size_A + 0.5).astype(int).T
        assert (through[y, x] == 1).all()
        # fewer particles by what is covered; the margins around the covered area count as covered
        assert len(places) <= np.rint(60 * (through == 1).mean())
    assert n_objects > 12


def test_carbon_lies_outside_of_its_hole():
    scene = replace(SCENE, carbon=1.0)
    for seed in range(10):
        around = draw_surroundings(scene, generator(seed))
        film = carbon(scene, around)
        assert 0.02 < film.mean() < 0.75
        x_A, y_A, radius_A = around.hole
        iy, ix = np.unravel_index(np.argmax(film), film.shape)
        assert np.hypot(ix * 4.0 - x_A, iy * 4.0 - y_A) > radius_A
        assert not is_free(np.array([[ix * 4.0, iy * 4.0]]), scene, around)[0]


def test_transmission_of_a_gradient_has_its_range():
    through = transmission(SCENE, replace(CLEAR, slope=np.array([0.2, 0.0])))
    np.testing.assert_allclose([through[:, 0], through[:, -1]], [[0.9] * 600, [1.1] * 600], rtol=1e-6)
    assert through.mean() == pytest.approx(1, abs=1e-6)


def test_a_contaminant_is_where_it_is_said_to_be():
    around = replace(CLEAR, contaminants=np.array([[1000.0, 400.0, 200.0, 0.7]]), outlines=np.zeros((1, 2, 4)))
    through = transmission(SCENE, around)
    assert through[100, 250] == pytest.approx(0.7) and through[100, 301] == 1 and through[151, 250] == 1
    dark = np.argwhere(through < 1)
    np.testing.assert_allclose(dark.mean(axis=0), [100, 250], atol=0.01)


def test_surroundings_have_the_stated_frequency():
    scene = replace(SCENE, carbon=0.3, contaminants=2.5)
    drawn = [draw_surroundings(scene, generator(seed)) for seed in range(400)]
    # four standard deviations of a mean of 400: of a share of 0.3, and of a Poisson number of 2.5
    assert np.mean([a.hole is not None for a in drawn]) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 400))
    assert np.mean([len(a.contaminants) for a in drawn]) == pytest.approx(2.5, abs=4 * np.sqrt(2.5 / 400))


def test_too_many_particles_are_refused():
    with pytest.raises(InputError, match=f"at most {SCENE.most_particles} that stand 150 A apart"):
        SCENE.check(SCENE.most_particles + 1)


def test_no_room_is_told(monkeypatch):
    monkeypatch.setattr(simulate_scene, "MOST_TRIALS", 1)
    with pytest.raises(InputError, match="found room for"):
        place(4 * SCENE.most_particles, SCENE, CLEAR, generator())
