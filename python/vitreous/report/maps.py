"""Central sections of maps, and the page of a mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.report.page import Page, card, image_tag

VIEWS = (("z", 0), ("y", 1), ("x", 2))  # axis of the array that is cut


def central_sections(volume: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The sections through the centre of a map, perpendicular to z, y and x; of an image, the image itself."""
    return [(name, volume.take(volume.shape[axis] // 2, axis)) for name, axis in VIEWS if volume.shape[axis - 1] > 1
            and volume.shape[axis - 2] > 1]  # fmt: skip


def section_cards(volume: np.ndarray, what: str) -> list[str]:
    """Cards of the central sections, for ``Page.gallery``."""
    return [
        card([image_tag(image, f"{what}, section across {name}")], [f"{what}, across {name}"])
        for name, image in central_sections(volume)
    ]


def option_table(page: Page, rows: Iterable[Sequence[Any]]) -> None:
    """The section with options, versions and times: (name, value, unit, who chose it)."""
    page.section("How it was made")
    page.table(("option", "value", "unit", "chosen by"), [(r[0], str(r[1]), r[2], r[3]) for r in rows])


def mask_report(
    name: str,
    mask: np.ndarray,
    volume: np.ndarray | None,
    pixel_size_A: float,
    facts: Sequence[tuple[str, Any]],
    options: Iterable[Sequence[Any]],
) -> str:
    """The page of a mask as HTML text.

    Parameters
    ----------
    name : of the mask's file
    mask : (nz, ny, nx) float32
    volume : the map that it was made from, or None
    facts : (what, value) for the top
    options : (name, value, unit, who chose it)
    """
    page = Page(f"Mask {name}", f"{' x '.join(map(str, mask.shape[::-1]))} px of {pixel_size_A:g} Å")
    page.facts(facts)
    page.section("Central sections", "The mask should follow the molecule with some room, and its edge should be soft.")
    cards = section_cards(mask, "mask")
    if volume is not None:
        masked = volume * mask
        cards += section_cards(volume, "map") + section_cards(masked, "map times mask")
    page.gallery(cards, min_rem=11)
    option_table(page, options)
    return page.html()
