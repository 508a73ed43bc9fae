"""Figures and the page of a selection: which classes, how many particles, and how they differ from the rest."""

from __future__ import annotations

import io

import numpy as np

from vitreous.report.figures import ACCENT, STYLE, styled


def counts_figure(edges, heights, x_label: str, y_label: str):
    """Bars of a histogram, with what lies below and above the bins at its ends.

    Parameters
    ----------
    edges : (n + 1,) float64
    heights : (n + 2,)                      below, in each bin, from the last edge on
    """
    edges, heights = np.asarray(edges, float), np.asarray(heights, float)
    width = edges[1] - edges[0]
    left = np.r_[edges[0] - width, edges]
    with styled() as (figure, axes):
        axes[0].bar(left, heights, width=0.95 * width, align="edge", color=ACCENT)
        axes[0].set(title=y_label, xlabel=x_label)
        axes[0].set_ylim(bottom=0)
    return figure


def eps(figure) -> bytes:
    """A figure as encapsulated PostScript."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="eps")
    return buffer.getvalue()
