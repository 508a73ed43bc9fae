"""The page of a selection shows every class once, on the right side, and stays small; histograms show every count."""

import re

import numpy as np

from vitreous.report import select as report

ROWS = [("classes", "1,3", "", "user")]


def test_counts_figure_holds_every_count_between_its_edges():
    figure = report.counts_figure([0, 1, 2], [5, 1, 2, 7], "x", "y")
    step = figure.axes[0].patches[0].get_data()
    np.testing.assert_array_equal(step.values, [5, 1, 2, 7])
    np.testing.assert_array_equal(step.edges, [-1, 0, 1, 2, 3])
    assert report.eps(figure).startswith(b"%!PS-Adobe")


def test_select_report_parts_chosen_classes_from_the_others():
    images = np.random.default_rng(0).normal(size=(4, 16, 16))
    chosen, counts = np.array([True, False, True, False]), np.array([10, 80, 30, 0])
    html = report.select_report(
        "particles", 120, [("in 2 of 4 classes", 40)], ROWS, images, np.arange(1, 5), counts, chosen, 4.0
    )
    taken, left = html.split("Selected classes: 2")[-1].split("Classes left out: 2")  # the first is in the contents
    assert re.findall(r"<b>(\d+)</b>", taken) == ["3", "1"]  # largest first
    assert re.findall(r"<b>(\d+)</b>", left) == ["2", "4"]
    assert "33.3 %" in html and "120" in html


def test_select_report_stays_small_with_many_classes():
    images = np.random.default_rng(0).normal(size=(1000, 64, 64))
    chosen = np.arange(1000) % 2 == 0
    html = report.select_report(
        "particles", 10**6, [("all", 500_000)], ROWS, images, np.arange(1000), np.ones(1000), chosen, 4.0
    )
    assert len(html) < 5e6 and html.count("data:image/png") == 2 * report.MOST_CLASSES


def test_picks_report_counts_all():
    html = report.picks_report({"a.mrc": 10, "b.mrc": 0, "c.mrc": 32}, ROWS)
    assert "42" in html and "2 micrographs" in html and "b.mrc" in html and "<svg" in html
    assert "1 micrographs" in report.picks_report({"a.mrc": 10}, ROWS)
