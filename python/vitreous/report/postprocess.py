"""The page of a postprocessing: FSC curves, Guinier plot, sections of the map, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitreous.engine.fsc import GOLD_STANDARD, shell_resolution_A
from vitreous.engine.postprocess import Assessment, Sharpened
from vitreous.engine.sharpen import EMPTY_SHELL
from vitreous.report.figures import ACCENT, COLOURS, SOFT, histogram, styled
from vitreous.report.maps import option_table, section_cards
from vitreous.report.page import Page

CURVES = (
    ("corrected", "corrected", ACCENT, 2.2),
    ("unmasked", "unmasked", COLOURS[2], 1.4),
    ("masked", "masked", COLOURS[1], 1.4),
    ("randomised", "phases randomised, masked", COLOURS[5], 1.4),
    ("part_mass", "part volume, by mass", COLOURS[3], 1.0),
)
STEPS = (
    ("original", "original", SOFT),
    ("mtf", "detector undone", COLOURS[3]),
    ("weighted", "FSC-weighted", COLOURS[1]),
    ("sharpened", "sharpened", ACCENT),
)
LEVELLED_B_A2 = -1000.0  # a B-factor beyond this is a bad fit or poor data more often than a fact


def warnings_of(found: Assessment, made: Sharpened, b_is_given: bool = False) -> list[str]:
    """What a user should look at, in sentences; a B-factor of 0 is none that somebody gave."""
    out = []
    if found.mask_refused:
        out.append(
            "the unmasked FSC reaches further than the corrected one: the mask cuts into the molecule, or is wrong. "
            "The unmasked curve is used; make a wider mask, or force this one with --force_mask"
        )
    if found.mask_too_tight:
        out.append(
            "the maps with random phases still correlate at the resolution found: the mask is too tight or its edge "
            "too sharp; use a wider mask with a softer edge"
        )
    if found.shell == len(found.used) - 1:
        out.append(
            "the FSC does not fall below 0.143 before Nyquist: the resolution is limited by the pixel size; use less "
            "binning"
        )
    elif found.shell == 0:
        out.append("the FSC is below 0.143 from the first shell on: the half maps have nothing in common")
    if made.b_factor_A2 == 0 and not b_is_given:
        out.append("no B-factor was applied; give --auto_bfac or --adhoc_bfac to sharpen the map")
    elif made.fit is not None and made.b_factor_A2 > 0:
        out.append(
            f"the fitted B-factor is {made.b_factor_A2:.0f} A^2, which blurs the map: the range of the fit holds no "
            "fall-off; change --autob_lowres, or give --adhoc_bfac"
        )
    elif made.fit is not None and made.b_factor_A2 < LEVELLED_B_A2:
        out.append(
            f"the fitted B-factor is {made.b_factor_A2:.0f} A^2, more than data of this kind usually have: change "
            "--autob_lowres, or give --adhoc_bfac"
        )
    return out


def fsc_figure(found: Assessment):
    """FSC curves over spatial frequency, with the resolution marked."""
    frequency = np.arange(len(found.unmasked)) / (found.n * found.pixel_size_A)
    with styled(1, 3.4) as (figure, axes):
        axis = axes[0]
        for key, name, colour, width in CURVES:
            curve = getattr(found, key)
            if curve is not None:
                axis.plot(frequency, curve, color=colour, label=name, linewidth=width)
        axis.axhline(GOLD_STANDARD, color="#8a94a0", linewidth=0.9, linestyle="--")
        if found.shell > 0:
            axis.axvline(frequency[found.shell], color="#8a94a0", linewidth=0.9, linestyle=":")
            axis.annotate(
                f"{found.resolution_A:.3g} Å", (frequency[found.shell], 1.0), (3, -2), textcoords="offset points",
                fontsize=8, color="#3a4450",
            )  # fmt: skip
        low = min(0, *(getattr(found, key).min() for key, *_ in CURVES if getattr(found, key) is not None))
        axis.set(title="Fourier shell correlation", xlabel="resolution, Å", ylim=(max(low, -0.5) - 0.03, 1.03))
        axis.set_xlim(0, frequency[-1])
        ticks = np.linspace(0, frequency[-1], 7)[1:]
        axis.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
        axis.legend()
    return figure


def guinier_figure(found: Assessment, made: Sharpened):
    """Logarithm of the mean amplitude over 1/d^2 after each step, with the fitted line."""
    s2 = (np.arange(len(found.unmasked)) / (found.n * found.pixel_size_A)) ** 2
    with styled(1, 3.4) as (figure, axes):
        axis = axes[0]
        for key, name, colour in STEPS:
            if key in made.log_amplitudes:
                values = made.log_amplitudes[key]
                axis.plot(s2, np.where(values > EMPTY_SHELL, values, np.nan), color=colour, label=name)
        if made.fit is not None:
            axis.plot(
                s2, made.fit.intercept + made.fit.slope_A2 * s2, color="#3a4450", linewidth=0.9, linestyle="--",
                label=f"fit, B = {made.b_factor_A2:.0f} Å²",
            )  # fmt: skip
        axis.set(title="ln of the mean amplitude", xlabel="1/d², 1/Å²")
        axis.legend()
    return figure


def postprocess_report(
    names: tuple[str, str],
    found: Assessment,
    made: Sharpened,
    average: np.ndarray,
    mask: np.ndarray | None,
    mask_name: str | None,
    options: Iterable[Sequence[Any]],
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    names : of the half maps
    average : (nz, ny, nx) of the half maps, as they were
    mask, mask_name : or None
    options : (name, value, unit, who chose it)
    """
    page = Page(f"Resolution {found.resolution_A:.3g} Å", f"{names[0]} and {names[1]}")
    facts = [
        ("resolution at FSC 0.143", f"{found.resolution_A:.3g} Å"),
        ("between shells", f"{found.interpolated_A:.4g} Å"),
        ("B-factor", f"{made.b_factor_A2:.0f} Å²" if made.b_factor_A2 else "none"),
        ("pixel size", f"{found.pixel_size_A:g} Å"),
        ("mask", mask_name or "none"),
    ]
    page.facts(facts)
    for text in warnings_of(found, made):
        page.warning(text[0].upper() + text[1:] + ".")
    page.section("Resolution and fall-off")
    caption = "Corrected for the mask; the resolution is that of the last shell before the first fall below 0.143"
    if mask is None:
        caption = "Without a mask the solvent's noise counts; give --mask, or --auto_mask"
    page.figures([(fsc_figure(found), caption), (guinier_figure(found, made), "Guinier plot after each step")])
    page.section("Central sections", "Left to right across z, y and x.")
    cards = section_cards(average, "average") + section_cards(made.volume, "sharpened")
    if mask is not None:
        cards += section_cards(mask, "mask") + section_cards(made.volume * mask, "sharpened, masked")
    page.gallery(cards, min_rem=11)
    page.section("Curves")
    page.table(*curve_table(found), fold="all shells")
    option_table(page, options)
    return page.html()


