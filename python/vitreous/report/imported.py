"""The page of an import: how many micrographs, their optics, and what their CTF is like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.report.charts import histogram
from vitreous.report.maps import option_table
from vitreous.report.page import Page

MOST_ROWS = 200
POOR_A = 10.0  # a fit that ends at a coarser resolution than this rarely gives useful particles


def report_html(result: Any, facts: Any, options: Iterable[Sequence[Any]]) -> str:
    """The page as HTML text.

    Parameters
    ----------
    result : with star, star_ctf, names and left_out
    facts : with table (or None), matched, optics, group
    options : (name, value, unit, who chose it)
    """
    page = Page("Import", str(result.star))
    numbers = [("micrographs", len(result.names)), ("left out", len(result.left_out))]
    columns = {}
    if facts.table is not None:
        at = facts.matched[facts.matched >= 0]
        columns = {label: column[at] for label, column in facts.table.columns.items()}
        numbers.append(("with CTF", len(at)))
        numbers.append(("median defocus", f"{np.median(columns['rlnDefocusU']) / 1e4:.2f} µm"))
    page.facts(numbers)
    page.section("Optics groups")
    labels = list(facts.optics)
    counts = np.bincount(facts.group, minlength=len(facts.optics["rlnOpticsGroup"]))
    rows = [[*(facts.optics[label][i] for label in labels), int(counts[i]) if i < len(counts) else 0]
            for i in range(len(facts.optics["rlnOpticsGroup"]))]  # fmt: skip
    page.table([*labels, "micrographs"], rows)
    if columns:
        _ctf(page, columns)
    if result.left_out:
        page.section("Left out")
        page.table(("micrograph", "why"), result.left_out[:MOST_ROWS])
    option_table(page, options)
    return page.html()


def _ctf(page: Page, columns: dict[str, np.ndarray]) -> None:
    page.section("CTF", "Astigmatism far above the others' and fits that end early are micrographs to look at.")
    figures = [(histogram(columns["rlnDefocusU"] / 1e4, "defocus, µm", "micrographs"), "Underfocus of each micrograph."),
               (histogram(np.abs(columns["rlnDefocusU"] - columns["rlnDefocusV"]), "astigmatism, Å",
                          "micrographs"), "|U - V|.")]  # fmt: skip
    if "rlnCtfMaxResolution" in columns:
        values = columns["rlnCtfMaxResolution"]
        n_poor = int((values > POOR_A).sum())
        figures.append((histogram(values, "fit to, Å", "micrographs"), f"Where the fit ends; {n_poor} beyond {POOR_A:g} Å."))
    page.figures(figures)
