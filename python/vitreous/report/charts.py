"""Histograms and series drawn straight as SVG.

Loading a plotting library takes half a second of a core, more than picking a dozen micrographs does; programs that may
run for seconds draw with these. They look like ``figures``.
"""

from __future__ import annotations

from html import escape

import numpy as np

from vitreous.report.figures import ACCENT, edges_on_grid

WIDTH, HEIGHT = 403.0, 190.0  # px
LEFT, RIGHT, TOP, BOTTOM = 46.0, 8.0, 22.0, 34.0  # margins
LABEL, TICK, GRID, LINE = "#3a4450", "#5b6673", "#e8ecf1", "#8a94a0"


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> np.ndarray:
    """At most about ``most`` round numbers from low to high, in steps of 1, 2 or 5 times a power of ten."""
    raw = max((high - low) / most, 1 if whole else 1e-300)
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = np.ceil(low / step - 1e-9) + 0.0  # no -0
    return step * np.arange(first, np.floor(high / step + 1e-9) + 1)


def text_of(values: np.ndarray) -> list[str]:
    """Numbers with as many digits as their steps need."""
    step = abs(values[1] - values[0]) if len(values) > 1 else 1.0
    largest = np.abs(values).max() if len(values) else 0
    if largest >= 1e6 or step < 1e-4:
        return [f"{v:.3g}" for v in values]
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    return [f"{v:,.{digits}f}" for v in values]


class Axes:
    """Places of values on the drawing, and the frame around them."""

    def __init__(self, x_limits: tuple[float, float], y_high: float):
        self.x_low, self.x_high = x_limits
        self.y_high = y_high if y_high > 0 else 1.0

    def x(self, value):
        return LEFT + (np.asarray(value, float) - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - np.asarray(value, float) / self.y_high * (HEIGHT - TOP - BOTTOM)

    def draw(self, body: str, title: str, x_label: str, y_label: str, whole_x: bool = False, whole_y: bool = False) -> str:
        """The drawing as an <svg> element; ``body`` is between grid and frame."""
        across, up = ticks(self.x_low, self.x_high, whole=whole_x), ticks(0, self.y_high, 4, whole_y)
        base, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
        grid = "".join(f"M{x:.1f} {TOP}V{base}" for x in self.x(across))
        grid += "".join(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}" for y in self.y(up))
        words = [(x, base + 13, "middle", t) for x, t in zip(self.x(across), text_of(across))]
        words += [(LEFT - 5, y + 3, "end", t) for y, t in zip(self.y(up), text_of(up))]
        marks = "".join(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{a}">{t}</text>' for x, y, a, t in words)
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" font-size="9" font-family="sans-serif">'
            f'<path d="{grid}" stroke="{GRID}" stroke-width="0.8"/>{body}'
            f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="{LINE}" stroke-width="0.8"/>'
            f'<g fill="{TICK}">{marks}</g><g fill="{LABEL}"><text x="{LEFT}" y="13" font-size="9.5">{escape(title)}</text>'
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text></g></svg>'
        )


def histogram(values, label: str, y_label: str = "particles", n_bins: int = 40) -> str:
    """Counts of finite values as an <svg>; the outermost 0.2 % are gathered in the first and the last bin."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.1, 99.9]) if len(values) else (0.0, 1.0)
    edges = edges_on_grid(values, low, high if high > low else low + 1, n_bins)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    axes = Axes((edges[0], edges[-1]), 1.05 * counts.max(initial=0))
    tops, sides = axes.y(counts), axes.x(edges)
    steps = "".join(f"V{y:.1f}H{x:.1f}" for y, x in zip(tops, sides[1:]))
    body = f'<path d="M{sides[0]:.1f} {axes.y(0):.1f}{steps}V{axes.y(0):.1f}Z" fill="{ACCENT}" fill-opacity="0.85"/>'
    return axes.draw(body, label, "", y_label, whole_y=True)


def series(values, label: str, x_label: str) -> str:
    """Values in their order, counted from 1, as an <svg>; where there are few each has a dot."""
    values = np.asarray(values, float)
    axes = Axes((1, max(len(values), 2)), 1.05 * values.max(initial=0))
    xs, ys = axes.x(np.arange(1, len(values) + 1)), axes.y(values)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))
    body = f'<polyline points="{points}" fill="none" stroke="{ACCENT}" stroke-width="1.4" stroke-linejoin="round"/>'
    if len(values) <= 60:
        body += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{ACCENT}"/>' for x, y in zip(xs, ys))
    return axes.draw(body, label, x_label, "", whole_x=True, whole_y=True)
