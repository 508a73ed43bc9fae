"""Maps turned about a point and averaged over a group."""

import numpy as np
import pytest
from volume_phantom import Blobs, random_rotations

from vitreous.engine.turn_map import permuted, turned
from vitreous.model.symmetry import Symmetry


def test_turning_by_nothing_changes_nothing():
    volume = np.random.default_rng(1).normal(size=(16,) * 3).astype(np.float32)
    np.testing.assert_allclose(turned(volume, np.eye(3), (0, 0, 0)), volume, atol=1e-5)
    np.testing.assert_allclose(turned(volume, np.eye(3), (0, 0, 0), order=0), volume, atol=1e-6)


def test_a_turned_map_is_that_of_turned_places():
    blobs, turn, shift = Blobs(reach_px=8), random_rotations(1, 4)[0], np.array([1.5, -2.0, 0.25])
    volume = blobs.volume(40)
    blobs.places = (blobs.places + shift) @ turn.T
    truth = blobs.volume(40)
    for n_threads in (1, 3):
        np.testing.assert_allclose(turned(volume, turn, shift, n_threads=n_threads), truth, atol=0.01 * truth.max())


def test_the_level_of_the_solvent_stays():
    made = turned(np.full((12,) * 3, 7.0, np.float32), random_rotations(1, 4)[0], (3, 0, 0), Symmetry("D3"))
    np.testing.assert_allclose(made, 7.0, atol=1e-5)


def test_permutations_are_rotations_of_the_lattice():
    volume = np.random.default_rng(2).normal(size=(5,) * 3)
    x = np.indices((5,) * 3).reshape(3, -1)[::-1] - 2
    for rotation in Symmetry("O").rotations:
        z, y, x_there = np.rint(rotation @ x).astype(int)[::-1] + 2
        np.testing.assert_array_equal(permuted(volume, rotation).ravel(), volume[z, y, x_there])


@pytest.mark.parametrize("name", ["C3", "D2", "D7", "T", "O", "I2", "I3"])
def test_the_average_is_the_mean_of_all_copies(name):
    group, turn = Symmetry(name), random_rotations(1, 5)[0]
    volume = Blobs(reach_px=8, seed=3).volume(27)
    slow = np.mean([turned(volume, r.T @ turn, (1, 0, 0.5)) for r in group.rotations], axis=0)
    np.testing.assert_allclose(turned(volume, turn, (1, 0, 0.5), group), slow, atol=1e-5)
