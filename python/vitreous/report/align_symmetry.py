"""The page of a map that was turned for its symmetry: before and after, and how sure the axes are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.engine.align_symmetry import Alignment
from vitreous.engine.symmetry_detection import Detection
from vitreous.model.rotation import matrix_to_euler
from vitreous.report.maps import option_table, section_cards
from vitreous.report.page import Page


def align_symmetry_report(
    name: str,
    before: np.ndarray,
    after: np.ndarray,
    pixel_size_A: float,
    symmetry: str,
    alignment: Alignment | None,
    detection: Detection | None,
    verdict: str,
    averaged: bool,
    options: Iterable[Sequence[Any]],
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    name : of the map's file
    before, after : (n, n, n) float32
    alignment : None for C1
    detection, verdict : of --detect and in a sentence; None and empty without
    averaged : the map was averaged over the group
    options : (name, value, unit, who chose it)
    """
    page = Page(f"Symmetry {symmetry}: {name}", f"{' x '.join(map(str, after.shape[::-1]))} px of {pixel_size_A:g} Å")
    facts: list[tuple[str, Any]] = [("symmetry", symmetry)]
    if alignment is not None:
        facts += [
            ("score; 1 is perfect", round(alignment.score, 3)),
            ("of any orientation", f"{alignment.random_mean:.2f} ± {alignment.random_sd:.2f}"),
            ("best orientation elsewhere", round(alignment.rival, 3)),
            ("weakest copy", round(alignment.weakest, 3)),
            ("detail compared", f"{alignment.limit_A:.3g} Å"),
        ]
    page.facts(facts)
    if detection is not None:
        _groups(page, detection, verdict)
    page.section("Central sections", "After the turn the main axis is seen along z, and sections across it show it.")
    page.gallery(section_cards(before, "before"), min_rem=14)
    page.gallery(section_cards(after, "after, averaged" if averaged else "after"), min_rem=14)
    if alignment is not None:
        rot, tilt, psi = matrix_to_euler(alignment.rotation)
        page.section("The turn", "A point x of the map comes to Q (x + shift); Q has these angles.")
        x, y, z = alignment.shift_A
        page.table(
            ("", "", "", "", "unit"),
            [("rot, tilt, psi", *(f"{v:.2f}" for v in (rot, tilt, psi)), "deg"),
             ("shift x, y, z", *(f"{v:.2f}" for v in (x, y, z)), "Å")],
        )  # fmt: skip
    option_table(page, options)
    return page.html()


def _groups(page: Page, detection: Detection, verdict: str) -> None:
    page.section("Which symmetry", verdict)
    page.text(
        "Score: mean correlation of the map with its copies, without its spherical average. Weakest copy: that of the "
        "copies about the kind of axes that agrees least, of what is not alike all around the axis, nor in the ellipsoid "
        "that every body has. A group is supported where its weakest copy agrees about as well as those of its subgroups; "
        "groups whose axes are not there are not listed."
    )
    page.table(
        ("group", "supported", "weakest copy", "score", "any orientation", "±"),
        [(row.name, "yes" if row.supported else "no", *(f"{v:.2f}" for v in (
            row.alignment.weakest, row.alignment.score, row.alignment.random_mean, row.alignment.random_sd)))
         for row in detection.candidates],
        chosen=[row.name == detection.symmetry for row in detection.candidates],
    )  # fmt: skip
