"""Where particles are seen from: the density of viewing directions on the sphere."""

from __future__ import annotations

import numpy as np

from vitreous.model.symmetry import Symmetry
from vitreous.report import figures

MOST_DIRECTIONS = 1_000_000  # equivalent directions that are counted; more would not change the picture
FEW = 12.0  # wanted counts per bin, so that chance alone does not make the picture patchy


def direction_density(euler_deg, symmetry: str = "C1", step_deg: float = 0.0, least_deg: float = 5.0):
    """Views per solid angle, relative to views spread evenly.

    Parameters
    ----------
    euler_deg : (n, 3) float         rot, tilt, psi of the particles
    symmetry : point group           all equivalent directions count, so the whole sphere is filled
    step_deg : angular step of the search; bins are wider, or the search grid would show
    least_deg : smallest width of a bin

    Returns
    -------
    density : (n_tilt, n_rot) float64        1 = even; bins of equal solid angle
    rot_edges_deg : (n_rot + 1,) float64     -180 to 180
    tilt_edges_deg : (n_tilt + 1,) float64   0 to 180, even in the cosine
    """
    group = Symmetry.parse(symmetry)
    euler_deg = np.asarray(euler_deg, float)
    euler_deg = euler_deg[np.isfinite(euler_deg).all(1)]
    every = max(1, -(-len(euler_deg) * group.order // MOST_DIRECTIONS))
    mates = group.expand(euler_deg[::every]).reshape(-1, 3)
    width = max(least_deg, 1.5 * step_deg, 360 * np.sqrt(FEW / np.pi / max(len(mates), 1)))
    n_rot = max(8, int(360 / width))
    n_tilt = max(4, round(n_rot / np.pi))
    rot_edges, cos_edges = np.linspace(-180, 180, n_rot + 1), np.linspace(-1, 1, n_tilt + 1)
    rot, cos_tilt = (mates[:, 0] + 180) % 360 - 180, np.cos(np.radians(mates[:, 1]))
    counts = np.histogram2d(cos_tilt, rot, bins=(cos_edges, rot_edges))[0][::-1]
    return counts / max(counts.mean(), 1e-30), rot_edges, np.degrees(np.arccos(cos_edges[::-1]))


def share_of_densest(density, part: float = 0.1) -> float:
    """Share of the views that the densest ``part`` of the sphere holds; ``part`` for even views."""
    values = np.sort(np.ravel(density))[::-1]
    n = max(1, round(part * values.size))
    return float(values[:n].sum() / max(values.sum(), 1e-30))


def sphere_figure(parts):
    """Density on the whole sphere, in a projection that keeps areas.

    Parameters
    ----------
    parts : [(title, (density, rot_edges_deg, tilt_edges_deg))]     one sphere each, side by side
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(figures.WIDTH_IN, 3.1 if len(parts) == 1 else 1.9), dpi=150, layout="constrained")
        axes = figure.subplots(1, len(parts), squeeze=False, subplot_kw={"projection": "mollweide"})[0]
        high = max(2.0, *(float(np.percentile(density, 99)) for _, (density, *_) in parts))
        for axis, (title, (density, rot, tilt)) in zip(axes, parts):
            mesh = axis.pcolormesh(np.radians(rot), np.radians(90 - tilt), density, cmap="viridis", vmin=0, vmax=high,
                                   rasterized=True)  # fmt: skip
            axis.grid(color="white", alpha=0.25, linewidth=0.5)
            axis.set_title(title, fontsize=9)
            axis.set_xticks(np.radians([-90, 0, 90]), ["-90°", "rot 0°", "90°"], color="white", fontsize=7)
            axis.set_yticks(np.radians([60, 30, 0, -30, -60]), ["30°", "60°", "tilt 90°", "120°", "150°"], fontsize=7)
        bar = figure.colorbar(mesh, ax=list(axes), shrink=0.75, pad=0.02)
        bar.set_label("relative to even", fontsize=8)
        bar.outline.set_visible(False)
    return figure
