"""The page of an automatic run: what each step did and why, the classes that were chosen, the map and its FSC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.report.figures import curves
from vitreous.report.maps import section_cards
from vitreous.report.page import Page, card, image_tag

MOST_AVERAGES = 40  # shown of each selection


@dataclass(frozen=True)
class StepRow:
    """One step, as the page shows it.

    Attributes
    ----------
    name, folder, said : of the step, its job, and its outcome in one line
    seconds : that it took; None where it was left out
    choices : (option, value, reason) of what was chosen
    report : its own page, relative to this one; empty where there is none
    """

    name: str
    folder: str
    said: str
    seconds: float | None
    choices: Sequence[tuple[str, Any, str]] = ()
    report: str = ""


@dataclass(frozen=True, eq=False)
class AutoRun:
    """What the page shows.

    Attributes
    ----------
    title, facts : its heading and the large numbers
    steps : in order
    averages : name of a selection -> (n, box, box) chosen class averages
    volume : the last map, or None
    resolution_inv_A, fsc : frequencies and name -> curve; empty before the end
    warnings : what a user should know first
    """

    title: str
    facts: Sequence[tuple[str, Any]]
    steps: Sequence[StepRow]
    averages: Mapping[str, np.ndarray] = field(default_factory=dict)
    volume: np.ndarray | None = None
    resolution_inv_A: np.ndarray | None = None
    fsc: Mapping[str, np.ndarray] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def auto_report(run: AutoRun) -> str:
    """The page as HTML text."""
    page = Page(run.title, "From the input to a map, and why")
    page.facts(run.facts)
    for text in run.warnings:
        page.warning(text)
    if run.volume is not None:
        page.section("The map", "Sections through its centre.")
        page.gallery(section_cards(run.volume, "map"), min_rem=11)
    if run.fsc:
        page.section("Resolution", "The two half-sets were never mixed; the corrected curve is that of the masked maps.")
        page.figures([(curves(run.resolution_inv_A, [("Fourier shell correlation", run.fsc)], "1/Å"), "Fourier shell correlation")])
    page.section("Steps", "Each is a job folder with a page of its own.")
    page.table(("step", "job", "outcome", "time, s"),
               [(s.name, s.folder, s.said, None if s.seconds is None else round(s.seconds, 1)) for s in run.steps])  # fmt: skip
    page.links([(s.report, s.name) for s in run.steps if s.report])
    for name, images in run.averages.items():
        page.section(f"Classes chosen by {name}")
        page.gallery([card([image_tag(image, f"class average {i}")], []) for i, image in enumerate(images[:MOST_AVERAGES], 1)])
    page.section("Choices", "To change one, write it into a YAML file as auto.yaml has it, and give that with --overrides.")
    page.table(("step", "option", "value", "because"),
               [(s.name, name, str(value), why) for s in run.steps for name, value, why in s.choices])  # fmt: skip
    return page.html()
