"""The report of a 3D refinement or classification: resolution, maps, views, and how the run got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.engine.fsc import GOLD_STANDARD
from vitreous.model.rotation import angular_distance_deg, euler_to_matrix
from vitreous.model.symmetry import Symmetry
from vitreous.report import figures
from vitreous.report.course3d import course_section
from vitreous.report.maps import central_sections
from vitreous.report.page import Page, card, image_tag
from vitreous.report.parts import (
    NOT_ESTIMATED,
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
from vitreous.report.views import direction_density, share_of_densest, sphere_figure

BAR_A = 50.0  # scale bar of the pictures
OCCUPIED = 0.01  # classes with less than 1 % of the particles are folded away
ONE_MAP_PX, CLASS_PX = 224, 112  # widest pictures, so that the page stays below 5 MB
MOST_MAPS = 24  # classes with pictures
LAST_FACTS = (
    ("angular_step_deg", "last angular step", "°"),
    ("accuracy_deg", "accuracy of angles", "°"),
    ("accuracy_A", "accuracy of origins", " Å"),
)
CROWDED = 0.4  # warn when the densest tenth of the sphere holds more of the views


@dataclass(frozen=True, eq=False)
class Refine3dRun(Run):
    """Everything that the report shows; particles need euler_deg (n, 3): rot, tilt, psi.

    An event of an iteration may have: iteration, resolution_A, current_size_px, coarse_size_px, healpix_order,
    angular_step_deg, offset_step_A, offset_range_A, local, p_max, n_significant, change_angle_deg, change_offset_A,
    change_class, accuracy_deg, accuracy_A, sigma_offset_A, log_likelihood, class_weight, class_resolution_A, fsc,
    seconds. What is missing is left out.

    Attributes
    ----------
    fsc : name -> (S,) correlation per shell of the box, the one that counts first, e.g. "corrected", "unmasked"
    symmetry : point group
    maps : (K, box, box, box) to show in place of the model's references
    """

    fsc: Mapping[str, np.ndarray] = field(default_factory=dict)
    symmetry: str = "C1"
    maps: np.ndarray | Sequence[np.ndarray] | None = None

    @property
    def is_classification(self) -> bool:
        """Whether there are several maps."""
        return self.model.n_classes > 1


def columns_of(dataset, before=None, symmetry: str = "C1") -> dict[str, np.ndarray]:
    """The columns that the report needs of the usable particles of a ``model.dataset.Dataset``.

    Parameters
    ----------
    before : the dataset before the last iteration, for how far it turned and moved each particle; None leaves that out
    """
    usable, now = dataset.usable, dataset.particles
    names = ("class_number", "euler_deg", "shift_A", "p_max", "n_significant", "log_likelihood", "norm")
    columns = {name: getattr(now, name)[usable] for name in names}
    if before is not None:
        then = before.particles
        matrices = [euler_to_matrix(p.euler_deg[usable]) for p in (now, then)]
        columns["turned_deg"] = angular_distance_deg(*matrices, Symmetry.parse(symmetry).rotations)
        columns["moved_A"] = np.linalg.norm(now.shift_A[usable] - then.shift_A[usable], axis=1)
    return columns


def refine3d_report(run: Refine3dRun) -> str:
    """The page as HTML text; the caller writes it.

    Returns
    -------
    str     a complete document without outside parts, below 5 MB
    """
    page = Page(run.title, run.subtitle)
    parts = _views(run)
    for text in (*run.warnings, *_remarks(run, parts)):
        page.warning(text)
    page.facts(_facts(run))
    _maps(page, run)
    _resolution(page, run)
    if run.events:
        course_section(page, run)
    _angles(page, run, parts)
    _particles(page, run)
    inputs_section(page, run)
    cost_section(page, run)
    return page.html()


def _last(run: Run, name: str) -> Any:
    """The last value of an event's number; None where there is none."""
    return next((value for value in reversed(run.column(name)) if value is not None), None)


def _facts(run: Refine3dRun) -> list[tuple[str, Any]]:
    model, shares = run.model, run.shares
    occupied = shares >= OCCUPIED
    facts: list[tuple[str, Any]] = [("particles", len(run.particles["class_number"]))]
    if run.is_classification:
        finest = np.asarray(model.class_resolution_A)[occupied].min() if occupied.any() else np.inf
        facts += [
            ("classes with at least 1 %", f"{int(occupied.sum())} of {len(shares)}"),
            ("finest class", f"{finest:.1f} Å"),
        ]
    else:
        facts.append(("resolution", f"{model.current_resolution_A:.2f} Å"))
    facts += [("symmetry", run.symmetry), ("mean Pmax", f"{model.average_p_max:.2f}")]
    for name, label, unit in LAST_FACTS:
        value = _last(run, name)
        if value is not None and np.isfinite(value) and value < NOT_ESTIMATED:
            facts.append((label, f"{value:.3g}{unit}"))
    facts.append(("iterations", int(run.iterations[-1]) if run.events else 0))
    if run.seconds:
        facts.append(("time", duration_text(run.seconds)))
    if run.peak_bytes:
        facts.append(("peak memory", size_text(run.peak_bytes)))
    return facts


