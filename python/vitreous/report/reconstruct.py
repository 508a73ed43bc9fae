"""The page of a reconstructed map: its sections, its halves' FSC and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.report.figures import curves
from vitreous.report.maps import option_table, section_cards
from vitreous.report.page import Page, card, image_tag

BAR_A = 50.0


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


def project_report(
    name: str, images: np.ndarray, n_images: int, pixel_size_A: float, options: Iterable[Sequence[Any]]
) -> str:
    """The page of projections as HTML text.

    Parameters
    ----------
    name : of the stack's file
    images : (n, box, box) the first of them
    n_images : number of all
    options : (name, value, unit, who chose it)
    """
    box = images.shape[-1]
    page = Page(f"Projections {name}", f"{n_images:,} images of {box} px, {pixel_size_A:g} Å per pixel")
    page.section("The first projections")
    bar = min(BAR_A / (box * pixel_size_A), 0.9)
    page.gallery([card([image_tag(image, f"projection {i}", bar)], [str(i)]) for i, image in enumerate(images, 1)])
    page.text(f"The bar is {min(BAR_A, 0.9 * box * pixel_size_A):g} Å long.")
    option_table(page, options)
    return page.html()
