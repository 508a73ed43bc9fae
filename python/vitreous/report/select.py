"""Figures and the page of a selection: which classes, how many particles, and how they differ from the rest."""

from __future__ import annotations

import io

import numpy as np

from vitreous.engine.select import histogram
from vitreous.report.figures import ACCENT, STYLE, styled
from vitreous.report.maps import option_table
from vitreous.report.page import Page, card, image_tag

MOST_MICROGRAPHS = 500  # in a table
WORTH_A_WORD = 0.9  # a part of a score below this is named
MOST_CLASSES = 200  # shown of each kind, to keep the page small


def counts_figure(edges, heights, x_label: str, y_label: str):
    """Bars of a histogram, with what lies below and above the bins at its ends.

    Parameters
    ----------
    edges : (n + 1,) float64
    heights : (n + 2,)                      below, in each bin, from the last edge on
    """
    edges, heights = np.asarray(edges, float), np.asarray(heights, float)
    width = edges[1] - edges[0]
    with styled() as (figure, axes):
        # One outline, as thousands of bars would take seconds.
        axes[0].stairs(heights, np.r_[edges[0] - width, edges, edges[-1] + width], fill=True, color=ACCENT)
        axes[0].set(title=y_label, xlabel=x_label)
        axes[0].set_ylim(bottom=0)
    return figure


def eps(figure) -> bytes:
    """A figure as encapsulated PostScript."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="eps")
    return buffer.getvalue()


def select_report(
    kind, n_before, steps, options, images=None, numbers=None, counts=None, chosen=None, pixel_A=0.0, scores=None
) -> str:
    """The page of a selection as HTML text.

    Parameters
    ----------
    kind : particles or micrographs
    n_before : rows of the input
    steps : (what was done, rows left)
    options : (name, value, unit, who chose it)
    images : (n_classes, ny, nx) float      class averages, or None
    numbers : (n_classes,) int
    counts : (n_classes,) int               particles of each class
    chosen : (n_classes,) bool
    pixel_A : of the averages, for their scale bar
    scores : their ``score`` (n_classes,) and its ``parts``, or None
    """
    left = steps[-1][1] if steps else n_before
    page = Page("Selection", f"{left:,} of {n_before:,} {kind}")
    page.facts([(f"{kind} before", f"{n_before:,}"), (f"{kind} selected", f"{left:,}"),
                ("share", f"{100 * left / max(n_before, 1):.1f} %")])  # fmt: skip
    page.section("Steps")
    page.table(("step", f"{kind} left"), [("input", n_before), *steps])
    if images is not None:
        class_galleries(page, images, numbers, counts, np.asarray(chosen), pixel_A, scores)
    if scores is not None:
        score_table(page, numbers, counts, chosen, scores)
    option_table(page, options)
    return page.html()


def class_galleries(page: Page, images, numbers, counts, chosen, pixel_A: float, scores) -> None:
    """The classes that were taken, then those left out: best score first, or largest where there are no scores."""
    share = np.asarray(counts) / max(np.sum(counts), 1)
    bar = 100.0 / (images.shape[2] * pixel_A) if pixel_A > 0 else 0.0  # 100 A
    rank = np.asarray(counts if scores is None else scores.score, float)
    order = "Largest first" if scores is None else "Best score first; the word names the part that lowers a score most"
    text = order + ("; the white bar is 100 Å." if bar else ".")
    for title, which in (("Selected classes", chosen), ("Classes left out", ~chosen)):
        rows = sorted(np.flatnonzero(which), key=lambda k: -rank[k])[:MOST_CLASSES]
        if len(rows):
            page.section(f"{title}: {int(np.sum(which))}", text)
            page.gallery(
                card([image_tag(images[k], f"class {numbers[k]}", bar if bar < 1 else 0.0)],
                     [f"<b>{numbers[k]}</b> {counts[k]:,}", *([] if scores is None else [score_words(scores, k, counts)])],
                     float(share[k]), not chosen[k])
                for k in rows
            )  # fmt: skip


def score_words(scores, k: int, counts) -> str:
    """The score of class k and what lowers it most, as 0.31 body."""
    if not counts[k]:
        return "empty"
    worst = min(scores.parts, key=lambda name: scores.parts[name][k])
    return f"{scores.score[k]:.2f} {worst}" if scores.parts[worst][k] < WORTH_A_WORD else f"{scores.score[k]:.2f}"


def score_table(page: Page, numbers, counts, chosen, scores) -> None:
    """Every class with its score and the parts that it is the product of, best first, the chosen ones in bold."""
    page.section("Scores", "A score is the product of its parts; each is between 0 and 1. Chosen classes are in bold.")
    rows = [k for k in np.argsort(-scores.score, kind="stable") if counts[k]]
    page.table(
        ("class", "particles", "chosen", "score", *scores.parts),
        [(int(numbers[k]), int(counts[k]), "yes" if chosen[k] else "", f"{scores.score[k]:.2f}",
          *(f"{of_class[k]:.2f}" for of_class in scores.parts.values())) for k in rows],
        chosen=[bool(chosen[k]) for k in rows],
    )  # fmt: skip


def picks_report(counts, options) -> str:
    """The page of imported picks as HTML text.

    Parameters
    ----------
    counts : micrograph -> number of picks
    options : (name, value, unit, who chose it)
    """
    values = np.array(list(counts.values()), float)
    page = Page("Picks", f"{int(values.sum()):,} in {int((values > 0).sum()):,} micrographs")
    page.facts([("picks", f"{int(values.sum()):,}"), ("micrographs", f"{len(values):,}"),
                ("median of a micrograph", f"{np.median(values):g}")])  # fmt: skip
    if len(values) > 1:
        page.section("Picks of each micrograph")
        edges, heights = histogram(values, None, None, None)
        figure = counts_figure(edges, heights, "picks of a micrograph", "micrographs")
        page.figures([(figure, "A far lower or higher number deserves a look.")])
    page.section("Micrographs")
    page.table(("micrograph", "picks"), list(counts.items())[:MOST_MICROGRAPHS])
    option_table(page, options)
    return page.html()