def _remarks(run: Refine3dRun, parts) -> list[str]:
    """What a user should look at, in sentences."""
    out = []
    curve = next(iter(run.fsc.values()), None)
    if curve is not None and len(curve) and np.all(np.asarray(curve) >= GOLD_STANDARD):
        out.append(
            "The FSC does not fall below 0.143 before Nyquist: the resolution is limited by the pixel size, or the "
            "half maps are not independent. Use less binning, and check that the halves never met."
        )
    if run.is_classification and run.shares.max() > 0.95:
        out.append("One class holds more than 95 % of the particles: the others are empty or hold what fits nowhere.")
    density = parts[0][1][0]
    if len(run.particles["euler_deg"]) >= 1000 and share_of_densest(density) > CROWDED:
        out.append(
            f"{100 * share_of_densest(density):.0f} % of the views lie in a tenth of the sphere: the map may be "
            "stretched along the views, and its resolution may differ between directions."
        )
    return out


# Maps


def _maps(page: Page, run: Refine3dRun) -> None:
    """Central sections and projections of each map, largest class first."""
    model, shares = run.model, run.shares
    maps = model.references if run.maps is None else run.maps
    counts = np.bincount(np.maximum(run.particles["class_number"], 0), minlength=model.n_classes + 1)[1:]
    text = (
        "Sections through the centre across z, y and x, then projections along them. Each picture has its own "
        f"contrast; the white bar is {BAR_A:g} Å."
    )
    page.section("Maps" if run.is_classification else "Map", text)
    most_px = CLASS_PX if run.is_classification else ONE_MAP_PX
    shown, folded = [], []
    for k in run.order[:MOST_MAPS]:
        lines = [f"<b>{model.class_resolution_A[k]:.2f} Å</b>"]
        if run.is_classification:
            lines = [
                f"<b>{100 * shares[k]:.1f} %</b> #{k + 1}",
                f"{counts[k]:,} particles",
                f"{model.class_resolution_A[k]:.1f} Å <small>{accuracies_text(model, k)}</small>",
            ]
        faint = run.is_classification and shares[k] < OCCUPIED
        share = shares[k] / max(shares.max(), 1e-9) if run.is_classification else None
        cards = map_cards(maps[k], model.pixel_size_A, f"class {k + 1}", lines, most_px, share, faint)
        (folded if faint else shown).append(cards)
    page.gallery(shown, min_rem=30 if run.is_classification else 44)
    if folded:
        page.gallery(folded, fold=f"{len(folded)} more with less than 1 % each", min_rem=30)
    if model.n_classes > MOST_MAPS:
        page.text(f"{model.n_classes - MOST_MAPS} smaller classes are not shown.")


def map_cards(volume, pixel_size_A: float, name: str, lines, most_px: int, share=None, faint: bool = False) -> str:
    """A card with three sections and three projections of a map, as HTML.

    Parameters
    ----------
    volume : (n, n, n) float
    lines : HTML under the pictures
    most_px : width of a picture at most
    """
    volume = np.nan_to_num(np.asarray(volume))
    bar = BAR_A / (len(volume) * pixel_size_A)
    bar = bar if bar < 1 else 0.0
    pictures = [
        image_tag(image, f"{name}, section across {axis}", bar, most_px) for axis, image in central_sections(volume)
    ]
    for axis, i_axis in (("z", 0), ("y", 1), ("x", 2)):
        pictures.append(image_tag(volume.sum(i_axis), f"{name}, projection along {axis}", bar, most_px))
    return card(pictures, lines, share, faint)


# Resolution


def fsc_figure(curves: Mapping[str, np.ndarray], box: int, pixel_size_A: float):
    """FSC curves over spatial frequency with the lines 0.143 and 0.5; the first is the one that counts.

    Parameters
    ----------
    curves : name -> (S,) correlation per shell of the box
    """
    with figures.styled(1, 3.4) as (figure, (axis,)):
        colours = (figures.ACCENT, figures.COLOURS[2], figures.COLOURS[1], figures.COLOURS[5], figures.COLOURS[3])
        low, high = 0.0, 1
        for i, (name, curve) in enumerate(curves.items()):
            curve = np.asarray(curve, float)
            axis.plot(np.arange(len(curve)) / (box * pixel_size_A), curve, color=colours[i % 5], label=name,
                      linewidth=2.2 if i == 0 else 1.3)  # fmt: skip
            low, high = min(low, np.nanmin(curve, initial=0.0)), max(high, len(curve) - 1)
        for level in (GOLD_STANDARD, 0.5):
            axis.axhline(level, color="#8a94a0", linewidth=0.9, linestyle="--")
            axis.annotate(f"{level:g}", (0, level), (2, 2), textcoords="offset points", fontsize=7.5, color="#5b6673")
        first = np.asarray(next(iter(curves.values())), float)
        below = np.flatnonzero(first[1:] < GOLD_STANDARD)
        if len(below) and below[0] > 0:  # the last shell before the first fall
            at = below[0] / (box * pixel_size_A)
            axis.axvline(at, color="#8a94a0", linewidth=0.9, linestyle=":")
            axis.annotate(
                f"{1 / at:.3g} Å", (at, 1.0), (3, -2), textcoords="offset points", fontsize=8, color="#3a4450"
            )
        axis.set(title="Fourier shell correlation", ylim=(max(low, -0.5) - 0.03, 1.03))
        axis.set_xlim(0, high / (box * pixel_size_A))
        resolution_axis(axis)
        if len(curves) > 1:
            axis.legend(loc="lower left", bbox_to_anchor=(0, 0.2))
    return figure


