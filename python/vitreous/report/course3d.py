"""How a 3D refinement or classification went, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vitreous.engine.fsc import GOLD_STANDARD
from vitreous.report import figures
from vitreous.report.page import Page
from vitreous.report.parts import NOT_ESTIMATED, Run, resolution_axis

Panel = tuple[str, dict[str, Sequence]]  # y label, name -> one value per iteration
MOST_TABLE_ROWS = 200


def course_section(page: Page, run: Run) -> None:
    """Curves over the iterations, class sizes, the FSC of each iteration, and a table of all numbers."""
    x = run.iterations
    page.section("Course of the run")
    plots = []
    weights = run.column("class_weight")
    if run.model.n_classes > 1 and all(w is not None and len(w) == run.model.n_classes for w in weights):
        names = [f"#{k + 1}" for k in run.order]
        plots.append((figures.stacked_shares(x, np.array(weights, float)[:, run.order], names, "others", "iteration"),
                      "Share of the particles in each class, largest at the bottom."))  # fmt: skip
    for panels, caption, log in course_panels(run):
        kept = [(title, known) for title, lines in panels if (known := _known(lines))]
        if kept:
            plots.append((figures.curves(x, kept, "iteration", log=log), caption))
    curves = [(i, curve) for i, curve in zip(x, run.column("fsc")) if curve is not None and len(curve)]
    if len(curves) > 1:
        plots.append((fsc_course_figure(curves, run.model.box, run.model.pixel_size_A),
                      "FSC of the half maps in each iteration; the last one is bold."))  # fmt: skip
    page.figures(plots)
    _table(page, run)


def _known(lines: dict[str, Sequence]) -> dict[str, list]:
    """The lines that have a number; infinite ones and accuracies that were not estimated are gaps."""
    found = {name: [_number(value) for value in values] for name, values in lines.items()}
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) or value in (999, 9999999) else float(value)


def _accuracy(values: Sequence) -> list:
    return [None if value is None or value > NOT_ESTIMATED else value for value in values]


def _of_largest_classes(run: Run, name: str) -> dict[str, list]:
    """#k -> one value per iteration, for the largest classes."""
    rows, n = run.column(name), run.model.n_classes
    shown = [k for k in run.order if run.shares[k] >= 0.01][:4]
    return {f"#{k + 1}": [row[k] if row is not None and len(row) == n else None for row in rows] for k in shown}


def course_panels(run: Run) -> list[tuple[list[Panel], str, tuple[str, ...]]]:
    """(panels, caption, log axes) of each figure of curves."""
    column = run.column
    several = run.model.n_classes > 1
    resolution = {"finest" if several else "": column("resolution_A")}
    if several:
        resolution = _of_largest_classes(run, "class_resolution_A") or resolution
    return [
        (
            [
                ("resolution, Å", resolution),
                ("Fourier size, px", {"fine": column("current_size_px"), "coarse": column("coarse_size_px")}),
            ],
            "Resolution of the map, and the size of the transforms that the two passes compare.",
            (),
        ),
        (
            [
                ("angle, °", {"step": column("angular_step_deg"), "accuracy": _accuracy(column("accuracy_deg"))}),
                ("origin, Å", {"step": column("offset_step_A"), "accuracy": _accuracy(column("accuracy_A"))}),
            ],
            _sampling_caption(run),
            ("angle, °", "origin, Å"),
        ),
        (
            [
                ("change of angle, °", {"": column("change_angle_deg")}),
                ("of origin, Å", {"": column("change_offset_A")}),
                *([("of class, fraction", {"": column("change_class")})] if several else []),
            ],
            "Mean change of the particles' orientation and origin since the iteration before.",
            (),
        ),
        (
            [("mean Pmax", {"": column("p_max")}), ("significant samples", {"": column("n_significant")})],
            "How sharply particles are assigned: 1 and few samples mean one clear answer.",
            ("significant samples",),
        ),
        (
            [
                ("log-likelihood", {"": column("log_likelihood")}),
                ("σ of the origins, Å", {"": column("sigma_offset_A")}),
            ],
            "Fit of the model to the data, and the width of the prior on origins.",
            (),
        ),
    ]


def _sampling_caption(run: Run) -> str:
    local = [int(i) for i, is_local in zip(run.iterations, run.column("local")) if is_local]
    text = "Steps of the search after oversampling, and how accurately the data determine angle and origin."
    return f"{text} Searches are local from iteration {local[0]} on." if local else text


def fsc_course_figure(curves, box: int, pixel_size_A: float):
    """FSC over resolution, one line per iteration from light to dark.

    Parameters
    ----------
    curves : [(iteration, (S,) FSC)]
    """
    from matplotlib import colormaps

    with figures.styled(1, 2.9) as (figure, (axis,)):
        last = len(curves) - 1
        for i, (iteration, curve) in enumerate(curves):
            frequency = np.arange(len(curve)) / (box * pixel_size_A)
            label = f"iteration {iteration}" if i in (0, last) else None
            axis.plot(frequency, curve, color=colormaps["viridis_r"](0.1 + 0.9 * i / last), label=label,
                      linewidth=2 if i == last else 0.9)  # fmt: skip
        axis.axhline(GOLD_STANDARD, color="#8a94a0", linewidth=0.9, linestyle="--")
        axis.set(title="FSC of the half maps", ylim=(-0.1, 1.03))
        axis.set_xlim(0, max(len(curve) for _, curve in curves) / (box * pixel_size_A))
        resolution_axis(axis)
        axis.legend()
    return figure


COLUMNS = (
    ("iteration", "iteration"), ("resolution_A", "resolution, Å"), ("current_size_px", "size, px"),
    ("healpix_order", "order"), ("angular_step_deg", "step, °"), ("offset_step_A", "step, Å"), ("local", "local"),
    ("p_max", "Pmax"), ("n_significant", "samples"), ("change_angle_deg", "change, °"),
    ("change_offset_A", "change, Å"), ("accuracy_deg", "accuracy, °"), ("accuracy_A", "accuracy, Å"),
)  # fmt: skip


def _table(page: Page, run: Run) -> None:
    """All numbers of every iteration, behind a fold."""
    columns = [(label, run.column(name)) for name, label in COLUMNS]
    columns = [(label, values) for label, values in columns if any(value is not None for value in values)]
    rows = [
        [value if isinstance(value, (bool, int)) or value is None else _number(value) for value in row]
        for row in zip(*(values for _, values in columns))
    ]
    if rows:
        page.table([label for label, _ in columns], rows[-MOST_TABLE_ROWS:], fold="numbers of every iteration")
