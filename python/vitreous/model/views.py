"""Views: a particle in an exposure. The only place where pose, tilt, shift, defocus and dose become a view's geometry.

With R the rotation of the exposure's tilt, A that of the pose, p the particle's place, c the point about which the
source was tilted and s the particle's shift (to apply to it so that it is centred):
rotation = R A, origin = (R (p - s - c)) along x, y + the exposure's shift, depth = the same along z,
defocus = the exposure's + hand x depth. Source: docs/equations.md#view
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.model.ctf import PARAMETERS, parameter_table
from vitreous.model.rotation import euler_to_matrix, tilt_to_matrix


@dataclass(frozen=True, eq=False)
class Views:
    """n_v rows, particle by particle, each particle's exposures in their order.

    Attributes
    ----------
    particle : (n_v,) int64          index into the particles given
    exposure, source, optics : (n_v,) int64      rows of the exposures, sources and optics groups
    rotation : (n_v, 3, 3) float64   reference to image
    origin_A : (n_v, 2) float64      particle's centre in the exposure, x, y, relative to where c is projected
    shift_A : (n_v, 2) float64       centres the particle in a box that was cut where its unshifted place is projected
    depth_A : (n_v,) float64         along the beam, relative to c
    dose_e_A2 : (n_v,) float64       received before the exposure
    ctf : (n_v, 9) float64           the columns of model.ctf.PARAMETERS
    """

    particle: np.ndarray
    exposure: np.ndarray
    source: np.ndarray
    optics: np.ndarray
    rotation: np.ndarray
    origin_A: np.ndarray
    shift_A: np.ndarray
    depth_A: np.ndarray
    dose_e_A2: np.ndarray
    ctf: np.ndarray

    def __len__(self):
        return len(self.particle)


def pair(particle_source, exposure_source) -> tuple[np.ndarray, np.ndarray]:
    """Every particle with every exposure of its source.

    Parameters
    ----------
    particle_source : (n,) int
    exposure_source : (m,) int       those of one source together

    Returns
    -------
    particle, exposure : (n_v,) int64
    """
    particle_source, exposure_source = np.asarray(particle_source), np.asarray(exposure_source)
    order = np.argsort(exposure_source, kind="stable")
    first = np.searchsorted(exposure_source[order], particle_source, side="left")
    count = np.searchsorted(exposure_source[order], particle_source, side="right") - first
    particle = np.repeat(np.arange(len(particle_source)), count)
    within = np.arange(len(particle)) - np.repeat(np.cumsum(count) - count, count)
    return particle, order[np.repeat(first, count) + within]


def build(particles, exposures, groups, *, pivot_A=0.0, defocus_hand=1.0) -> Views:
    """The views of some particles.

    Parameters
    ----------
    particles : table with source, optics, euler_deg, shift_A, position_A or None, ctf or None. Its ctf is measured at
        the particle itself: it replaces the exposures' and takes no depth
    exposures : table with source, tilt_deg, shift_A, dose_e_A2, ctf
    groups : list of optics groups
    pivot_A : (3,) or (n_sources, 3) float   c, in the frame of position_A
    defocus_hand : scalar or (n_sources,) float   +1 or -1: sign of the depth in the defocus, times its slope if any

    Returns
    -------
    Views

    Raises  ValueError: a particle's source has no exposure.     Source: docs/equations.md#view
    """
    particle, exposure = pair(particles.source, exposures.source)
    missing = np.setdiff1d(particles.source, exposures.source)
    if len(missing):
        raise ValueError(f"views: source {missing[0]} has particles but no exposure; "
                         "remove its particles or give the source's exposures")
    source = np.asarray(particles.source, np.int64)[particle]
    optics = np.asarray(particles.optics, np.int64)[particle]
    tilt = tilt_to_matrix(exposures.tilt_deg)[exposure]
    shift = _in_3d(particles.shift_A)[particle]
    place = _place(particles, particle, pivot_A, source)
    unshifted, moved = _apply(tilt, place), _apply(tilt, shift)
    centre = unshifted - moved
    hand = np.asarray(defocus_hand, float)
    hand = hand[source] if hand.ndim else hand
    return Views(
        particle, exposure, source, optics,
        rotation=tilt @ euler_to_matrix(particles.euler_deg)[particle],
        origin_A=centre[:, :2] + np.asarray(exposures.shift_A)[exposure],
        shift_A=moved[:, :2],
        depth_A=centre[:, 2],
        dose_e_A2=np.asarray(exposures.dose_e_A2)[exposure],
        ctf=_ctf(particles, exposures, groups, particle, exposure, optics, hand * centre[:, 2]),
    )


def _in_3d(shift_A):
    """2D shifts are shifts in the plane."""
    shift_A = np.asarray(shift_A, float)
    return np.pad(shift_A, ((0, 0), (0, 3 - shift_A.shape[1])))


def _place(particles, particle, pivot_A, source):
    pivot = np.asarray(pivot_A, float)
    pivot = pivot[source] if pivot.ndim == 2 else pivot
    if particles.position_A is None:
        return np.broadcast_to(-pivot, (len(particle), 3)).astype(float)
    return np.asarray(particles.position_A, float)[particle] - pivot


def _apply(matrices, vectors):
    return np.einsum("vij,vj->vi", matrices, vectors)


def _ctf(particles, exposures, groups, particle, exposure, optics, defocus_A):
    if particles.ctf is not None:
        return parameter_table(_Rows(particles.ctf, particle), groups, optics)
    table = parameter_table(_Rows(exposures.ctf, exposure), groups, optics)
    table[:, [PARAMETERS.index("defocus_u_A"), PARAMETERS.index("defocus_v_A")]] += defocus_A[:, None]
    return table


@dataclass(frozen=True)
class _Rows:
    """Some rows of a table whose columns may be None."""

    table: object
    rows: np.ndarray

    def __getattr__(self, name):
        column = getattr(self.table, name, None)
        return None if column is None else np.asarray(column)[self.rows]
