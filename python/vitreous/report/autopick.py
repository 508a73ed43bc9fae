"""The report of a picking run: micrographs with their picks, figures of merit, picks per micrograph."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from vitreous.report.charts import histogram, series
from vitreous.report.page import Page, grey, png

PICTURE_PX = 640
MOST_ROWS = 400  # of the table of micrographs


@dataclass(frozen=True, eq=False)
class Shown:
    """One micrograph of the report: picture and factor from ``binned``, picks and diameter of their circles in its pixels."""

    name: str
    small: np.ndarray
    factor: int
    x_px: np.ndarray
    y_px: np.ndarray
    fom: np.ndarray
    diameter_px: float
    what: str = "picks"


@dataclass(frozen=True, eq=False)
class AutopickRun:
    """Everything that the report shows.

    Parameters
    ----------
    option_rows : (group, flag, value, unit, who chose it)
    names, counts, foms : of every micrograph with coordinates: name, number of picks, figures of merit
    failed : micrograph -> why
    """

    title: str
    option_rows: Sequence[tuple]
    names: Sequence[str]
    counts: np.ndarray
    foms: Sequence[np.ndarray]
    failed: Mapping[str, str] = field(default_factory=dict)
    shown: Sequence[Shown] = ()
    facts: Sequence[tuple[str, Any]] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)


def autopick_report(run: AutopickRun) -> str:
    """The page as HTML text."""
    page = Page(run.title, f"{len(run.names)} micrographs, {int(np.sum(run.counts))} picks")
    for name, why in list(run.failed.items())[:20]:
        page.warning(f"{name}: {why}")
    page.facts([("picks", int(np.sum(run.counts))), ("micrographs", len(run.names)), ("not picked", len(run.failed)),
                ("picks per micrograph, median", float(np.median(run.counts)) if len(run.counts) else None), *run.facts])  # fmt: skip
    every = np.concatenate(list(run.foms)) if len(run.foms) else np.zeros(0)
    if run.shown:
        limits = _limits(every)
        page.section(
            "Micrographs",
            f"Circles: blue is the highest figure of merit ({limits[1]:.3g}), red the lowest ({limits[0]:.3g}).",
        )
        page.gallery([picture(shown, limits) for shown in run.shown], min_rem=24)
    if len(every):
        page.section("Figures of merit and numbers")
        page.figures([
            (histogram(every, "figure of merit", "picks"), "Figures of merit of all picks."),
            (histogram(run.counts, "picks of a micrograph", "micrographs"), "How many micrographs have how many picks."),
            (series(run.counts, "picks", "micrograph, in the order of the table"), "Picks of each micrograph."),
        ])  # fmt: skip
    page.section("Table")
    mean = [float(f.mean()) if len(f) else None for f in run.foms]
    page.table(
        ("micrograph", "picks", "mean figure of merit"),
        list(zip(run.names, map(int, run.counts), mean))[:MOST_ROWS],
        fold=f"{min(len(run.names), MOST_ROWS)} of {len(run.names)} micrographs",
    )
    page.section("How it was made")
    page.table(("what", "value"), [(k, str(v)) for k, v in run.machine.items()])
    page.table(
        ("option", "value", "unit", "chosen by"),
        [(f"--{r[1]}", str(r[2]), r[3], r[4]) for r in run.option_rows],
        fold="options",
    )
    return page.html()


def _limits(fom: np.ndarray) -> tuple[float, float]:
    if not len(fom):
        return 0.0, 1.0
    low, high = np.percentile(fom, [2, 98])
    return float(low), float(high) if high > low else float(low) + 1


def colour(share: float) -> str:
    """Red at 0, over purple, to blue at 1."""
    share = float(np.clip(share, 0, 1))
    return f"rgb({round(230 - 180 * share)},{round(60 + 80 * share)},{round(40 + 215 * share)})"


def binned(image: np.ndarray, most_px: int = PICTURE_PX) -> tuple[np.ndarray, int]:
    """Sums over whole squares so that the image is at most ``most_px`` wide, and the side of the squares."""
    step = -(-max(image.shape) // most_px)
    ny, nx = (n // step for n in image.shape)
    rows = (
        image[: ny * step, : nx * step].reshape(ny, step, -1).sum(1)
    )  # whole rows at a time: ten times faster than squares
    return rows.reshape(ny, nx, step).sum(2), step


def picture(shown: Shown, limits: tuple[float, float]) -> str:
    """A card with a micrograph and a circle at each pick, as HTML."""
    factor = 1 / shown.factor
    data = base64.b64encode(png(grey(shown.small, 1, 99))).decode()
    ny, nx = shown.small.shape
    share = (np.asarray(shown.fom, float) - limits[0]) / (limits[1] - limits[0])
    circles = "".join(
        f'<circle cx="{(x + 0.5) * factor:.1f}" cy="{(y + 0.5) * factor:.1f}" r="{max(shown.diameter_px * factor / 2, 2):.1f}" '
        f'stroke="{colour(s)}"><title>{f:.3g}</title></circle>'
        for x, y, f, s in zip(shown.x_px, shown.y_px, shown.fom, share)
    )
    drawing = (
        f'<svg viewBox="0 0 {nx} {ny}" role="img" aria-label="{escape(shown.name, quote=True)} with {shown.what}" style="width:100%">'
        f'<image width="{nx}" height="{ny}" href="data:image/png;base64,{data}"/><g fill="none" stroke-width="2">{circles}</g></svg>'
    )
    return f'<div class="card">{drawing}<br><b>{escape(shown.name)}</b>: {len(shown.fom)} {shown.what}</div>'
