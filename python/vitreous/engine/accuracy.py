"""How accurately poses can be told apart: the error at which a class's slices differ beyond the noise. Source: docs/equations.md#accuracy"""

from __future__ import annotations

import math

import numpy as np

from vitreous import kernels
from vitreous.engine.plan import Geometry, Plan, slice_matrices

# Two poses count as distinct where their squared difference over the noise reaches -log(0.01).
DISTINCT = -math.log(0.01)
ANGLES_DEG = np.concatenate([np.arange(0.05, 0.2, 0.05), np.arange(0.2, 1, 0.1), np.arange(1, 2, 0.2), np.arange(2, 5, 0.5),
                             np.arange(5, 10, 1), np.arange(10, 20, 2), np.arange(20, 30.1, 5)])
SHIFTS_PX = np.concatenate([np.arange(0.1, 1, 0.1), np.arange(1, 2, 0.2), np.arange(2, 5, 0.5), np.arange(5, 10.1, 1)])


def accuracies(be, plan: Plan, geometry: Geometry, ctf2, half_inv_var):
    """Rotational and translational accuracy of every class, the mean over some particles.

    A particle enters only through its CTF, whose astigmatism is taken at angle 0: the slice at any in-plane angle
    differs from a turned one as the unturned slices do.

    Parameters
    ----------
    ctf2 : (n, n_k) float            squared CTF (times scale) of some particles of this geometry
    half_inv_var : (n_k,) float      1 / (2 sigma^2)

    Returns
    -------
    (K,) deg, (K,) A                 999 for classes with less than 1% of the particles
    """
    model, n_k = plan.model, geometry.n_fine
    kx, ky = (np.ascontiguousarray(k[:n_k], np.float32) for k in (geometry.band.kx, geometry.band.ky))
    matrix = slice_matrices(np.concatenate([[0.0], ANGLES_DEG]), geometry, plan.lattice)
    weight = (np.asarray(ctf2)[:, :n_k] * half_inv_var[:n_k]).astype(np.float64)
    weight[:, 0] = 0
    turns = SHIFTS_PX[:, None] * kx / geometry.optics.box
    moved = 4 * np.sin(np.pi * turns) ** 2  # |1 - exp(-2 pi i k s / n)|^2
    rotation, shift = np.full(model.n_classes, 999.0), np.full(model.n_classes, 999.0)
    for k in np.flatnonzero(model.class_weight >= 0.01):
        class_of = np.full(len(matrix), k, np.int32)
        slices = kernels.project(be, plan.reference_ft, class_of, matrix, kx, ky, plan.lattice.radius).astype(np.float64) * geometry.gain
        rotation[k] = first_distinct(((slices[1:] - slices[0]) ** 2).sum(1) @ weight.T, ANGLES_DEG)
        shift[k] = first_distinct((moved * (slices[0] ** 2).sum(0)) @ weight.T, SHIFTS_PX) * geometry.optics.pixel_size_A
    return rotation, shift


def first_distinct(difference, errors) -> float:
    """Mean over particles of the least error whose difference is distinct; the largest error where none is.

    Parameters
    ----------
    difference : (n_errors, n_particles) float64
    """
    distinct = difference > DISTINCT
    first = np.where(distinct.any(0), distinct.argmax(0), len(errors) - 1)
    return float(errors[first].mean())
