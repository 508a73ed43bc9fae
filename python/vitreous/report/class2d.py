"""The report of a 2D classification: what went in, which classes came out, and how the run got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.model.state import Model
from vitreous.report import figures
from vitreous.report.page import Page, card, image_tag

BAR_A = 50.0  # scale bar of the thumbnails
OCCUPIED = 0.01  # classes with less than 1 % of the particles are folded away and left out of the curves
NOT_ESTIMATED = 998.0  # accuracies from here on mean "not estimated"
OptionRow = tuple[str, str, Any, str, str]  # group, flag, value, unit, who chose it


@dataclass(frozen=True, eq=False)
class Class2dRun:
    """Everything that the report shows, as plain values.

    Attributes
    ----------
    title : heading, e.g. "2D classification: Class2D/job012/run"
    option_rows : (group, flag, value, unit, who chose it), as ``value_rows`` gives them
    events : "iteration" events of run.jsonl, in order
    model : of the last iteration
    particles : columns of length n: class_number, psi_deg, shift_A (n, 2), p_max, n_significant, log_likelihood, norm
    inputs : name -> value of what was read: file, number of particles, micrographs, box, pixel size, ...
    machine : name -> value: command, versions, processor, threads, seed
    memory_bytes : what -> predicted bytes; peak_bytes : measured
    quarantined : (image name, why) of particles that were left out
    warnings : texts shown at the top
    class_images : (K, box, box) to show in place of the model's references, e.g. the unmasked ones
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
    class_images: np.ndarray | None = None

    def column(self, name: str) -> list:
        """One value per iteration; None where an event lacks it."""
        return [event.get(name) for event in self.events]

    @property
    def iterations(self) -> np.ndarray:
        return np.array([event["iteration"] for event in self.events], int)


def columns_of(particles, usable=None) -> dict[str, np.ndarray]:
    """The columns that the report needs of ``model.dataset.Particles``; ``usable`` (n,) bool leaves out the rest."""
    rows = slice(None) if usable is None else usable
    names = ("class_number", "shift_A", "p_max", "n_significant", "log_likelihood", "norm")
    return {name: getattr(particles, name)[rows] for name in names} | {"psi_deg": particles.euler_deg[rows, 2]}


def class2d_report(run: Class2dRun) -> str:
    """The page as HTML text; the caller writes it.

    Returns
    -------
    str     a complete document without outside parts, below 5 MB for 200 classes
    """
    page = Page(run.title, _subtitle(run))
    for text in run.warnings:
        page.warning(text)
    page.facts(_facts(run))
    _classes(page, run)
    if run.events:
        _course(page, run)
    _spectra(page, run)
    _particles(page, run)
    _inputs(page, run)
    _cost(page, run)
    return page.html()


def _subtitle(run) -> str:
    parts = [str(run.inputs["particles"])] if "particles" in run.inputs else []
    return "; ".join([*parts, *(str(run.machine[k]) for k in ("version", "finished") if k in run.machine)])


def _shares(run) -> np.ndarray:
    return np.asarray(run.model.class_weight, float)


def _order(run) -> np.ndarray:
    """Classes by falling share."""
    return np.argsort(-_shares(run), kind="stable")


def _facts(run) -> list[tuple[str, Any]]:
    share = _shares(run)
    occupied = share >= OCCUPIED
    resolution = np.asarray(run.model.class_resolution_A)
    finest = resolution[occupied].min() if occupied.any() else np.inf
    facts = [
        ("particles", len(run.particles["class_number"])),
        ("classes with at least 1 %", f"{int(occupied.sum())} of {len(share)}"),
        ("finest class", f"{finest:.1f} Å"),
        ("in the three largest classes", f"{100 * np.sort(share)[-3:].sum():.0f} %"),
        ("mean Pmax", f"{run.model.average_p_max:.2f}"),
        ("iterations", int(run.iterations[-1]) if run.events else 0),
    ]
    seconds = sum(sum((event.get("seconds") or {}).values()) for event in run.events)
    if seconds:
        facts.append(("time", _duration(seconds)))
    if run.peak_bytes:
        facts.append(("peak memory", _bytes(run.peak_bytes)))
    return facts


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _bytes(n: float) -> str:
    return f"{n / 2**30:.2f} GB" if n >= 2**30 else f"{n / 2**20:.0f} MB"


