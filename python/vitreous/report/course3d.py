"""How a 3D refinement or classification went, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitreous.engine.fsc import GOLD_STANDARD
from vitreous.report import figures
from vitreous.report.course import Panels, assignment_panels, course_plots, fit_panels, number, size_panels
from vitreous.report.page import Page
from vitreous.report.parts import NOT_ESTIMATED, Run, resolution_axis

MOST_TABLE_ROWS = 200


def course_section(page: Page, run: Run) -> None:
    """Curves over the iterations, class sizes, the FSC of each iteration, and a table of all numbers."""
    page.section("Course of the run")
    plots = course_plots(run, course_panels(run))
    curves = [(i, curve) for i, curve in zip(run.iterations, run.column("fsc")) if curve is not None and len(curve)]
    if len(curves) > 1:
        plots.append((fsc_course_figure(curves, run.model.box, run.model.pixel_size_A),
                      "FSC of the half maps in each iteration; the last one is bold."))  # fmt: skip
    page.figures(plots)
    _table(page, run)


def _accuracy(values: Sequence) -> list:
    return [None if value is None or value > NOT_ESTIMATED else value for value in values]


def _of_largest_classes(run: Run, name: str) -> dict[str, list]:
    """#k -> one value per iteration, for the largest classes."""
    rows, n = run.column(name), run.model.n_classes
    shown = [k for k in run.order if run.shares[k] >= 0.01][:4]
    return {f"#{k + 1}": [row[k] if row is not None and len(row) == n else None for row in rows] for k in shown}


def course_panels(run: Run) -> list[Panels]:
    """The figures of curves."""
    column = run.column
    several = run.model.n_classes > 1
    resolution = {"finest" if several else "": column("resolution_A")}
    if several:
        resolution = _of_largest_classes(run, "class_resolution_A") or resolution
    sampling = [
        ("angle, °", {"step": column("angular_step_deg"), "accuracy": _accuracy(column("accuracy_deg"))}),
        ("origin, Å", {"step": column("offset_step_A"), "accuracy": _accuracy(column("accuracy_A"))}),
    ]
    changes = [
        ("change of angle, °", {"": column("change_angle_deg")}),
        ("of origin, Å", {"": column("change_offset_A")}),
        *([("of class, fraction", {"": column("change_class")})] if several else []),
    ]
    return [
        size_panels(run, resolution, "map"),
        (sampling, _sampling_caption(run), ("angle, °", "origin, Å")),
        (changes, "Mean change of the particles' orientation and origin since the iteration before.", ()),
        assignment_panels(run),
        fit_panels(run),
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
        [value if isinstance(value, (bool, int)) or value is None else number(value) for value in row]
        for row in zip(*(values for _, values in columns))
    ]
    if rows:
        page.table([label for label, _ in columns], rows[-MOST_TABLE_ROWS:], fold="numbers of every iteration")
