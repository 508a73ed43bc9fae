import numpy as np
import pytest

from vitreous.model.masks import soft_circle


def test_soft_circle_is_one_inside_zero_outside_half_in_the_middle_of_the_edge():
    mask = soft_circle(64, 20, 6)
    assert mask.dtype == np.float32 and mask.shape == (64, 64)
    assert mask[32, 32 - 20] == 1 and mask[32 + 20, 32] == 1
    assert mask[32, 32 + 23] == pytest.approx(0.5) and mask[32, 32 + 26] == 0
    assert mask[0, 0] == 0


def test_soft_circle_is_symmetric_about_its_centre_pixel():
    mask = soft_circle(32, 8.5, 4)
    np.testing.assert_array_equal(mask, mask.T)
    np.testing.assert_array_equal(mask[1:, 1:], mask[:0:-1, :0:-1])
    np.testing.assert_array_equal(soft_circle(33, 8, 4), soft_circle(33, 8, 4)[::-1])


def test_soft_circle_falls_monotonically():
    row = soft_circle(64, 10, 8)[32, 32:]
    assert (np.diff(row) <= 0).all() and len(np.unique(row)) > 6


def test_soft_circle_limits():
    assert (soft_circle(16, 100) == 1).all()
    hard = soft_circle(16, 5, 0)
    assert set(np.unique(hard)) == {0, 1} and hard[8, 13] == 1 and hard[8, 14] == 0
    with pytest.raises(ValueError, match="radius is nan px"):
        soft_circle(16, float("nan"))
