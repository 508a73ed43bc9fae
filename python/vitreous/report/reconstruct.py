"""The page of a reconstructed map: its sections, its halves' FSC and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.report.figures import curves
from vitreous.report.maps import option_table, section_cards
from vitreous.report.page import Page


def reconstruct_report(
    name: str,
    volume: np.ndarray,
    pixel_size_A: float,
    n_particles: int,
    symmetry: str,
    frequency_inv_A: np.ndarray,
    fsc: np.ndarray | None,
    resolution_A: float | None,
    options: Iterable[Sequence[Any]],
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    name : of the map's file
    volume : (box, box, box) float32
    frequency_inv_A, fsc : (n_shells,) of the two halves, unmasked; fsc None where there are none
    resolution_A : where the FSC falls below 0.143
    options : (name, value, unit, who chose it)
    """
    page = Page(f"Map {name}", f"{' x '.join(map(str, volume.shape[::-1]))} px of {pixel_size_A:g} Å")
    facts = [
        ("particles", f"{n_particles:,}"),
        ("symmetry", symmetry),
        ("finest possible detail", f"{2 * pixel_size_A:g} Å"),
    ]
    if resolution_A is not None:
        facts.append(("FSC of the halves 0.143 at", f"{resolution_A:.2f} Å"))
    page.facts(facts)
    page.section("Central sections", "White is dense. Streaks along one direction tell of views that are missing.")
    page.gallery(section_cards(volume, "map"), min_rem=14)
    if fsc is not None:
        page.section(
            "Fourier shell correlation", "Of the unfiltered halves, without a mask: a mask from mask-create raises it."
        )
        figure = curves(frequency_inv_A, [("FSC", {"halves": fsc})], "1 / Å")
        page.figures([(figure, "0.143 marks the resolution; noise alone stays near 0.")])
    option_table(page, options)
    return page.html()
