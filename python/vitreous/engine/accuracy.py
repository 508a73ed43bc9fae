"""How accurately poses can be told apart: the error at which slices differ beyond the noise. Source: docs/equations.md#accuracy"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from vitreous import kernels, kernels_volume
from vitreous.engine.plan import Geometry, Plan, slice_matrices

# Two poses count as distinct where their squared difference over the noise reaches -log(0.01).
DISTINCT = -math.log(0.01)
ANGLES_DEG = np.concatenate(
    [
        np.arange(0.05, 0.2, 0.05),
        np.arange(0.2, 1, 0.1),
        np.arange(1, 2, 0.2),
        np.arange(2, 5, 0.5),
        np.arange(5, 10, 1),
        np.arange(10, 20, 2),
        np.arange(20, 30.1, 5),
    ]
)
SHIFTS_PX = np.concatenate([np.arange(0.1, 1, 0.1), np.arange(1, 2, 0.2), np.arange(2, 5, 0.5), np.arange(5, 10.1, 1)])


# Slices of so many classes are cut in one call.
CLASSES_PER_CALL = 8


def accuracies(be, plan: Plan, geometry: Geometry, ctf2, half_inv_var):
    """Rotational and translational accuracy of every class, for a particle with the mean squared CTF.

    The CTF's astigmatism is averaged over the particles, so the slice at any in-plane angle differs from a turned one as
    the unturned slices do.

    Parameters
    ----------
    ctf2 : (n_k,) float              mean squared CTF (times scale) of some particles of this geometry
    half_inv_var : (n_k,) float      1 / (2 sigma^2)

    Returns
    -------
    (K,) deg, (K,) A                 999 for classes with less than 1% of the particles
    """
    model, n_k = plan.model, geometry.n_fine
    kx, ky = geometry.band.k_float32(n_k)
    turned = slice_matrices(np.concatenate([[0.0], ANGLES_DEG]), geometry, plan.lattice)
    weight = (np.asarray(ctf2)[:n_k] * half_inv_var[:n_k] * geometry.gain**2).astype(np.float32)
    weight[0] = 0
    moved = (
        4 * np.sin(np.pi * SHIFTS_PX[:, None] * kx / geometry.optics.box).astype(np.float32) ** 2
    )  # |1 - exp(-2 pi i k s / n)|^2
    rotation, shift = np.full(model.n_classes, 999.0), np.full(model.n_classes, 999.0)
    populated = np.flatnonzero(model.class_weight >= 0.01)
    for first in range(0, len(populated), CLASSES_PER_CALL):
        classes = populated[first : first + CLASSES_PER_CALL].astype(np.int32)
        rows = np.repeat(classes, len(turned))
        slices = kernels.project(
            be, plan.reference_ft, rows, np.tile(turned, (len(classes), 1, 1)), kx, ky, plan.lattice.reach
        )
        slices = slices.reshape(len(classes), len(turned), 2, n_k)
        for k, own in zip(classes, slices):
            rotation[k] = first_distinct(
                np.einsum("ack,ack,k->a", own[1:] - own[0], own[1:] - own[0], weight), ANGLES_DEG
            )
            power = np.einsum("ck,ck,k->k", own[0], own[0], weight)
            shift[k] = first_distinct(np.einsum("sk,k->s", moved, power), SHIFTS_PX) * geometry.optics.pixel_size_A
    return rotation, shift


def first_distinct(difference, errors) -> float:
    """The least error whose difference is distinct; the largest error where none is.

    Parameters
    ----------
    difference, errors : (n,) float
    """
    distinct = np.asarray(difference) > DISTINCT
    return float(errors[distinct.argmax()] if distinct.any() else errors[-1])


def accuracies_3d(be, plan, geometry: Geometry, ctf2, half_inv_var, orientations):
    """Rotational and translational accuracy of every class: the mean over some particles' orientations.

    A particle's pose is turned about an axis of its own, the same in every iteration, by growing angles.

    Parameters
    ----------
    ctf2 : (n_k,) float, half_inv_var : (n_k,) float     as in ``accuracies``
    orientations : (n, 3, 3) float64                     reference to image

    Returns
    -------
    (K,) deg, (K,) A
    """
    model, n_k = plan.model, geometry.n_fine
    kx, ky = geometry.band.k_float32(n_k)
    weight = (np.asarray(ctf2)[:n_k] * half_inv_var[:n_k] * geometry.gain**2).astype(np.float32)
    weight[0] = 0
    axes = np.random.Generator(np.random.Philox(key=[0, 6])).normal(size=(len(orientations), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.concatenate([[0.0], ANGLES_DEG])
    moved = 4 * np.sin(np.pi * SHIFTS_PX[:, None] * kx / geometry.optics.box).astype(np.float32) ** 2
    rotation, shift = np.full(model.n_classes, 999.0), np.full(model.n_classes, 999.0)
    for k in np.flatnonzero(model.class_weight >= 0.01):
        found = []
        for own, axis in zip(orientations, axes):
            turns = Rotation.from_rotvec(np.radians(angles)[:, None] * axis).as_matrix()
            matrix = plan.slice_matrices(turns @ own, geometry)
            slices = kernels_volume.project3d(
                be, plan.reference_ft, np.full(len(angles), k, np.int32), matrix, kx, ky, plan.lattice.reach
            )
            difference = slices[1:] - slices[0]
            power = np.einsum("ck,ck,k->k", slices[0], slices[0], weight)
            found.append(
                (
                    first_distinct(np.einsum("ack,ack,k->a", difference, difference, weight), ANGLES_DEG),
                    first_distinct(np.einsum("sk,k->s", moved, power), SHIFTS_PX),
                )
            )
        rotation[k], shift[k] = np.mean(found, 0)
        shift[k] *= geometry.optics.pixel_size_A
    return rotation, shift