def _resolution(page: Page, run: Refine3dRun) -> None:
    model = run.model
    page.section("Resolution")
    plots = []
    curves = {name: curve for name, curve in run.fsc.items() if curve is not None and len(curve)}
    if curves:
        caption = (
            "Correlation of the half maps; the resolution is that of the last shell before it first falls below 0.143."
        )
        plots.append((fsc_figure(curves, model.box, model.pixel_size_A), caption))
    plots.append((_signal_figure(run), "Where a curve falls below 1, the map holds more noise than signal."))
    plots.append((noise_figure(model), "Estimated noise per Fourier component."))
    page.figures(plots)


def _signal_figure(run: Refine3dRun):
    """Signal to noise ratio of the largest classes over resolution."""
    model = run.model
    frequency = np.arange(model.n_shells) / (model.box * model.pixel_size_A)
    limit = model.current_size_px // 2 + 1 if model.current_size_px else model.n_shells
    with figures.styled() as (figure, (axis,)):
        for i, k in enumerate([k for k in run.order if run.shares[k] >= OCCUPIED][:6]):
            values = np.where(model.data_vs_prior[k] > 0, model.data_vs_prior[k], np.nan)
            axis.plot(frequency[1:limit], values[1:limit], color=figures.COLOURS[i], label=f"#{k + 1}")
        axis.axhline(1, color=figures.SOFT, linewidth=1)
        axis.set(
            title="signal to noise ratio of the map" + "s" * run.is_classification, yscale="log", ylim=(1e-2, None)
        )
        resolution_axis(axis)
        if run.is_classification and axis.get_legend_handles_labels()[0]:
            axis.legend(ncols=2)
    return figure


# Particles


def _views(run: Refine3dRun) -> list[tuple[str, tuple]]:
    """(title, density) on the sphere: of all particles, and of each of the largest classes."""
    euler, step = np.asarray(run.particles["euler_deg"]), _last(run, "angular_step_deg") or 0.0
    out = [("all particles", direction_density(euler, run.symmetry, step))]
    if run.is_classification:
        numbers = np.asarray(run.particles["class_number"])
        for k in [k for k in run.order if run.shares[k] >= OCCUPIED][:6]:
            out.append((f"#{k + 1}", direction_density(euler[numbers == k + 1], run.symmetry, step, 10)))
    return out


def _angles(page: Page, run: Refine3dRun, parts) -> None:
    page.section("Views")
    share = 100 * share_of_densest(parts[0][1][0])
    caption = (
        f"Density of viewing directions, with all that are equivalent under {run.symmetry}; 1 is even. The densest "
        f"tenth of the sphere holds {share:.0f} % of the views."
    )
    plots = [(sphere_figure([("viewing directions", parts[0][1])]), caption)]
    for i in range(1, len(parts), 2):
        names = " and ".join(title for title, _ in parts[i : i + 2])
        plots.append((sphere_figure(parts[i : i + 2]), f"Viewing directions of {names}."))
    psi = np.mod(np.asarray(run.particles["euler_deg"])[:, 2] + 180, 360) - 180
    plots.append((figures.histogram(psi, "in-plane angle, °", n_bins=36, limits=(-180, 180)),
                  "Should be flat for particles that lie any way round."))  # fmt: skip
    page.figures(plots)


def _particles(page: Page, run: Refine3dRun) -> None:
    """Distributions over the particles after the last iteration."""
    columns = run.particles
    page.section("Particles after the last iteration")
    plots = [
        (
            origins(np.asarray(columns["shift_A"])),
            "Shift that centres each particle; a ring or an edge means that the search range is too small.",
        ),
        (figures.histogram(columns["p_max"], "Pmax", limits=(0, 1)), "Probability of each particle's best assignment."),
    ]
    for name, label, caption in (
        ("turned_deg", "change of orientation, °", "How far the last iteration turned each particle: 0 is settled."),
        ("moved_A", "change of origin, Å", "How far the last iteration moved each particle."),
        ("n_significant", "significant samples", "Poses that the coarse pass could not rule out; few is sharp."),
        ("norm", "norm correction", "Outliers are often carbon, ice or aggregates."),
        ("log_likelihood", "log-likelihood", "The left tail holds particles that do not fit."),
    ):
        if len(columns.get(name, ())) and np.ptp(columns[name]) > 0:
            plots.append((figures.histogram(columns[name], label), caption))
    page.figures(plots)
