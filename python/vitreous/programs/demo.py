"""A first run: micrographs with known truth are made, taken to a map, and the map is compared with the truth.

The course to a map is in demo_map.py, the quick one that ends with 2D classes in demo_classes.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitreous.engine.judge import Score
from vitreous.job.progress import Progress, duration
from vitreous.programs import demo_classes, demo_map
from vitreous.programs.demo_map import MapScore
from vitreous.programs.demo_options import Options

__all__ = ["Options", "Result", "run"]


@dataclass(frozen=True, eq=False)
class Result:
    """What the demo made and found; what does not belong to the course that was taken is None.

    Attributes
    ----------
    report : the page of the run to a map, or of the classification
    comparison : with --classes, the classes beside the truth
    score : with --classes, how good they are
    map_score : of the run to a map, how good the map is
    """

    report: Path
    comparison: Path | None = None
    score: Score | None = None
    map_score: MapScore | None = None


def run(options: Options, be: Any, comm: Any) -> Result:
    """Make micrographs or particles (or take the user's), work on them, compare, and say where to look."""
    options.check()
    start = time.monotonic()
    progress = Progress(options.verb)
    if options.particles is not None:
        report, averages = demo_classes.classify_own(options, be, comm)
        result, where = Result(report), f"{report}; the classes are in {averages}"
    elif options.classes:
        report, comparison, score = demo_classes.classify_simulated(options, be, comm, progress)
        result, where = Result(report, comparison, score), f"{report} for the run and {comparison} for the classes beside the truth."
    else:
        report, map_score = demo_map.make_map(options, be, comm, progress)
        result, where = Result(report, map_score=map_score), f"{report} for the map beside the truth and the way there."
    progress.line(f"\nDone in {duration(time.monotonic() - start)}. Open {where}")
    return result