def _accuracies(model: Model, k: int) -> str:
    """±2.1° ±1.3 Å of class k, with a dash for what was not estimated."""
    pairs = ((model.accuracy_rotation_deg[k], "°"), (model.accuracy_shift_A[k], " Å"))
    return " ".join(f"±{v:.1f}{unit}" if np.isfinite(v) and v < NOT_ESTIMATED else "–" for v, unit in pairs)


def _classes(page: Page, run: Class2dRun) -> None:
    """The gallery, largest class first; nearly empty classes behind a fold."""
    model, share = run.model, _shares(run)
    images = model.references if run.class_images is None else run.class_images
    count = np.bincount(np.maximum(run.particles["class_number"], 0), minlength=model.n_classes + 1)[1:]
    bar = BAR_A / (model.box * model.pixel_size_A)
    shown, folded = [], []
    for k in _order(run):
        lines = [
            f"<b>{100 * share[k]:.1f} %</b> #{k + 1}",
            f"{count[k]:,} particles",
            f"{model.class_resolution_A[k]:.1f} Å",
            f"<small>{_accuracies(model, k)}</small>",
        ]
        faint = share[k] < OCCUPIED
        picture = image_tag(images[k], f"class {k + 1}", bar)
        (folded if faint else shown).append(card([picture], lines, share[k] / max(share.max(), 1e-9), faint))
    page.section(
        "Class averages",
        f"Sorted by share of the particles. Each has its own contrast; the white bar is "
        f"{BAR_A:g} Å. Under each: share and number of the class, particles, resolution, and the estimated accuracy "
        "of angles and origins.",
    )
    page.gallery(shown)
    if folded:
        page.gallery(folded, fold=f"{len(folded)} more with less than 1 % each")


def _course(page: Page, run: Class2dRun) -> None:
    """How the run went, iteration by iteration."""
    x, order = run.iterations, _order(run)
    page.section("Course of the run")
    plots = []
    weights = run.column("class_weight")
    if all(w is not None and len(w) == run.model.n_classes for w in weights):
        names = [f"#{k + 1}" for k in order]
        plots.append(
            (
                figures.stacked_shares(x, np.array(weights, float)[:, order], names, "others", "iteration"),
                "Share of the particles in each class, largest at the bottom.",
            )
        )
    for panels, caption, log in _course_panels(run):
        kept = [(title, lines) for title, lines in panels if any(v is not None for c in lines.values() for v in c)]
        if kept:
            plots.append((figures.curves(x, kept, "iteration", log=log), caption))
    page.figures(plots)


