"""RELION's list of directions is met in number and place, and weights carried to it keep what they say."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vitreous.model import healpix
from vitreous.model.relion_directions import carried, relion_directions, relion_pixels
from vitreous.model.symmetry import Symmetry, view_directions

# Lengths of the lists that RELION 3.1.3 wrote, from HEALPix order 0 on; None where it stops for want of a direction.
RELIONS = {
    "C1": (12, 48, 192, 768, 3072),
    "C3": (3, 14, 60, 248, 1003, 4086),
    "C7": (1, 5, 24, 106, 427),
    "D1": (None, 24, 96),
    "D2": (4, 12, 48, 192, 768, 3072, 12384),
    "D7": (1, 3, 13, 53, 218, 864),
    "T": (1, 3, 14, 59, 250),
    "O": (1, 1, 7, 32, 126),
    "I1": (1, 1, 3, 12, 49, None, 807),
    "I2": (0, 0, 2, 11, 48),
    "I3": (0, 0, 4, 12, 53),
    "I4": (0, 1, 2, 11, 48),
}


@pytest.mark.parametrize("name", RELIONS)
def test_relions_list_has_relions_length(be, name):
    orders = [order for order, n in enumerate(RELIONS[name]) if n is not None]
    found = [len(relion_pixels(be, order, Symmetry.parse(name))) for order in orders]
    assert found == [RELIONS[name][order] for order in orders]


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "D7", "O", "I1", "I4"])
def test_relions_list_reaches_every_view(be, name):
    """But for those near an axis of many mates, where its unit is narrower than a pixel; a whole grid's farthest is 0.8."""
    group, order = Symmetry.parse(name), 4
    listed = view_directions(*relion_directions(be, order, group).T)
    views = np.random.default_rng(1).normal(size=(500, 3))
    views /= np.linalg.norm(views, axis=1)[:, None]
    distance = cKDTree((listed @ group.rotations).reshape(-1, 3)).query(views)[0]
    assert np.degrees(np.quantile(distance, 0.98)) < 0.9 * healpix.step_deg(order)


@pytest.mark.parametrize("name", ["C3", "D7", "T", "I2"])
def test_carried_weights_follow_their_views(be, name):
    """A smooth distribution with the group's symmetry is the same in both lists; the classes keep their shares."""
    group = Symmetry.parse(name)
    axis = np.array([0.36, 0.48, 0.8])

    def distribution(directions_deg):
        along = (view_directions(*directions_deg.T) @ group.rotations) @ axis
        return 2 + np.sum(along**6, axis=0)

    ours = healpix.directions(be, 4)[group.asymmetric_unit(*healpix.directions(be, 4).T)]
    theirs = relion_directions(be, 4, group)
    weights = np.stack([distribution(ours), np.ones(len(ours))])
    weights *= np.array([[0.7], [0.3]]) / weights.sum(1, keepdims=True)
    found = carried(weights, ours, theirs, group)
    np.testing.assert_allclose(found.sum(1), [0.7, 0.3], rtol=1e-12)
    expected = 0.7 * distribution(theirs) / distribution(theirs).sum()
    # Directions of one list that the other lacks take their neighbour's weight, less than a step of 3.75 degrees away.
    np.testing.assert_allclose(found[0], expected, rtol=0.15)
    np.testing.assert_allclose(found[1], 0.3 / len(theirs), rtol=1e-12)


def test_carried_weights_of_an_empty_class_stay_zero(be):
    group = Symmetry.parse("D7")
    ours, theirs = healpix.directions(be, 2), relion_directions(be, 2, group)
    weights = np.stack([np.full(len(ours), 1 / len(ours)), np.zeros(len(ours))])
    found = carried(weights, ours, theirs, group)
    assert not found[1].any() and found[0].sum() == pytest.approx(1)
