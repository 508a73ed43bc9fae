"""The page of the demo: each class beside the true view that it shows, and how far the particles are from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vitreous.engine.judge import Score
from vitreous.report.page import Page, card, image_tag

BAR_A = 50.0


def headline(score: Score, n_views: int) -> list[tuple[str, str]]:
    """The figures that say how well it went: (what it is, value)."""
    fit = np.array([c.correlation for c in score.classes])
    weight = np.array([c.share for c in score.classes])
    return [
        ("true views found", f"{score.n_views_found} of {n_views}"),
        ("particles in a class of their own view", f"{100 * score.purity:.1f} %"),
        ("mean correlation of a class with its view", f"{fit @ weight / weight.sum():.3f}" if len(fit) else "–"),
        ("median error of the in-plane angle", _with_unit(score.angle_error_deg, "°")),
        ("median error of the origin", _with_unit(score.shift_error_A, " Å")),
    ]


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.1f}{unit}" if np.isfinite(value) else "–"


def class_rows(score: Score) -> list[tuple]:
    """One row per occupied class, largest first, under CLASS_HEAD."""
    return [
        (c.class_number, round(100 * c.share, 1), c.n_particles, c.view + 1, round(c.correlation, 3),
         round(100 * c.purity, 1))
        for c in score.classes
    ]  # fmt: skip


CLASS_HEAD = ("class", "share %", "particles", "nearest view", "correlation", "of one view %")


def demo_report(
    score: Score, averages: np.ndarray, n_views: int, pixel_size_A: float, made_with: Mapping[str, Any]
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    score : of the classification
    averages : (K, box, box) class averages
    n_views : number of true views
    pixel_size_A : of the averages
    made_with : name -> value, for the last table
    """
    page = Page("The demo's classes and the truth", "Simulated particles, so the answer is known")
    page.facts(headline(score, n_views))
    bar = BAR_A / (averages.shape[-1] * pixel_size_A)
    cards = []
    for one, true_view in zip(score.classes, score.matched):
        pictures = [
            image_tag(averages[one.class_number - 1], f"class {one.class_number}", bar),
            image_tag(true_view, f"true view {one.view + 1}", bar),
        ]
        cards.append(card(pictures, [
            f"<b>{100 * one.share:.1f} %</b> class {one.class_number} | view {one.view + 1}",
            f"correlation {one.correlation:.3f}, {100 * one.purity:.0f} % of one view",
        ], one.share / score.classes[0].share))  # fmt: skip
    page.section(
        "Classes and true views",
        "Left the class average, right the true projection that it resembles most, "
        "turned and shifted onto it and low-passed to its resolution. The white bar is "
        f"{BAR_A:g} Å. Two classes may share a view, and a class may hold several where views are alike.",
    )
    page.gallery(cards, min_rem=13)
    page.section("Figures")
    page.table(CLASS_HEAD, [[str(cell) for cell in row] for row in class_rows(score)])
    page.text(
        "A class average has no orientation of its own. Angles and origins are therefore compared among the "
        "particles of one class and one true view: there truth minus estimate is the same for all, and the scatter "
        "about it is the error."
    )
    page.table(("made with", ""), [(name, str(value)) for name, value in made_with.items()])
    return page.html()