def _course_panels(run):
    """(panels, caption, log axes) of each figure of curves."""
    column = run.column
    resolutions = {"finest class": column("resolution_A")}
    per_class = column("class_resolution_A")
    if all(r is not None and w is not None for r, w in zip(per_class, column("class_weight"))):
        resolutions["median class"] = [_median_resolution(r, w) for r, w in zip(per_class, column("class_weight"))]
    return [
        (
            [
                ("resolution, Å", resolutions),
                ("Fourier size, px", {"fine": column("current_size_px"), "coarse": column("coarse_size_px")}),
            ],
            "Resolution of the averages, and the size of the transforms that the two passes compare.",
            (),
        ),
        (
            [("mean Pmax", {"": column("p_max")}), ("significant samples", {"": column("n_significant")})],
            "How sharply particles are assigned: 1 and few samples mean one clear answer.",
            ("significant samples",),
        ),
        (
            [
                ("angle, °", {"": column("change_angle_deg")}),
                ("origin, Å", {"": column("change_offset_A")}),
                ("class, fraction", {"": column("change_class")}),
            ],
            "Mean change of the particles' angle, origin and class since the iteration before.",
            (),
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


def _median_resolution(resolution_A, weight) -> float:
    """Median over particles, not over classes: a class counts by its share."""
    resolution, weight = np.asarray(resolution_A, float), np.asarray(weight, float)
    order = np.argsort(resolution)
    reached = np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())
    return float(resolution[order][min(reached, len(order) - 1)])


def _spectra(page: Page, run: Class2dRun) -> None:
    """Signal to noise of the largest classes and the noise itself, over resolution."""
    model, share = run.model, _shares(run)
    frequency = np.arange(model.n_shells) / (model.box * model.pixel_size_A)
    limit = model.current_size_px // 2 + 1 if model.current_size_px else model.n_shells
    page.section("Spectra")
    with figures.styled() as (ssnr, (axis,)):
        for i, k in enumerate([k for k in _order(run) if share[k] >= OCCUPIED][:6]):
            values = np.where(model.data_vs_prior[k] > 0, model.data_vs_prior[k], np.nan)
            axis.plot(frequency[1:limit], values[1:limit], color=figures.COLOURS[i], label=f"#{k + 1}")
        axis.axhline(1, color=figures.SOFT, linewidth=1)
        axis.set(title="signal to noise ratio of the averages", yscale="log", ylim=(1e-2, None))
        _resolution_axis(axis)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(ncols=2)
    with figures.styled() as (noise, (axis,)):
        for i, sigma2 in enumerate(np.atleast_2d(model.sigma2_noise)):
            values = np.where(sigma2 > 0, sigma2, np.nan)
            axis.plot(frequency[1:], values[1:], color=figures.COLOURS[i % 7], label=f"optics group {i + 1}")
        axis.set(title="noise power", yscale="log")
        _resolution_axis(axis)
        if len(np.atleast_2d(model.sigma2_noise)) > 1:
            axis.legend()
    page.figures(
        [
            (ssnr, "Where a curve falls below 1, the average holds more noise than signal: its resolution."),
            (noise, "Estimated noise per Fourier component."),
        ]
    )


def _resolution_axis(axis) -> None:
    """Ticks at round resolutions in Å on an axis of 1/Å."""
    high = axis.get_xlim()[1]
    ticks = [d for d in (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5, 1.2, 1) if 1 / d <= high]
    kept = []
    for d in ticks:
        if not kept or 1 / d - 1 / kept[-1] > 0.07 * high:
            kept.append(d)
    axis.set_xticks([1 / d for d in kept], [f"{d:g}" for d in kept])
    axis.set(xlabel="resolution, Å", xlim=(0, high))


def _particles(page: Page, run: Class2dRun) -> None:
    """Distributions over the particles after the last iteration."""
    columns = run.particles
    page.section("Particles after the last iteration")
    psi = np.mod(np.asarray(columns["psi_deg"]) + 180, 360) - 180
    plots = [
        (
            figures.histogram(psi, "in-plane angle, °", n_bins=36, limits=(-180, 180)),
            "Should be flat for particles that lie any way round.",
        ),
        (
            _origins(np.asarray(columns["shift_A"])),
            "Shift that centres each particle; a ring or an edge means that the search range is too small.",
        ),
        (figures.histogram(columns["p_max"], "Pmax", limits=(0, 1)), "Probability of each particle's best assignment."),
    ]
    for name, label, caption in (
        ("norm", "norm correction", "Outliers are often carbon, ice or aggregates."),
        ("log_likelihood", "log-likelihood", "The left tail holds particles that fit no class."),
    ):
        if len(columns[name]) and np.ptp(columns[name]) > 0:
            plots.append((figures.histogram(columns[name], label), caption))
    page.figures(plots)


def _origins(shift_A):
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


def _inputs(page: Page, run: Class2dRun) -> None:
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
                [(f"--{flag}", _value(value), unit, who, group) for group, flag, value, unit, who in rows],
                fold=fold,
            )
    if run.quarantined:
        page.warning(f"{len(run.quarantined)} particles were left out because their images cannot be used.")
        page.table(("image", "why"), run.quarantined[:1000], fold="which and why")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cost(page: Page, run: Class2dRun) -> None:
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
        rows = [(name, _bytes(n)) for name, n in sorted(run.memory_bytes.items(), key=lambda item: -item[1])]
        rows.append(("predicted together", _bytes(sum(run.memory_bytes.values()))))
        if run.peak_bytes:
            rows.append(("measured peak of the process", _bytes(run.peak_bytes)))
        page.table(("memory", "size"), rows)
    if run.machine:
        page.table(("made with", ""), [(name, str(value)) for name, value in run.machine.items()])