def curve_table(found: Assessment) -> tuple[list[str], list[list[Any]]]:
    """Head and rows of the table of all shells."""
    columns = [(name, getattr(found, key)) for key, name, *_ in CURVES if getattr(found, key) is not None]
    resolution_A = shell_resolution_A(np.arange(len(found.unmasked)), found.n, found.pixel_size_A)
    rows = [
        [shell, f"{d:.4g}", *(f"{curve[shell]:.3f}" for _, curve in columns)] for shell, d in enumerate(resolution_A)
    ]
    return ["shell", "Å", *(name for name, _ in columns)], rows


def local_report(
    names: tuple[str, str],
    resolution_A: np.ndarray,
    filtered: np.ndarray,
    values_A: np.ndarray,
    mask_name: str | None,
    options: Iterable[Sequence[Any]],
) -> str:
    """The page of a local resolution as HTML text.

    Parameters
    ----------
    resolution_A, filtered : (nz, ny, nx) local resolution, 0 where unknown, and the map filtered by it
    values_A : (n,) local resolution inside the mask
    """
    page = Page("Local resolution", f"{names[0]} and {names[1]}")
    if len(values_A):
        low, middle, high = np.percentile(values_A, [5, 50, 95])
        page.facts([
            ("median", f"{middle:.3g} Å"), ("best 5 %", f"{low:.3g} Å"), ("worst 5 %", f"{high:.3g} Å"),
            ("mask", mask_name or "none"),
        ])  # fmt: skip
    where = "inside the mask" if mask_name else "wherever it is known; give --mask for the molecule alone"
    page.section("Distribution", f"Voxels {where}.")
    if len(values_A):
        figure = histogram(values_A, "local resolution, Å")
        figure.axes[0].set_ylabel("voxels")
        page.figures([(figure, "The resolution where the FSC inside a soft ball falls below 0.143")])
    page.section("Central sections", "In the resolution, dark is fine and bright is coarse; black is unknown.")
    page.gallery(section_cards(resolution_A, "resolution") + section_cards(filtered, "filtered"), min_rem=11)
    option_table(page, options)
    return page.html()
