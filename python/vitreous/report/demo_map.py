"""The page of the demo's run to a map: the map beside the truth, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitreous.report.maps import central_sections
from vitreous.report.page import Page, card, image_tag
from vitreous.report.refine3d import fsc_figure

BAR_A = 50.0
SHOWN_PX = 190
SCORE_HEAD = ("", "found", "truth")


@dataclass(frozen=True, eq=False)
class MapPage:
    """What the page shows.

    Attributes
    ----------
    score : ``programs.demo_map.MapScore``
    volume, truth : (n, n, n) the map where the true one is, and the true one
    shortfalls : what is worse than the set allows
    links : (where, name) of the jobs' pages
    made_with : name -> value, for the last table
    """

    score: Any
    volume: np.ndarray
    truth: np.ndarray
    shortfalls: Sequence[str]
    links: Sequence[tuple[str, str]]
    made_with: Mapping[str, Any]


def score_rows(score: Any) -> list[tuple[str, str, str]]:
    """The figures, under SCORE_HEAD."""
    others = score.n_particles - score.n_found
    return [
        ("point group", score.symmetry, score.true_symmetry),
        ("diameter, A", f"{score.diameter_A:.0f}", f"{score.true_diameter_A:.0f}"),
        ("particles in the map", f"{score.n_found}", f"{score.n_present}"),
        ("picks of something else in it", f"{others}", "0"),
        ("resolution by half-sets, A", f"{score.half_sets_A:.1f}", ""),
        ("FSC to the true map 0.5 at, A", f"{score.truth_500_A:.1f}", ""),
        ("FSC to the true map 0.143 at, A", f"{score.truth_143_A:.1f}", ""),
        ("hand", "mirrored" if score.placement.is_mirrored else "same", "same or mirrored"),
    ]


def demo_map_report(page_of: MapPage) -> str:
    """The page as HTML text."""
    score = page_of.score
    page = Page("The demo's map and the truth", "Simulated micrographs, so the answer is known")
    page.facts([
        ("Å, FSC 0.5 to the true map", f"{score.truth_500_A:.1f}"), ("Å by half-sets", f"{score.half_sets_A:.1f}"),
        (f"point group, {score.true_symmetry} is true", score.symmetry),
        ("of the particles are in the map", f"{100 * score.n_found / max(score.n_present, 1):.0f} %"),
    ])  # fmt: skip
    for text in page_of.shortfalls:
        page.warning(f"{text[0].upper()}{text[1:]}: less than this set allows.")
    page.section(
        "The map and the truth",
        "Sections through the centre: left the refined map before it was sharpened, turned and moved onto the truth, "
        + ("and mirrored, as projections do not tell the hand; " if score.placement.is_mirrored else "")
        + f"right the true map with all its detail. The white bar is {BAR_A:g} Å.",
    )
    page.gallery(list(section_pairs(page_of.volume, page_of.truth, score.pixel_size_A)), min_rem=20)
    page.section("Resolution")
    curves = {"map and true map": score.fsc_truth, "two half-sets": score.fsc_halves}
    page.figures([(
        fsc_figure(curves, len(page_of.volume), score.pixel_size_A),
        "Both in a soft ball about the molecule, of maps without filter. Where the half-sets agree to 0.143, a map "
        "of both is expected to agree with the truth to 0.5. The dotted line is where the first curve falls below 0.143.",
    )])  # fmt: skip
    page.section("Figures")
    page.table(SCORE_HEAD, score_rows(score))
    page.section("The way there", "Nothing was told to the run but the micrographs and their CTF. Each step has a page of its own.")
    page.links(page_of.links)
    page.table(("made with", ""), [(name, str(value)) for name, value in page_of.made_with.items()])
    return page.html()


def section_pairs(volume: np.ndarray, truth: np.ndarray, pixel_size_A: float):
    """Cards of the sections of the map, each beside that of the true one."""
    bar = BAR_A / (len(volume) * pixel_size_A)
    for (axis, found), (_, true) in zip(central_sections(volume), central_sections(truth)):
        pictures = [
            image_tag(found, f"map, section across {axis}", bar, SHOWN_PX),
            image_tag(true, f"true map, section across {axis}", bar, SHOWN_PX),
        ]
        yield card(pictures, [f"map and true map, across {axis}"])
