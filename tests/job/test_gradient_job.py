"""What the loop of a gradient-driven run does between the engine's parts: priors of directions."""

import numpy as np
import pytest

from vitreous.job import gradient


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
