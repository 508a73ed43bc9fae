"""Drawings without a plotting library: their bars, ticks and what they say about nothing."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from vitreous.report import charts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (-0.31, 0.24, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]), (98, 251, [100, 150, 200, 250])],
)
def test_ticks_are_round_numbers_within(low, high, expected):
    np.testing.assert_allclose(charts.ticks(low, high), expected, atol=1e-12)


def test_ticks_of_counts_are_whole_and_begin_with_0():
    assert charts.ticks(1, 3, whole=True).tolist() == [1, 2, 3]
    assert charts.text_of(charts.ticks(0, 1.05, 4, whole=True)) == ["0", "1"]


def test_numbers_have_the_digits_that_their_steps_need():
    assert charts.text_of(np.array([0, 0.05, 0.1])) == ["0.00", "0.05", "0.10"]
    assert charts.text_of(np.array([0, 5000.0])) == ["0", "5,000"]
    assert charts.text_of(np.array([0, 2e7])) == ["0", "2e+07"]


def heights(svg):
    """Of the bars, in units of the largest."""
    path = re.search(r'd="M[\d.]+ ([\d.]+)((?:V[\d.]+H[\d.]+)+)V', svg)
    tops = np.array(re.findall(r"V([\d.]+)H", path[2]), float)
    return (float(path[1]) - tops) / (float(path[1]) - tops.min())


def test_histogram_draws_its_counts():
    values = np.repeat([0.5, 1.5, 2.5, 3.5], [10, 40, 20, 40])
    found = heights(charts.histogram(values, "label", n_bins=3))
    assert sorted(found[found > 0].round(2)) == [0.25, 0.5, 1, 1]


@pytest.mark.parametrize("values", [[], [np.nan], [2.0], [3.0] * 50, np.zeros(4)])
def test_charts_of_little_are_drawings(values):
    for svg in (charts.histogram(values, "a < b", "n"), charts.series(np.nan_to_num(values), "picks", "micrograph")):
        assert "nan" not in svg and "inf" not in svg
        ElementTree.fromstring(svg)


def test_series_is_in_its_order():
    points = re.search(r'points="([^"]+)"', charts.series([1, 3, 2], "picks", "micrograph"))[1]
    y = [float(p.split(",")[1]) for p in points.split()]
    assert y[1] < y[2] < y[0]  # larger is higher


@pytest.mark.parametrize("report", ["autopick", "extract"])
def test_reports_of_short_programs_load_no_plotting_library(report):
    test = f"import sys, test_{report}_report as t; t.page({'[t.outcome(40)] * 2' if report == 'extract' else ''})"
    code = f"{test}; sys.exit(any(m.startswith(('matplotlib', 'scipy')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False).returncode == 0
