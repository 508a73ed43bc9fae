"""What the loop of a gradient-driven run does between the engine's parts: who is in which half, and priors of directions."""

from types import SimpleNamespace

import numpy as np
import pytest

from vitreous.engine.schedule_gradient import GradientOptions
from vitreous.job import gradient

SETTINGS = SimpleNamespace(random_seed=3)


def state(n=400, iteration=1, n_classes=1):
    particles = SimpleNamespace(row=np.arange(n))
    usable = np.ones(n, bool)
    usable[7] = False
    model = SimpleNamespace(n_classes=n_classes)
    return SimpleNamespace(dataset=SimpleNamespace(particles=particles, usable=usable), models=[model],
                           progress=SimpleNamespace(iteration=iteration))  # fmt: skip


def test_mini_batch_is_split_by_parity_and_leaves_out_what_cannot_be_used():
    even, odd = gradient.particles_of(state(), SETTINGS, GradientOptions())
    assert (even % 2 == 0).all() and (odd % 2 == 1).all() and 7 not in odd
    assert len(even) + len(odd) == 200 and abs(len(even) - len(odd)) < 60
    other = np.concatenate(gradient.particles_of(state(iteration=2), SETTINGS, GradientOptions()))
    assert len(set(other) & {*even, *odd}) < 150  # drawn afresh: half of them on average


def test_last_mini_batch_of_several_classes_is_everything():
    parts = gradient.particles_of(state(iteration=200, n_classes=2), SETTINGS, GradientOptions(first_subset=10, last_subset=10))
    assert sum(map(len, parts)) == 399


def test_directions_are_averaged_where_the_grid_is_the_same():
    found = np.array([[2.0, 0.0], [0.0, 2.0]])
    known = np.full((2, 2), 0.25)
    np.testing.assert_allclose(gradient.averaged_directions(found, [known], 0.9), 0.9 * known + 0.1 * found / 4)
    np.testing.assert_allclose(gradient.averaged_directions(found, [np.ones((2, 3)) / 6], 0.9), found / 4)
    np.testing.assert_allclose(gradient.averaged_directions(found, [None], 0.9), 0.9 * known + 0.1 * found / 4)
    np.testing.assert_allclose(gradient.averaged_directions(found, [known], 0.0), found / 4)
    assert gradient.averaged_directions(np.zeros((2, 2)), [known], 0.9) is known


def test_copied_class_has_the_prior_of_the_best():
    weights = np.array([[0.6, 0.38], [0.01, 0.01]])
    found = gradient.shared_directions(weights, np.array([0.5, 0.5]), 1, 0)
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_allclose(found.sum(1), 0.5)
    assert found[0, 0] / found[0, 1] == pytest.approx(0.6 / 0.38)
    assert gradient.shared_directions(None, np.array([0.5, 0.5]), 1, 0) is None
