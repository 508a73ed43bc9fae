"""Plots that reports share: small, light, with room for the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import numpy as np

WIDTH_IN, HEIGHT_IN = 5.6, 2.9
# Room around the axes for ticks, labels and titles. A layout that measures its texts takes longer than all the drawing.
LEFT_IN, RIGHT_IN, BOTTOM_IN, TOP_IN, BETWEEN_IN = 0.62, 0.12, 0.48, 0.3, 0.55
ACCENT, SECOND, SOFT = "#1f6f8b", "#d98c1f", "#9aa5b1"
# Okabe and Ito's colours, told apart by colour-blind readers too, then lighter ones of the same hues
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c3e",
           "#7fb8d8", "#f2cf7f", "#7fcdb9", "#e5bcd3", "#eaae7f")  # fmt: skip
STYLE = {
    "font.size": 9, "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#8a94a0", "axes.labelcolor": "#3a4450", "xtick.color": "#5b6673", "ytick.color": "#5b6673",
    "axes.grid": True, "grid.color": "#e8ecf1", "grid.linewidth": 0.8, "axes.axisbelow": True, "lines.linewidth": 1.6,
    "legend.frameon": False, "legend.fontsize": 8, "axes.titlesize": 9.5,
    "axes.titlelocation": "left", "lines.solid_capstyle": "round",
}  # fmt: skip


@contextmanager
def styled(n_columns: int = 1, height_in: float = HEIGHT_IN, *, left_in: float = LEFT_IN, right_in: float = RIGHT_IN):
    """A figure and its axes, in the style of the reports; no display and no state of pyplot is touched.

    Parameters
    ----------
    left_in, right_in : room beside the axes, for long numbers and for words
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        width_in = (WIDTH_IN - left_in - right_in - BETWEEN_IN * (n_columns - 1)) / n_columns
        place = {
            "left": left_in / WIDTH_IN,
            "right": 1 - right_in / WIDTH_IN,
            "bottom": BOTTOM_IN / height_in,
            "top": 1 - TOP_IN / height_in,
            "wspace": BETWEEN_IN / width_in,
        }
        yield figure, figure.subplots(1, n_columns, squeeze=False, gridspec_kw=place)[0]


def curves(x, panels: Sequence[tuple[str, Mapping[str, Sequence]]], x_label: str, height_in: float = HEIGHT_IN, log=()):
    """One panel per (y label, {name: values}); a single curve of a panel goes without a legend.

    Parameters
    ----------
    x : (n,) common to all
    panels : values may hold None or NaN, where the line has a gap
    log : y labels whose axis is logarithmic
    """
    from matplotlib.ticker import EngFormatter

    with styled(len(panels), height_in) as (figure, axes):
        for axis, (y_label, lines) in zip(axes, panels):
            for i, (name, values) in enumerate(lines.items()):
                values = np.array([np.nan if v is None else v for v in values], float)
                axis.plot(
                    x,
                    values,
                    color=(ACCENT, SECOND, SOFT, "#009e73")[i % 4],
                    label=name,
                    marker="o" if len(values) < 2 else None,
                )
            axis.set(xlabel=x_label, title=y_label, yscale="log" if y_label in log else "linear")
            if y_label in log:
                _plain_log_ticks(axis)
            if len(lines) > 1:
                axis.legend()
            if np.nanmax(np.abs(axis.get_ylim())) >= 1e5:
                axis.yaxis.set_major_formatter(EngFormatter(sep=""))  # 12M, where a factor 1e7 would hide above
            if len(x) and np.all(np.asarray(x) == np.rint(x)):
                axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _plain_log_ticks(axis) -> None:
    """Ticks 1, 2, 5 in plain numbers on a logarithmic axis of less than two decades, instead of 6 x 10^-1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    if 0 < low < high < 100 * low:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def stacked_shares(x, shares, names: Sequence[str], rest_name: str, x_label: str):
    """Shares over x as a stack, largest at the bottom; what goes beyond the colours is one grey band.

    Parameters
    ----------
    shares : (n_x, n) float     each row sums to about 1; columns sorted by final size
    """
    shares = np.asarray(shares, float)
    top = min(len(COLOURS), shares.shape[1])
    bands = [shares[:, i] for i in range(top)]
    colours = list(COLOURS[:top])
    if shares.shape[1] > top:
        bands.append(shares[:, top:].sum(axis=1))
        colours.append("#d5dbe2")
    with styled(right_in=0.9) as (figure, axes):
        axis = axes[0]
        axis.stackplot(x, 100 * np.array(bands), colors=colours, linewidth=0.4, edgecolor="white")
        axis.set(xlabel=x_label, title="particles, %", ylim=(0, 100), xlim=(min(x), max(max(x), min(x) + 1)))
        axis.grid(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
        # labels stand beside the bands that are high enough to hold them
        ends = np.cumsum([100 * band[-1] for band in bands])
        for i, (end, band) in enumerate(zip(ends, bands)):
            if band[-1] > 0.035:
                axis.text(
                    1.01,
                    (end - 50 * band[-1]) / 100,
                    names[i] if i < top else rest_name,
                    fontsize=8,
                    va="center",
                    transform=axis.transAxes,
                    color="#3a4450",
                )
    return figure


def edges_on_grid(values, low: float, high: float, n_bins: int) -> np.ndarray:
    """About ``n_bins`` equal bins over low..high; where the values lie on a grid, each bin holds as many grid points.

    Angles and origins come from a search grid: bins that hold two points here and three there would draw a comb.
    """
    values = np.asarray(values, float)
    distinct, width = np.unique(np.round(values, 3)), (high - low) / n_bins
    if 1 < len(distinct) < len(values) / 4:
        step = float(np.median(np.diff(distinct)))
        width = step * max(1, round(width / step))
        low = distinct[0] - step / 2 + width * np.floor((low - distinct[0]) / width + 0.5)
    return low + width * np.arange(max(round((high - low) / width), 1) + 1)


def histogram(values, label: str, n_bins: int = 40, limits=None, height_in: float = 2.4):
    """Counts of finite values; without limits the outermost 0.2 % are gathered in the first and last bin."""
    with styled(1, height_in) as (figure, axes):
        draw_histogram(axes[0], values, label, n_bins, limits)
    return figure


def draw_histogram(axis, values, label: str, n_bins: int = 40, limits=None) -> None:
    """The histogram of ``histogram`` on given axes."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    low, high = limits if limits is not None else (np.percentile(values, [0.1, 99.9]) if len(values) else (0, 1))
    edges = edges_on_grid(values, low, high if high > low else low + 1, n_bins)
    axis.hist(np.clip(values, edges[0], edges[-1]), bins=edges, color=ACCENT, alpha=0.85)
    axis.set(title=label, ylabel="particles")
    axis.set_ylim(bottom=0)


def bars(x, parts: Mapping[str, Sequence[float]], y_label: str, x_label: str):
    """Stacked bars: part -> height at each x."""
    with styled() as (figure, axes):
        axis, bottom = axes[0], np.zeros(len(x))
        for i, (name, heights) in enumerate(parts.items()):
            axis.bar(x, heights, bottom=bottom, width=0.85, color=COLOURS[i % len(COLOURS)], label=name)
            bottom = bottom + np.asarray(heights, float)
        axis.set(title=y_label, xlabel=x_label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(parts) > 1:
            axis.legend(ncols=2)
    return figure
