"""The page of an extraction: particles as they came out, their mean and spread, and what the backgrounds were like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitreous.report.charts import histogram, series
from vitreous.report.maps import option_table
from vitreous.report.page import Page, card, image_tag

MOST_CARDS = 48
MOST_ROWS = 200


@dataclass(frozen=True)
class Summary:
    """How the run went."""

    version: str
    seconds: float
    peak_bytes: int
    n_threads: int
    background: str


def sheet(samples: Sequence[np.ndarray], most: int = MOST_CARDS) -> np.ndarray:
    """At most ``most`` images, taken evenly from all micrographs, (n, b, b)."""
    images = np.concatenate(list(samples)) if len(samples) else np.zeros((0, 1, 1), np.float32)
    step = max(1, len(images) / most)
    return images[np.unique((np.arange(min(most, len(images))) * step).astype(int))] if len(images) else images


def report_html(result: Any, plan: Any, summary: Summary, options: Iterable[Sequence[Any]]) -> str:
    """The page as HTML text.

    Parameters
    ----------
    result : with particles, n, outcomes and left_out
    plan : with options, micrographs and tasks
    options : (name, value, unit, who chose it)
    """
    outcomes = [outcome for outcome in result.outcomes if not outcome.failed]
    n_done = sum(o.n for o in outcomes)
    page = Page("Extraction", str(result.particles))
    gigabytes = sum(o.bytes_read for o in outcomes) / 1e9
    page.facts(
        [
            ("particles", result.n),
            ("micrographs in this run", len(outcomes)),
            ("micrographs left out", len(result.left_out)),
            ("particles left out", sum(o.n_left_out for o in result.outcomes)),
            ("time", f"{summary.seconds:.1f} s"),
            ("micrographs read at", f"{1e3 * gigabytes / max(summary.seconds, 1e-9):.0f} MB/s"),
            ("memory", f"{summary.peak_bytes / 2**30:.2f} GB"),
        ]
    )
    notes = [note for o in outcomes for note in o.notes]
    if result.left_out or notes:
        page.warning(
            f"{len(result.left_out)} micrographs gave no particles, and there are {len(notes)} remarks on "
            "others: see below."
        )
    _images(page, outcomes)
    _statistics(page, outcomes, n_done)
    _problems(page, result.left_out, notes)
    rows = [(r[0], r[1], r[2], r[3]) for r in options]
    rows += [
        ("background", summary.background, "", ""),
        ("threads", summary.n_threads, "", ""),
        ("vitreous", summary.version, "", ""),
    ]
    option_table(page, rows)
    return page.html()


def _images(page: Page, outcomes: Sequence[Any]) -> None:
    samples = [o.sample for o in outcomes if o.sample is not None]
    images = sheet(samples)
    if not len(images):
        return
    page.section("Particles", "A sample from all micrographs. The mean should be a centred blob, bright on dark after "
                 "--invert_contrast; a blob off the centre or a ring means that picks are off.")  # fmt: skip
    n = sum(map(len, samples))
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in samples) / n
    spread = np.sqrt(sum(np.square(part - mean).sum(axis=0) for part in samples) / n)
    page.gallery([card([image_tag(mean, "mean")], [f"mean of {n}"]),
                  card([image_tag(spread, "spread")], [f"standard deviation of {n}"])], min_rem=11)  # fmt: skip
    page.gallery([card([image_tag(image, f"particle {i}")], []) for i, image in enumerate(images, 1)])


def _statistics(page: Page, outcomes: Sequence[Any], n_done: int) -> None:
    if not n_done:
        return
    page.section("Statistics", "Background level and noise before normalisation, per particle: a second peak is often "
                               "carbon, ice "
                 "or another grey scale.")  # fmt: skip
    background = np.concatenate([o.background for o in outcomes if len(o.background)])
    counts = [o.n for o in outcomes]
    figures = [
        (histogram(background[:, 0], "background level"), "Level of the background of each particle."),
        (histogram(background[:, 1], "background standard deviation"), "Noise of the background of each particle."),
    ]
    if len(counts) > 1:
        figures.append(
            (
                series(counts, "particles", "micrograph, in the order of the table"),
                "Particles of each micrograph.",
            )
        )
    page.figures(figures)


def _problems(page: Page, left_out: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
    if left_out:
        page.section("Micrographs left out")
        page.table(("micrograph", "why"), left_out[:MOST_ROWS])
        if len(left_out) > MOST_ROWS:
            page.text(f"and {len(left_out) - MOST_ROWS} more, which are in the log")
    if notes:
        page.section("Remarks")
        page.table(("remark",), [(note,) for note in notes[:MOST_ROWS]])
