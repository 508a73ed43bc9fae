"""Particles at their own poses, as the search for principal volumes sees them: what is left of them without the mean map.

Source: docs/equations.md#principal
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vitreous import kernels_volume
from vitreous.engine import em
from vitreous.engine.plan import Plan
from vitreous.engine.reconstruct3d import inverse_transform, reconstruct, reference_transform
from vitreous.model.masks import soft_sphere
from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice, slice_matrices

# A direction of a view's nuisance with less than this of the largest one's length is rounding, not a direction.
LEAST_DIRECTION = 1e-3
# Bytes of a view's pixel: the data, the transfer, and the nuisance of contrast, three rotations and two shifts.
BYTES_PER_PIXEL = 8 + 4 + 6 * 8


@dataclass(frozen=True, eq=False)
class Space:
    """Where the volumes live: a box of the map's extent with fewer voxels, a ball in it, and the point group of all."""

    lattice: VolumeLattice
    mask: np.ndarray  # (b, b, b) float32
    symmetry: Symmetry

    @classmethod
    def of(cls, box: int, radius_px: int, padding: float, radius_of_mask: float, edge: float, symmetry: Symmetry) -> Space:
        """Volumes out to ``radius_px`` of a map's transform, with half as many voxels again as that needs.

        Parameters
        ----------
        box : of the map, px
        radius_of_mask, edge : of the ball, as shares of the box
        """
        small = min(box, 2 * -(-3 * radius_px // 2))
        return cls(VolumeLattice(small, padding, radius_px), soft_sphere(small, radius_of_mask * small, edge * small), symmetry)


@dataclass(frozen=True, eq=False)
class Views:
    """Particles of one optics group; n rows, m directions of nuisance."""

    row: np.ndarray  # (n,) int64 identity
    data: np.ndarray  # (n, 2, n_k) float32 centred, masked transforms; after ``residuals`` without the mean, over the noise
    transfer: np.ndarray  # (n, n_k) float32 what slices are multiplied with, over the noise; 0 at the origin
    matrix: np.ndarray  # (n, 3, 2) float32 image frequency -> padded samples
    kx: np.ndarray  # (n_k,) float32
    ky: np.ndarray
    shell: np.ndarray  # (n_k,) int32
    i_optics: int
    nuisance: np.ndarray  # (n, m, 2 n_k) float32 orthonormal or zero: what errors of contrast and pose change

    def __len__(self):
        return len(self.row)


def views_of(be, plan: Plan, space: Space, batch: em.Batch, euler_deg) -> Views:
    """A batch as views.

    Parameters
    ----------
    plan : of a model with the space's box (``initial.start_plan``)
    euler_deg : (n, 3) float64
    """
    data = em.prepare(be, plan, batch)
    geometry = data.geometry
    transfer = data.model_ctf * np.float32(geometry.gain)
    transfer[:, 0] = 0
    matrix = matrices(plan, space, batch.optics, euler_deg)
    kx, ky = geometry.band.k_float32()
    none = np.zeros((len(batch), 0, 2 * len(kx)), np.float32)
    return Views(batch.row, data.masked, transfer, matrix, kx, ky, geometry.shell, batch.i_optics, none)


def matrices(plan: Plan, space: Space, optics: OpticsGroup, euler_deg) -> np.ndarray:
    """(n, 3, 2) float32: image frequency of an optics group -> padded samples, at orientations (n, 3) in degrees."""
    scale = plan.geometry(optics).ratio * space.lattice.ratio
    return slice_matrices(euler_to_matrix(euler_deg), optics.magnification, scale)


def transforms(be, space: Space, volumes) -> np.ndarray:
    """(q, ny, ny, nx) complex64 of volumes (q, b, b, b)."""
    return np.stack([reference_transform(v, space.lattice, be.n_threads)[0] for v in volumes])


def slices(be, space: Space, volume_ft, views: Views) -> np.ndarray:
    """(n, q, 2 n_k) float32: what each view shows of volumes (q, ny, ny, nx)."""
    q, n = len(volume_ft), len(views)
    which, matrix = np.tile(np.arange(q, dtype=np.int32), n), np.repeat(views.matrix, q, 0)
    found = kernels_volume.project3d(be, volume_ft, which, matrix, views.kx, views.ky, space.lattice.reach)
    return (found.reshape(n, q, 2, -1) * views.transfer[:, None, None]).reshape(n, q, -1)


def insert(be, space: Space, rows, weight, views: Views, sums) -> None:
    """Add rows (n, q, 2 n_k), each weighted (n, q) in the sums' weight, to the sums (q, ny, ny, nx, 3) of q volumes."""
    n, q = weight.shape
    which, matrix = np.tile(np.arange(q, dtype=np.int32), n), np.repeat(views.matrix, q, 0)
    data = np.asarray(rows, np.float32).reshape(n, q, 2, -1) * views.transfer[:, None, None]
    row_weight = np.asarray(weight, np.float32)[..., None] * (views.transfer**2)[:, None]
    flat = lambda x: np.ascontiguousarray(x.reshape(n * q, *x.shape[2:]))
    reach = space.lattice.reach
    kernels_volume.backproject3d(be, flat(data), flat(row_weight), which, matrix, views.kx, views.ky, reach, sums)


def solved(be, space: Space, sums, tau2) -> np.ndarray:
    """(q, b, b, b) float32 masked volumes of sums, with the prior ``tau2`` (n_shells,) or None."""
    how = {"symmetry": space.symmetry, "tau2": tau2, "minres_map": 0, "mask_corners": False}
    return np.stack([reconstruct(be, s, space.lattice, **how).volume for s in sums]) * space.mask


def no_sums(space: Space, q: int) -> np.ndarray:
    """(q, ny, ny, nx, 3) float32 zeros."""
    return np.zeros((q, *space.lattice.shape, 3), np.float32)


def mean_map(be, space: Space, parts: list[Views], add: Callable) -> np.ndarray:
    """(b, b, b) float32: the map of all views."""
    sums = no_sums(space, 1)
    for views in parts:
        insert(be, space, views.data[:, None], np.ones((len(views), 1)), views, sums)
    return solved(be, space, add(sums), None)[0]


def residuals(be, space: Space, parts: list[Views], mean, n_optics: int, add: Callable) -> list[Views]:
    """The views without the mean map, over the noise of each shell of their optics group, and blind to their nuisance.

    Parameters
    ----------
    add : sum over processes
    """
    ft, n_shells = transforms(be, space, mean[None]), space.lattice.n_shells
    power, count, rest = np.zeros((n_optics, n_shells)), np.zeros((n_optics, n_shells)), []
    for views in parts:
        data = views.data - slices(be, space, ft, views)[:, 0].reshape(views.data.shape)
        rest.append(replace(views, data=data))
        power[views.i_optics] += np.bincount(views.shell, 0.5 * (data.astype(float) ** 2).sum((0, 1)), n_shells)
        count[views.i_optics] += np.bincount(views.shell, minlength=n_shells) * len(views)
    sigma = np.sqrt(add(power) / np.maximum(add(count), 1))
    inv_sigma = np.divide(1, sigma, out=np.zeros_like(sigma), where=sigma > 0).astype(np.float32)
    ft = transforms(be, space, np.concatenate([mean[None], turns(mean)]))
    return [blinded(be, space, ft, scaled(v, inv_sigma[v.i_optics][v.shell])) for v in rest]


def scaled(views: Views, factor) -> Views:
    """Views whose pixels are multiplied by a factor (n_k,)."""
    return replace(views, data=views.data * factor, transfer=views.transfer * factor)


def turns(volume) -> np.ndarray:
    """(3, b, b, b) float32: how a map changes with rotation about x, y and z, per radian."""
    b = len(volume)
    k = np.fft.fftfreq(b)
    k[b // 2] = 0  # its derivative is not real
    ft = np.fft.fftn(volume)
    along = lambda axis: np.fft.ifftn(2j * np.pi * np.expand_dims(k, [a for a in range(3) if a != axis]) * ft).real
    (dz, dy, dx), (z, y, x) = (along(a) for a in range(3)), np.indices(volume.shape) - b // 2
    return np.stack([y * dz - z * dy, z * dx - x * dz, x * dy - y * dx]).astype(np.float32)


def blinded(be, space: Space, ft, views: Views) -> Views:
    """Views with directions of nuisance, and their data without them.

    Parameters
    ----------
    ft : (4, ny, ny, nx) complex64 of the mean map, and of its changes with rotation
    """
    n = len(views)
    seen = slices(be, space, ft, views).reshape(n, 4, 2, -1)
    turned = np.stack([-seen[:, 0, 1], seen[:, 0, 0]], 1)  # i times the mean: a shift multiplies by 1 - 2 pi i k.s / box
    directions = np.concatenate([seen, (turned * views.kx)[:, None], (turned * views.ky)[:, None]], 1).reshape(n, 6, -1)
    length = np.linalg.norm(directions, axis=2, keepdims=True)
    directions = np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)
    _, size, basis = np.linalg.svd(directions, full_matrices=False)
    basis[size < LEAST_DIRECTION * size[:, :1]] = 0
    views = replace(views, nuisance=np.ascontiguousarray(basis, np.float32))
    return replace(views, data=without_nuisance(views, views.data.reshape(n, 1, -1)).reshape(views.data.shape))


def without_nuisance(views: Views, rows) -> np.ndarray:
    """Rows (n, q, 2 n_k) of the views less their part along the nuisance."""
    return rows - (rows @ np.swapaxes(views.nuisance, 1, 2)) @ views.nuisance


def in_box(be, space: Space, volume, box: int) -> np.ndarray:
    """(box, box, box) float32: a volume of the space on the map's grid, with the same projections."""
    ft, _ = reference_transform(volume, space.lattice, be.n_threads, for_slices=False)
    lattice = VolumeLattice(box, space.lattice.padding, space.lattice.radius_px)
    return inverse_transform(ft * np.float32(box**2), lattice, be.n_threads)
