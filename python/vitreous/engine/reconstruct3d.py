"""Maps to their transforms and back: zero padding, gridding correction, symmetry, Wiener reconstruction. 3D.

Transforms are pruned: each axis is padded, transformed and cropped in turn, so that the padded cube never exists. The
result is exact, a few times faster, and needs the memory of the kept sphere's cube.
Source: docs/equations.md#slice3d, #symmetry, #wiener
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from vitreous import kernels_volume
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice, interpolation_envelope, radius_px

CHUNK_BYTES = 64 << 20  # of an array that is transformed at once
ENVELOPE_BYTES = 64  # of a voxel while its envelope is worked out: eight arrays in double precision
EDGE_PX = 3  # of the sphere that removes a map's corners
FLOOR = 1000  # a divisor is at least this part of its ring's mean


# ---- map to transform ------------------------------------------------------------------------------------------------


def reference_transform(
    volume, lattice: VolumeLattice, n_threads: int = 1, *, low_cut_px: float = 0.0, for_slices: bool = True
):
    """Padded transform of a map, ready for slices.

    Parameters
    ----------
    volume : (box, box, box) float32       real space, centre at box//2
    low_cut_px : shells up to this are set to zero in the transform; 0 = none
    for_slices : divide by the envelope that interpolation will leave; False gives the map's own transform

    Returns
    -------
    (ny, ny, nx) complex64                 on the scale of FFT / box^2, phases referred to the centre
    (n_shells,) float64                    half the mean power per shell, before the cut: the variance per component
    """
    box, nx = lattice.box, lattice.nx
    volume = np.asarray(volume, np.float32)
    if volume.shape != (box,) * 3:
        raise ValueError(f"reference_transform: volume has shape {volume.shape}, expected {(box,) * 3}")
    out = np.zeros(lattice.shape, np.complex64)
    kept = min(nx - 1, lattice.side // 2)
    flat = np.empty((box, lattice.ny, nx), np.complex64)
    for planes in _chunks(box, 8 * lattice.side * lattice.side):
        values = volume[planes]
        if for_slices:
            values = values / interpolation_envelope(box, lattice.side, planes)
        half = _along_x(values, lattice, n_threads)
        flat[planes] = _along(half, 1, lattice, kept, n_threads)
    for rows in _chunks(lattice.ny, 8 * lattice.side * nx):
        out[:, rows] = _along(flat[:, rows], 0, lattice, kept, n_threads)
    return out, _finish(out, lattice, low_cut_px)


def _along_x(planes, lattice: VolumeLattice, n_threads: int) -> np.ndarray:
    """(n, box, box) real -> (n, box, nx) complex64 along the last axis."""
    ft = scipy.fft.rfft(planes, n=lattice.side, axis=-1, workers=n_threads)[..., : lattice.nx]
    out = np.zeros((*ft.shape[:-1], lattice.nx), np.complex64)
    out[..., : ft.shape[-1]] = ft * _centring(np.arange(ft.shape[-1]), lattice)
    return out


def _along(array, axis: int, lattice: VolumeLattice, kept: int, n_threads: int) -> np.ndarray:
    """Pad, transform and crop one axis: box samples -> ny frequencies, centred."""
    ft = scipy.fft.fft(array, n=lattice.side, axis=axis, workers=n_threads)
    k = np.arange(-kept, kept + 1)
    shape = list(array.shape)
    shape[axis] = lattice.ny
    out = np.zeros(shape, np.complex64)
    middle = lattice.ny // 2
    place = [slice(None)] * array.ndim
    place[axis] = slice(middle - kept, middle + kept + 1)
    phase = _centring(k, lattice).reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    out[tuple(place)] = np.take(ft, k % lattice.side, axis) * phase
    return out


def _centring(k, lattice: VolumeLattice) -> np.ndarray:
    """Phase factors that refer a transform of samples 0..box-1 to the centre box//2."""
    return np.exp(2j * np.pi * k * (lattice.box // 2) / lattice.side).astype(np.complex64)


def _finish(ft, lattice: VolumeLattice, low_cut_px: float) -> np.ndarray:
    """Scale a transform and clear it beyond the radius, in place; returns its spectrum."""
    sums, counts = np.zeros(lattice.n_shells), np.zeros(lattice.n_shells)
    for i in range(lattice.ny):
        distance = lattice.distance(i)
        inside = distance <= lattice.radius
        ft[i] *= (inside / lattice.box**2).astype(np.float32)
        shell = lattice.shell(distance[inside])
        values = ft[i][inside]
        power = 0.5 * (values.real.astype(np.float64) ** 2 + values.imag.astype(np.float64) ** 2)
        sums += np.bincount(shell, power, lattice.n_shells)
        counts += np.bincount(shell, minlength=lattice.n_shells)
        if low_cut_px:
            ft[i] *= distance > low_cut_px * lattice.ratio
    return sums / np.maximum(counts, 1)


# ---- sums to map -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reconstruction:
    """A map and what is known of its reliability; shells of the unpadded box."""

    volume: np.ndarray  # (box, box, box) float32
    data_vs_prior: np.ndarray  # (n_shells,)
    sigma2: np.ndarray  # (n_shells,) variance per component of what was averaged
    coverage: np.ndarray  # (n_shells,) share of samples with data at least as strong as the prior


def add_friedel_mates(sums) -> None:
    """Make the plane kx = 0 Hermitian: each sample takes the sum of itself and its conjugate mate, in place.

    Parameters
    ----------
    sums : (nz, ny, nx, 3) float32
    """
    plane = sums[:, :, 0]
    sums[:, :, 0] = plane + plane[::-1, ::-1] * np.array([1, -1, 1], np.float32)


def symmetrise(be, sums, lattice: VolumeLattice, symmetry: Symmetry) -> np.ndarray:
    """Sums completed by a point group's copies.

    Parameters
    ----------
    sums : (nz, ny, nx, 3) float32      the plane kx = 0 Hermitian; used as workspace

    Returns
    -------
    (nz, ny, nx, 3) float32             in the memory of the sums where that can be
    """
    interpolated, exact = (np.ascontiguousarray(r, np.float32) for r in symmetry.cosets)
    if len(interpolated) == 1:
        return sums if len(exact) == 1 else kernels_volume.symmetrise(be, sums, exact, lattice.reach)
    first = kernels_volume.symmetrise(be, sums, interpolated, lattice.reach)
    return first if len(exact) == 1 else kernels_volume.symmetrise(be, first, exact, lattice.reach, out=sums)


def complete(be, sums, lattice: VolumeLattice, symmetry: Symmetry) -> np.ndarray:
    """Sums as ``backproject3d`` leaves them with Friedel mates and a point group's copies; uses their memory."""
    add_friedel_mates(sums)
    return symmetrise(be, sums, lattice, symmetry)


@dataclass(frozen=True)
class _Bins:
    """Weights by distance, in bins of half a shell: what both shells and the rings between them are made of."""

    total: np.ndarray  # (n_bin,) float64
    count: np.ndarray  # (n_bin,) int64
    strong: np.ndarray  # (n_bin,) int64 samples with at least the weight asked for
    shell: np.ndarray  # (n_bin,) shell of each bin, at most box/2
    ring: np.ndarray  # (n_bin,) whole part of the distance, at most that of the radius

    @classmethod
    def of(cls, be, sums, lattice: VolumeLattice, least=None) -> _Bins:
        """``least`` (n_shells,): weight from which a sample is strong, None = never."""
        n_bin = int(2 * lattice.radius / lattice.ratio) + 1
        half = np.arange(n_bin)
        shell = np.minimum((half + 1) // 2, lattice.n_shells - 1)
        least = None if least is None else least[shell].astype(np.float32)
        found = kernels_volume.shell_weights(be, sums, lattice.radius, lattice.ratio, n_bin, least)
        return cls(*found, shell, half // 2)

    def over_shells(self, values, n_shells: int) -> np.ndarray:
        """(n_shells,) sums of ``values`` (n_bin,)."""
        return np.bincount(self.shell, values, n_shells)

    def mean_weight(self, n_shells: int) -> np.ndarray:
        return self.over_shells(self.total, n_shells) / np.maximum(self.over_shells(self.count, n_shells), 1)


def shell_mean_weight(be, sums, lattice: VolumeLattice) -> np.ndarray:
    """(n_shells,) float64 mean weight over the samples of each shell."""
    return _Bins.of(be, sums, lattice).mean_weight(lattice.n_shells)


def reconstruct(
    be,
    sums,
    lattice: VolumeLattice,
    *,
    symmetry: Symmetry | None = None,
    tau2=None,
    tau2_fudge: float = 1.0,
    minres_map: int = 5,
    mask_corners: bool = True,
    completed: bool = False,
) -> Reconstruction:
    """A map from summed data and weights: V = F / (W + 1 / (padding^3 T tau2)).

    Parameters
    ----------
    sums : (nz, ny, nx, 3) float32      as ``backproject3d`` leaves them, without mates or symmetry; changed
    symmetry : point group, None = C1
    tau2 : (n_shells,) float64          prior variance per component, 0 = none known; None gives the unregularised map
    tau2_fudge : T
    minres_map : shells below this get no prior
    mask_corners : replace what lies beyond the sphere in the box by its mean
    completed : the sums have mates and symmetry already (``complete``), and are left as they are

    Returns
    -------
    Reconstruction; zero where there are no data. Without tau2 data_vs_prior and coverage are 0

    Source: docs/equations.md#wiener     Cost: memory of sums once more, with a symmetry twice
    """
    symmetry = Symmetry("C1") if symmetry is None else symmetry
    sums = sums if completed else complete(be, sums, lattice, symmetry)
    prior, bins = _prior_and_bins(be, sums, lattice, tau2, tau2_fudge)
    data_vs_prior, sigma2, coverage = _reliability(prior, bins, lattice)
    prior[:minres_map] = 0
    ft = divide(be, sums, lattice, prior, bins)
    volume = inverse_transform(ft, lattice, be.n_threads)
    if mask_corners:
        soften_corners(volume)
    box = lattice.box
    for planes in _chunks(box, ENVELOPE_BYTES * box * box):
        volume[planes] /= interpolation_envelope(box, lattice.side, planes, symmetry.copies)
    return Reconstruction(volume, data_vs_prior, sigma2, coverage)


def _prior_and_bins(be, sums, lattice: VolumeLattice, tau2, tau2_fudge: float):
    """(n_shells,) weight of the prior, 0 = none, and the weights of completed sums by distance."""
    prior = np.zeros(lattice.n_shells)
    if tau2 is not None:
        known = np.asarray(tau2) > 0
        prior = np.where(known, 1 / np.where(known, lattice.ratio**3 * tau2_fudge * np.asarray(tau2, float), 1), 0)
    return prior, _Bins.of(be, sums, lattice, np.where(prior > 0, prior, np.inf))


def _reliability(prior, bins: _Bins, lattice: VolumeLattice):
    """data_vs_prior, sigma2 and coverage of a Reconstruction."""
    oc, n_shells = lattice.ratio**3, lattice.n_shells
    mean_weight = bins.mean_weight(n_shells)
    sigma2 = np.where(mean_weight > 0, 1 / np.where(mean_weight > 0, oc * mean_weight, 1), 0)
    data_vs_prior = np.where(prior > 0, mean_weight / np.where(prior > 0, prior, 1), 0)
    coverage = bins.over_shells(bins.strong, n_shells) / np.maximum(bins.over_shells(bins.count, n_shells), 1)
    return data_vs_prior, sigma2, coverage


def reliability(be, sums, lattice: VolumeLattice, tau2, tau2_fudge: float):
    """What is known of a map of completed sums, without making it: data_vs_prior, sigma2, coverage (n_shells,)."""
    return _reliability(*_prior_and_bins(be, sums, lattice, tau2, tau2_fudge), lattice)


def divide(be, sums, lattice: VolumeLattice, prior, bins: _Bins) -> np.ndarray:
    """(ny, ny, nx) complex64 data over weight and prior (n_shells,), on the scale of an unnormalised FFT.

    A floor of a thousandth of the ring's mean keeps samples that were hardly measured from dominating.
    """
    of_bin = prior[bins.shell]
    count = np.maximum(np.bincount(bins.ring, bins.count), 1)
    floor = np.bincount(bins.ring, bins.total + bins.count * of_bin) / count / FLOOR
    least = floor[bins.ring].astype(np.float32)
    scale = lattice.box**2
    return kernels_volume.wiener(be, sums, of_bin.astype(np.float32), least, lattice.radius, lattice.ratio, scale)


def inverse_transform(ft, lattice: VolumeLattice, n_threads: int = 1) -> np.ndarray:
    """Map of a padded half transform.

    Parameters
    ----------
    ft : (ny, ny, nx) complex64          on the scale of an unnormalised FFT, phases referred to the centre

    Returns
    -------
    (box, box, box) float32              cropped from the padded box
    """
    box, nx = lattice.box, lattice.nx
    kept = min(nx - 1, lattice.side // 2)
    columns = np.empty((box, lattice.ny, nx), np.complex64)
    for rows in _chunks(lattice.ny, 8 * lattice.side * nx):
        columns[:, rows] = _back_along(ft[:, rows], 0, lattice, kept, n_threads)
    volume = np.empty((box,) * 3, np.float32)
    n_x = min(nx, lattice.side // 2 + 1)
    phase = _centring(np.arange(n_x), lattice).conj()
    for planes in _chunks(box, 8 * lattice.side * lattice.side):
        half = _back_along(columns[planes], 1, lattice, kept, n_threads)[..., :n_x] * phase
        real = scipy.fft.irfft(half, n=lattice.side, axis=-1, workers=n_threads)
        volume[planes] = real[..., :box]
    return volume


def _back_along(array, axis: int, lattice: VolumeLattice, kept: int, n_threads: int) -> np.ndarray:
    """One axis: ny centred frequencies -> the first box samples of the padded inverse transform."""
    k = np.arange(-kept, kept + 1)
    shape = list(array.shape)
    shape[axis] = lattice.side
    padded = np.zeros(shape, np.complex64)
    middle = lattice.ny // 2
    phase = _centring(k, lattice).conj().reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    place = [slice(None)] * array.ndim
    place[axis] = k % lattice.side
    padded[tuple(place)] = np.take(array, k + middle, axis) * phase
    whole = scipy.fft.ifft(padded, axis=axis, workers=n_threads, overwrite_x=True)
    return np.take(whole, np.arange(lattice.box), axis)


def soften_corners(volume) -> None:
    """Beyond the sphere in the box, with an edge of three pixels outside it, the mean of what is there; in place."""
    box = len(volume)
    total = weight = 0.0
    for i in range(box):
        outside = _outside(box, i)
        total += float((volume[i] * outside).sum(dtype=np.float64))
        weight += float(outside.sum())
    mean = np.float32(total / weight if weight else 0.0)
    for i in range(box):
        outside = _outside(box, i)
        volume[i] += outside * (mean - volume[i])


def _outside(box: int, i_plane: int) -> np.ndarray:
    depth = np.clip((radius_px(box, slice(i_plane, i_plane + 1))[0] - box / 2) / EDGE_PX, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * depth)).astype(np.float32)


def _chunks(n: int, bytes_each: int):
    """Slices of 0..n of at most CHUNK_BYTES each."""
    step = max(1, CHUNK_BYTES // bytes_each)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
