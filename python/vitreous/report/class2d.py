"""The report of a 2D classification: what went in, which classes came out, and how the run got there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vitreous.report import figures
from vitreous.report.course import Panels, assignment_panels, course_plots, fit_panels, size_panels
from vitreous.report.page import Page, card, image_tag
from vitreous.report.parts import (
    Run,
    accuracies_text,
    cost_section,
    duration_text,
    inputs_section,
    noise_figure,
    origins,
    resolution_axis,
    size_text,
)

BAR_A = 50.0  # scale bar of the thumbnails
OCCUPIED = 0.01  # classes with less than 1 % of the particles are folded away and left out of the curves


@dataclass(frozen=True, eq=False)
class Class2dRun(Run):
    """Everything that the report shows; particles need psi_deg.

    Attributes
    ----------
    class_images : (K, box, box) to show in place of the model's references, e.g. the unmasked ones
    """

    class_images: np.ndarray | None = None


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
    page = Page(run.title, run.subtitle)
    for text in run.warnings:
        page.warning(text)
    page.facts(_facts(run))
    _classes(page, run)
    if run.events:
        _course(page, run)
    _spectra(page, run)
    _particles(page, run)
    inputs_section(page, run)
    cost_section(page, run)
    return page.html()


def _facts(run) -> list[tuple[str, Any]]:
    share = run.shares
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
    if run.seconds:
        facts.append(("time", duration_text(run.seconds)))
    if run.peak_bytes:
        facts.append(("peak memory", size_text(run.peak_bytes)))
    return facts


def _classes(page: Page, run: Class2dRun) -> None:
    """The gallery, largest class first; nearly empty classes behind a fold."""
    model, share = run.model, run.shares
    images = model.references if run.class_images is None else run.class_images
    count = np.bincount(np.maximum(run.particles["class_number"], 0), minlength=model.n_classes + 1)[1:]
    bar = BAR_A / (model.box * model.pixel_size_A)
    shown, folded = [], []
    for k in run.order:
        lines = [
            f"<b>{100 * share[k]:.1f} %</b> #{k + 1}",
            f"{count[k]:,} particles",
            f"{model.class_resolution_A[k]:.1f} Å",
            f"<small>{accuracies_text(model, k)}</small>",
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
    page.section("Course of the run")
    page.figures(course_plots(run, _course_panels(run)))


def _course_panels(run: Class2dRun) -> list[Panels]:
    column = run.column
    resolutions = {"finest class": column("resolution_A")}
    per_class = column("class_resolution_A")
    if all(r is not None and w is not None for r, w in zip(per_class, column("class_weight"))):
        resolutions["median class"] = [_median_resolution(r, w) for r, w in zip(per_class, column("class_weight"))]
    changes = [
        ("angle, °", {"": column("change_angle_deg")}),
        ("origin, Å", {"": column("change_offset_A")}),
        ("class, fraction", {"": column("change_class")}),
    ]
    return [
        size_panels(run, resolutions, "averages"),
        assignment_panels(run),
        (changes, "Mean change of the particles' angle, origin and class since the iteration before.", ()),
        fit_panels(run),
    ]


def _median_resolution(resolution_A, weight) -> float:
    """Median over particles, not over classes: a class counts by its share."""
    resolution, weight = np.asarray(resolution_A, float), np.asarray(weight, float)
    order = np.argsort(resolution)
    reached = np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())
    return float(resolution[order][min(reached, len(order) - 1)])


def _spectra(page: Page, run: Class2dRun) -> None:
    """Signal to noise of the largest classes and the noise itself, over resolution."""
    model, share = run.model, run.shares
    frequency = np.arange(model.n_shells) / (model.box * model.pixel_size_A)
    limit = model.current_size_px // 2 + 1 if model.current_size_px else model.n_shells
    page.section("Spectra")
    with figures.styled() as (ssnr, (axis,)):
        for i, k in enumerate([k for k in run.order if share[k] >= OCCUPIED][:6]):
            values = np.where(model.data_vs_prior[k] > 0, model.data_vs_prior[k], np.nan)
            axis.plot(frequency[1:limit], values[1:limit], color=figures.COLOURS[i], label=f"#{k + 1}")
        axis.axhline(1, color=figures.SOFT, linewidth=1)
        axis.set(title="signal to noise ratio of the averages", yscale="log", ylim=(1e-2, None))
        resolution_axis(axis)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(ncols=2)
    page.figures(
        [
            (ssnr, "Where a curve falls below 1, the average holds more noise than signal: its resolution."),
            (noise_figure(model), "Estimated noise per Fourier component."),
        ]
    )


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
            origins(np.asarray(columns["shift_A"])),
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
