"""Bins that follow a search grid, and plots of values that are not there."""

import numpy as np
import pytest

from vitreous.report import figures


@pytest.mark.parametrize("step, offset", [(6.0, 1.3), (5.625, 0.0), (2.8125, -1.0), (15.0, 4.0)])
def test_bins_hold_equally_many_points_of_a_grid(step, offset):
    grid = offset + step * np.arange(round(360 / step))
    values = np.repeat((grid + 180) % 360 - 180, 9)
    edges = figures.edges_on_grid(values, -180, 180, 36)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    assert counts.sum() == len(values)
    assert len(set(counts[1:-1])) == 1


def test_bins_of_continuous_values_are_as_asked():
    edges = figures.edges_on_grid(np.random.default_rng(1).normal(size=500), -2.0, 3.0, 20)
    np.testing.assert_allclose(edges, np.linspace(-2, 3, 21))


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [2.0], [2.0] * 50])
def test_histogram_of_little_is_drawn(values):
    figure = figures.histogram(values, "label")
    counted = sum(patch.get_height() for patch in figure.axes[0].patches)
    assert counted == np.isfinite(values).sum()


def test_curves_have_gaps_where_values_are_missing():
    figure = figures.curves([1, 2, 3], [("y", {"a": [1.0, None, 3.0]})], "x")
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]


def test_stack_adds_up_and_gathers_what_has_no_colour():
    shares = np.full((4, 20), 0.05)
    figure = figures.stacked_shares([1, 2, 3, 4], shares, [f"#{i}" for i in range(20)], "others", "iteration")
    assert len(figure.axes[0].collections) == len(figures.COLOURS) + 1
    assert "others" in [text.get_text() for text in figure.axes[0].texts]
