"""Parts that the reports of classifications and refinements share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.model.state import Model
from vitreous.report import figures
from vitreous.report.page import Page

OptionRow = tuple[str, str, Any, str, str]  # group, flag, value, unit, who chose it
NOT_ESTIMATED = 998.0  # accuracies from here on mean "not estimated"


@dataclass(frozen=True, eq=False)
class Run:
    """What the report of any classification or refinement shows, as plain values.

    Attributes
    ----------
    title : heading, e.g. "2D classification: Class2D/job012/run"
    option_rows : (group, flag, value, unit, who chose it), as ``value_rows`` gives them
    events : "iteration" events of run.jsonl, in order
    model : of the last iteration
    particles : columns of length n: class_number, shift_A (n, 2), p_max, n_significant, log_likelihood, norm, angles
    inputs : name -> value of what was read: file, number of particles, micrographs, box, pixel size, ...
    machine : name -> value: command, versions, processor, threads, seed
    memory_bytes : what -> predicted bytes; peak_bytes : measured
    quarantined : (image name, why) of particles that were left out
    warnings : texts shown at the top
    """

    title: str
    option_rows: Sequence[OptionRow]
    events: Sequence[Mapping[str, Any]]
    model: Model
    particles: Mapping[str, np.ndarray]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    peak_bytes: int | None = None
    quarantined: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()

    def column(self, name: str) -> list:
        """One value per iteration; None where an event lacks it."""
        return [event.get(name) for event in self.events]

    @property
    def subtitle(self) -> str:
        """Particles file, version and time, as far as they are known."""
        known = [self.inputs.get("particles"), self.machine.get("version"), self.machine.get("finished")]
        return "; ".join(str(part) for part in known if part is not None)

    @property
    def iterations(self) -> np.ndarray:
        """(n_iterations,) numbers of the iterations."""
        return np.array([event["iteration"] for event in self.events], int)

    @property
    def shares(self) -> np.ndarray:
        """(K,) share of the particles in each class."""
        return np.asarray(self.model.class_weight, float)

    @property
    def order(self) -> np.ndarray:
        """(K,) classes by falling share."""
        return np.argsort(-self.shares, kind="stable")

    @property
    def seconds(self) -> float:
        """Wall-clock time of all iterations."""
        return sum(sum((event.get("seconds") or {}).values()) for event in self.events)


def duration_text(seconds: float) -> str:
    """A time in s, min or h."""
    return (
        f"{seconds:.1f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def size_text(n: float) -> str:
    """A number of bytes in MB or GB."""
    return f"{n / 2**30:.2f} GB" if n >= 2**30 else f"{n / 2**20:.0f} MB"


def value_text(value: Any) -> str:
    """An option's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def accuracies_text(model: Model, k: int) -> str:
    """±2.1° ±1.3 Å of class k, with a dash for what was not estimated."""
    pairs = ((model.accuracy_rotation_deg[k], "°"), (model.accuracy_shift_A[k], " Å"))
    return " ".join(f"±{v:.1f}{unit}" if np.isfinite(v) and v < NOT_ESTIMATED else "–" for v, unit in pairs)


def noise_figure(model: Model):
    """Noise power of each optics group over resolution."""
    frequency = np.arange(model.n_shells) / (model.box * model.pixel_size_A)
    with figures.styled(left_in=0.85) as (figure, (axis,)):  # for numbers such as 1.2 x 10^-5
        for i, sigma2 in enumerate(np.atleast_2d(model.sigma2_noise)):
            values = np.where(sigma2 > 0, sigma2, np.nan)
            axis.plot(frequency[1:], values[1:], color=figures.COLOURS[i % 7], label=f"optics group {i + 1}")
        axis.set(title="noise power", yscale="log")
        resolution_axis(axis)
        if len(np.atleast_2d(model.sigma2_noise)) > 1:
            axis.legend()
    return figure


def resolution_axis(axis) -> None:
    """Ticks at round resolutions in Å on an axis of 1/Å."""
    high = axis.get_xlim()[1]
    ticks = [d for d in (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5, 1.2, 1) if 1 / d <= high]
    kept = []
    for d in ticks:
        if not kept or 1 / d - 1 / kept[-1] > 0.07 * high:
            kept.append(d)
    axis.set_xticks([1 / d for d in kept], [f"{d:g}" for d in kept])
    axis.set(xlabel="resolution, Å", xlim=(0, high))


def origins(shift_A: np.ndarray):
    """Origins in two dimensions, the same scale on both axes, and their lengths."""
    shift_A = shift_A[:, :2]
    reach = max(float(np.percentile(np.abs(shift_A), 99.8)) * 1.05, 1.0) if len(shift_A) else 1.0
    edges = [figures.edges_on_grid(column, -reach, reach, 41) for column in shift_A.T]
    with figures.styled(2, 2.6) as (figure, (plane, length)):
        plane.hist2d(shift_A[:, 0], shift_A[:, 1], bins=edges, cmap="Blues", rasterized=True)
        plane.set(title="origin, Å", xlabel="x", ylabel="y", aspect="equal")
        plane.grid(False)
        figures.draw_histogram(length, np.linalg.norm(shift_A, axis=1), "length of the origin, Å", 12)
    return figure


def inputs_section(page: Page, run: Run) -> None:
    """What was read, every option, and the particles that were left out."""
    page.section("Input and parameters")
    if run.inputs:
        page.table(("input", "value"), run.inputs.items())
    # "default" is what nobody chose; everything else deserves to be seen at once
    chosen = [row for row in run.option_rows if row[4] != "default"]
    rest = [row for row in run.option_rows if row[4] == "default"]
    for rows, fold in ((chosen, ""), (rest, f"{len(rest)} options at their defaults")):
        if rows:
            page.table(
                ("option", "value", "unit", "chosen by", "group"),
                [(f"--{flag}", value_text(value), unit, who, group) for group, flag, value, unit, who in rows],
                fold=fold,
            )
    if run.quarantined:
        page.warning(f"{len(run.quarantined)} particles were left out because their images cannot be used.")
        page.table(("image", "why"), run.quarantined[:1000], fold="which and why")


def cost_section(page: Page, run: Run) -> None:
    """Time and memory, and what the numbers were made with."""
    page.section("Time, memory and versions")
    parts: dict[str, list[float]] = {}
    for i, event in enumerate(run.events):
        for name, seconds in (event.get("seconds") or {}).items():
            parts.setdefault(name, [0.0] * len(run.events))[i] = seconds
    if parts:
        total = sum(map(sum, parts.values()))
        page.figures(
            [(figures.bars(run.iterations, parts, "time, s", "iteration"), "Wall-clock time of each iteration.")]
        )
        rows = sorted(
            ((name, sum(s), 100 * sum(s) / max(total, 1e-9)) for name, s in parts.items()), key=lambda r: -r[1]
        )
        page.table(
            ("part", "s", "%"),
            [(name, f"{s:.2f}", f"{percent:.1f}") for name, s, percent in [*rows, ("together", total, 100.0)]],
        )
    if run.memory_bytes:
        rows = [(name, size_text(n)) for name, n in sorted(run.memory_bytes.items(), key=lambda item: -item[1])]
        rows.append(("predicted together", size_text(sum(run.memory_bytes.values()))))
        if run.peak_bytes:
            rows.append(("measured peak of the process", size_text(run.peak_bytes)))
        page.table(("memory", "size"), rows)
    if run.machine:
        page.table(("made with", ""), [(name, str(value)) for name, value in run.machine.items()])
