"""How a run went, iteration by iteration: the curves that 2D and 3D share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.report import figures
from vitreous.report.parts import Run

Panel = tuple[str, dict[str, Sequence]]  # y label, name -> one value per iteration
Panels = tuple[list[Panel], str, tuple[str, ...]]  # of one figure, its caption, the y labels of logarithmic axes


def course_plots(run: Run, figures_of_panels: Iterable[Panels]) -> list[tuple[Any, str]]:
    """(figure, caption) of the sizes of the classes, where there are several, and of the panels that have a number."""
    plots = []
    weights = run.column("class_weight")
    if run.model.n_classes > 1 and all(w is not None and len(w) == run.model.n_classes for w in weights):
        shares, names = np.array(weights, float)[:, run.order], [f"#{k + 1}" for k in run.order]
        plots.append(
            (
                figures.stacked_shares(run.iterations, shares, names, "others", "iteration"),
                "Share of the particles in each class, largest at the bottom.",
            )
        )
    for panels, caption, log in figures_of_panels:
        kept = [(title, known) for title, lines in panels if (known := _known(lines))]
        if kept:
            plots.append((figures.curves(run.iterations, kept, "iteration", log=log), caption))
    return plots


def _known(lines: dict[str, Sequence]) -> dict[str, list]:
    """The lines that have a number; infinite ones and what was not estimated are gaps."""
    found = {name: [number(value) for value in values] for name, values in lines.items()}
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def number(value: Any) -> float | None:
    """A value of an event; None where it is infinite or stands for "not estimated"."""
    return None if value is None or not np.isfinite(value) or value in (999, 9999999) else float(value)


def size_panels(run: Run, resolution: dict[str, Sequence], what: str) -> Panels:
    """Resolution and Fourier sizes."""
    sizes = {"fine": run.column("current_size_px"), "coarse": run.column("coarse_size_px")}
    caption = f"Resolution of the {what}, and the size of the transforms that the two passes compare."
    return [("resolution, Å", resolution), ("Fourier size, px", sizes)], caption, ()


def assignment_panels(run: Run) -> Panels:
    """How certain the assignments are."""
    return (
        [("mean Pmax", {"": run.column("p_max")}), ("significant samples", {"": run.column("n_significant")})],
        "How sharply particles are assigned: 1 and few samples mean one clear answer.",
        ("significant samples",),
    )


def fit_panels(run: Run) -> Panels:
    """Likelihood and the prior on origins."""
    return (
        [("log-likelihood", {"": run.column("log_likelihood")}), ("σ of the origins, Å", {"": run.column("sigma_offset_A")})],
        "Fit of the model to the data, and the width of the prior on origins.",
        (),
    )
