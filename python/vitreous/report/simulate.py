"""The page of a simulation: what was made, and what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitreous.report.autopick import Shown, picture
from vitreous.report.maps import option_table, section_cards
from vitreous.report.page import Page, card, image_tag

MOST_SECTIONS = 4  # states whose sections are shown


@dataclass(frozen=True)
class Summary:
    """What was made.

    Attributes
    ----------
    what : e.g. "10 micrographs"
    facts : (what, value) for the top
    cards : from ``particle_cards`` or ``micrograph_cards``
    card_rem : least width of a card
    """

    what: str
    facts: Sequence[tuple[str, Any]]
    cards: Sequence[str]
    card_rem: float = 0


def simulate_report(made: Summary, maps: Sequence[np.ndarray], options: Iterable[Sequence[Any]]) -> str:
    """The page as HTML text.

    Parameters
    ----------
    maps : the true map of each state
    options : (name, value, unit, who chose it)
    """
    page = Page("Simulation", made.what)
    page.facts(made.facts)
    page.section("The first ones")
    page.gallery(made.cards, min_rem=made.card_rem)
    page.section("The truth", "Central sections of what is shown; white is dense.")
    for i, volume in enumerate(maps[:MOST_SECTIONS], 1):
        page.gallery(section_cards(volume, "map" if len(maps) == 1 else f"state {i}"), min_rem=11)
    option_table(page, options)
    return page.html()


def particle_cards(images: np.ndarray) -> list[str]:
    """Cards of the first particles."""
    return [card([image_tag(image, f"particle {i}")], [str(i)]) for i, image in enumerate(images, 1)]


def micrograph_cards(shown: Iterable[Shown]) -> list[str]:
    """Cards of micrographs with their true particles."""
    return [picture(one, (-1.0, 0.0)) for one in shown]
