"""References to their transforms and back: zero padding, gridding correction, Wiener reconstruction. 2D.

Half transforms have columns kx = 0.. and rows ky centred (row ky + ny//2), in samples of the padded box.
Source: docs/equations.md#slice, #wiener
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from vitreous.model.band import round_half_up
from vitreous.model.lattice import PaddedLattice
from vitreous.model.masks import soft_circle


class Lattice(PaddedLattice):
    """The lattice of a 2D box: row ky + ny//2.

    Attributes
    ----------
    distance : (ny, nx) float64    |R| of each sample, in samples of the padded box
    shell : (ny, nx) int32         shell of the unpadded box of each sample
    inside : (ny, nx) bool         |R| <= radius
    sign : (ny, nx) float32        1 or -1: refers phases to the centre of the box in place of its corner, and back
    """

    RIM = 3  # the 2D kernels ask for a whole sample beyond the reach

    @property
    def shape(self) -> tuple[int, int]:
        return self.ny, self.nx

    @cached_property
    def distance(self) -> np.ndarray:
        y, x = np.mgrid[-(self.nx - 1) : self.nx, : self.nx]
        return np.hypot(x, y)

    @cached_property
    def shell(self) -> np.ndarray:
        return round_half_up(self.distance / self.ratio)

    @cached_property
    def inside(self) -> np.ndarray:
        return self.distance <= self.radius

    @cached_property
    def sign(self) -> np.ndarray:
        y, x = np.mgrid[-(self.nx - 1) : self.nx, : self.nx]
        return np.where((x + y) % 2, -1.0, 1.0).astype(np.float32)


def gridding_correction(box: int, padding: float) -> np.ndarray:
    """(box, box) sinc^2 of the distance from the centre: what bilinear interpolation does to the map."""
    x = np.arange(box) - box // 2
    return np.sinc(np.hypot(x[:, None], x[None, :]) / (box * padding)) ** 2


def reference_transform(
    references, lattice: Lattice, n_threads: int = 1, low_cut_px: float = 0.0, *, for_slices: bool = True
):
    """Padded transforms of 2D references, ready for slices.

    Parameters
    ----------
    references : (K, box, box) float32     real space, centre at box//2
    low_cut_px : shells up to this are set to zero in the transforms; 0 = none
    for_slices : divide by what interpolation will leave of the map; False gives the references' own transforms

    Returns
    -------
    (K, ny, nx) complex64                  on the scale of FFT / box^2, phases referred to the centre
    (K, n_shells) float64                  half the mean power per shell, before the cut: the variance per component

    """
    box, side, nx = lattice.box, lattice.side, lattice.nx
    corrected = references / gridding_correction(box, side / box).astype(np.float32) if for_slices else references
    padded = np.zeros((len(references), side, side), np.float32)
    first = side // 2 - box // 2
    padded[:, first : first + box, first : first + box] = corrected
    ft = scipy.fft.rfft2(padded, workers=n_threads)
    out = np.zeros((len(references), lattice.ny, nx), np.complex64)
    n = min(nx - 1, side // 2)
    out[:, nx - 1 : nx + n, : n + 1] = ft[:, : n + 1, : n + 1]
    out[:, nx - 1 - n : nx - 1, : n + 1] = ft[:, side - n :, : n + 1]
    out *= (lattice.inside / box**2).astype(np.float32) * lattice.sign
    power = shell_mean(0.5 * (out.real.astype(np.float64) ** 2 + out.imag.astype(np.float64) ** 2), lattice)
    if low_cut_px:  # after the power: the prior on what is reconstructed holds for all shells
        out *= lattice.distance * box / side > low_cut_px
    return out, power


def shell_mean(values, lattice: Lattice, mask=None) -> np.ndarray:
    """Mean over the samples of each shell.

    Parameters
    ----------
    values : (K, ny, nx) float64
    mask : (ny, nx) bool     samples that count; those inside the lattice's radius by default

    Returns
    -------
    (K, box//2 + 1) float64     0 where a shell has no sample
    """
    mask = lattice.inside if mask is None else mask
    n_shells = lattice.box // 2 + 1
    shell = np.minimum(lattice.shell[mask], n_shells)
    count = np.bincount(shell, minlength=n_shells + 1)[:n_shells]
    sums = np.stack([np.bincount(shell, v[mask], n_shells + 1)[:n_shells] for v in values])
    return sums / np.maximum(count, 1)


def add_friedel_mates(data, weight):
    """Make the column kx = 0 Hermitian: each sample takes the sum of itself and its conjugate mate, in place.

    Parameters
    ----------
    data : (K, ny, nx, 2) float64, weight : (K, ny, nx) float64
    """
    column, mates = data[:, :, 0], data[:, ::-1, 0] * np.array([1.0, -1.0])
    data[:, :, 0] = column + mates
    weight[:, :, 0] = weight[:, :, 0] + weight[:, ::-1, 0]


@dataclass(frozen=True)
class Reconstruction:
    """Maps and what is known of their reliability; shells of the unpadded box."""

    maps: np.ndarray  # (K, box, box) float32
    data_vs_prior: np.ndarray  # (K, S)
    sigma2: np.ndarray  # (K, S)
    coverage: np.ndarray  # (K, S)


def wiener(
    data, weight, tau2, lattice: Lattice, *, tau2_fudge=1.0, minres_map=5, use_prior=True, n_threads=1
) -> Reconstruction:
    """Maps from summed data and weights: V = F / (W + 1 / (oc T tau2)), oc = padding^2.

    Parameters
    ----------
    data : (K, ny, nx, 2) float64    sums of w ctf X / sigma^2; the mates already added
    weight : (K, ny, nx) float64     sums of w ctf^2 / sigma^2
    tau2 : (K, S) float64            prior variance per component; 0 = none known, a shell without prior and with SSNR 0
    tau2_fudge : T
    minres_map : shells below this get no prior
    use_prior : False gives the unregularised map

    Returns
    -------
    Reconstruction; classes without data are zero

    Source: docs/equations.md#wiener
    """
    weight = np.where(lattice.inside, weight, 0)
    inverse_prior = prior_weights(tau2, lattice, tau2_fudge)
    known = reliability(weight, inverse_prior, lattice)
    if use_prior:
        weight = weight + np.where(lattice.shell >= minres_map, inverse_prior, 0)
    maps = soft_corners(inverse_transform(_divide(data, weight, lattice), lattice, n_threads))
    maps = (maps / gridding_correction(lattice.box, lattice.ratio)).astype(np.float32)
    return Reconstruction(maps, *known)


def prior_weights(tau2, lattice: Lattice, tau2_fudge: float) -> np.ndarray:
    """(K, ny, nx) float64 weight of the prior, 1 / (oc T tau2), at each sample.

    Where the reference is empty there is none: the data alone decide, and no signal is claimed.
    """
    known = np.asarray(tau2) > 0
    of_shell = np.where(known, 1 / np.where(known, lattice.ratio**2 * tau2_fudge * tau2, 1), 0)
    return of_shell[:, np.minimum(lattice.shell, lattice.box // 2)]


def reliability(weight, inverse_prior, lattice: Lattice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K, S) data_vs_prior, sigma2 and coverage of a Reconstruction.

    Parameters
    ----------
    weight : (K, ny, nx) float64           the mates already added; zero beyond the radius
    inverse_prior : (K, ny, nx) float64    of ``prior_weights``
    """
    mean_weight = shell_mean(weight, lattice)
    ratio = np.where(lattice.inside & (inverse_prior > 0), weight / np.where(inverse_prior > 0, inverse_prior, 1), 0)
    sigma2 = np.where(mean_weight > 0, 1 / np.where(mean_weight > 0, lattice.ratio**2 * mean_weight, 1), 0)
    return shell_mean(ratio, lattice), sigma2, shell_mean((ratio >= 1).astype(np.float64), lattice)


def _divide(data, weight, lattice: Lattice) -> np.ndarray:
    """(K, ny, nx) complex64 data over weight, on the scale of an unnormalised FFT."""
    box, side, inside = lattice.box, lattice.side, lattice.inside
    ring = np.minimum(np.floor(lattice.distance * box / side).astype(int), int(lattice.radius * box / side))
    count = np.bincount(ring[inside])
    out = np.zeros(weight.shape, np.complex64)
    for k in range(len(data)):
        # a floor of a thousandth of the ring's mean keeps samples that were hardly measured from dominating
        floor = (np.bincount(ring[inside], weight[k][inside]) / np.maximum(count, 1) / 1000)[
            np.minimum(ring, len(count) - 1)
        ]
        divisor = np.maximum(weight[k], floor)
        value = (data[k, ..., 0] + 1j * data[k, ..., 1]) / np.where(divisor > 0, divisor, 1)
        out[k] = np.where(inside & (divisor > 0), value, 0) * box**2
    return out


def inverse_transform(ft, lattice: Lattice, n_threads: int = 1) -> np.ndarray:
    """Images of padded half transforms.

    Parameters
    ----------
    ft : (K, ny, nx) complex64         on the scale of an unnormalised FFT, phases referred to the centre

    Returns
    -------
    (K, box, box) float32              cropped from the padded box
    """
    box, side, nx = lattice.box, lattice.side, lattice.nx
    values = ft * lattice.sign
    n = min(nx - 1, side // 2)
    whole = np.zeros((len(ft), side, side // 2 + 1), np.complex64)
    whole[:, : n + 1, : n + 1] = values[:, nx - 1 : nx + n, : n + 1]
    whole[:, side - n :, : n + 1] = values[:, nx - 1 - n : nx - 1, : n + 1]
    padded = scipy.fft.irfft2(whole, s=(side, side), workers=n_threads, overwrite_x=True)
    first = side // 2 - box // 2
    return padded[:, first : first + box, first : first + box]


def soft_corners(maps) -> np.ndarray:
    """(K, box, box): beyond the circle in the box, with a soft edge, the mean of what is there."""
    box = maps.shape[-1]
    corners = 1 - soft_circle(box, box / 2, 3)
    outside = np.tensordot(maps, corners, 2) / corners.sum()
    return maps * (1 - corners) + outside[:, None, None] * corners


def low_pass(references, pixel_size_A: float, resolution_A: float, n_threads: int = 1) -> np.ndarray:
    """Raised-cosine low-pass: 1 below shell N a / d - 1, 0 above that + 2.

    Parameters
    ----------
    references : (K, box, box) float32

    Returns
    -------
    (K, box, box) float32
    """
    box = references.shape[-1]
    ft = scipy.fft.rfft2(references, workers=n_threads)
    radius = np.hypot(np.fft.fftfreq(box, 1 / box)[:, None], np.arange(box // 2 + 1)[None, :])
    depth = np.clip((radius - (box * pixel_size_A / resolution_A - 1)) / 2, 0, 1)
    ft *= (0.5 + 0.5 * np.cos(np.pi * depth)).astype(np.float32)
    return scipy.fft.irfft2(ft, s=(box, box), workers=n_threads).astype(np.float32)
