"""Particle images as slices of a 3D transform: insertion into sums, and projections of a map as particles see it.

Source: docs/equations.md#slice3d, #sums
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from vitreous import kernels_image, kernels_volume
from vitreous.model import ctf as ctf_model
from vitreous.model.band import Band, round_half_up
from vitreous.model.optics import OpticsGroup
from vitreous.model.volume import VolumeLattice, slice_matrices


@dataclass(frozen=True)
class CtfChoice:
    """What is done about the contrast transfer; all False but ``use`` is the full CTF."""

    use: bool = False
    intact_first_peak: bool = False
    phase_flipped: bool = False
    only_flip_phases: bool = False


@dataclass(frozen=True, eq=False)
class ViewBatch:
    """Views of one optics group; n rows.

    Attributes
    ----------
    optics : the group
    rotation : (n, 3, 3) float64     reference to image
    shift_A : (n, 2) float64         to apply to the image so that it is centred
    ctf_parameters : (n, 9) float64  columns of model.ctf.PARAMETERS
    """

    optics: OpticsGroup
    rotation: np.ndarray
    shift_A: np.ndarray
    ctf_parameters: np.ndarray

    def __len__(self):
        return len(self.rotation)


@dataclass(frozen=True, eq=False)
class Grid:
    """How the images of an optics group sample a map's lattice.

    Attributes
    ----------
    band : Fourier pixels of the image
    ratio : samples of the unpadded map per Fourier pixel of the image
    """

    band: Band
    ratio: float
    kx: np.ndarray
    ky: np.ndarray

    @classmethod
    def of(cls, optics: OpticsGroup, lattice: VolumeLattice, pixel_size_A: float) -> Grid:
        """The pixels of a group's images that fall inside the lattice's radius; voxels of the map in A."""
        ratio = lattice.box * pixel_size_A / (optics.box * optics.pixel_size_A)
        band = Band(optics.box, min(optics.box / 2, lattice.radius_px / ratio + 1e-6))
        return cls(band, ratio, *band.k_float32())

    @property
    def gain(self) -> float:
        """Factor from slices of the map to transforms of images: FFT / box^2 is a mean over the box's area."""
        return self.ratio**2


def matrices(views: ViewBatch, grid: Grid, lattice: VolumeLattice) -> np.ndarray:
    """(n, 3, 2) float32: image frequency -> padded samples of the map."""
    return slice_matrices(views.rotation, views.optics.magnification, grid.ratio * lattice.ratio)


def contrast(be, views: ViewBatch, grid: Grid, choice: CtfChoice, premultiplied=None) -> np.ndarray:
    """(n, n_k) float32 CTF; the square of it where images were multiplied by it, 1 where nothing is to be done."""
    optics, band = views.optics, grid.band
    if not choice.use or optics.ctf_corrected:
        return np.ones((len(views), len(band)), np.float32)
    fx, fy = ctf_model.frequencies(band.kx, band.ky, optics.box, optics.pixel_size_A, optics.magnification)
    return kernels_image.ctf_image(
        be, fx, fy, views.ctf_parameters, ctf_model.even_phase(optics, fx, fy),
        intact_first_peak=choice.intact_first_peak,
        phase_flipped=choice.phase_flipped or optics.phase_flipped, only_flip_phases=choice.only_flip_phases,
        premultiplied=optics.premultiplied if premultiplied is None else premultiplied,
    )  # fmt: skip


def transforms(be, images, views: ViewBatch, grid: Grid) -> np.ndarray:
    """(n, 2, n_k) float32 centred transforms of images (n, box, box), aberrations of odd order taken out."""
    optics, band = views.optics, grid.band
    fx, fy = ctf_model.frequencies(band.kx, band.ky, optics.box, optics.pixel_size_A, optics.magnification)
    phase = ctf_model.demodulation(be, optics, fx, fy)
    shift_px = np.ascontiguousarray(views.shift_A / optics.pixel_size_A, np.float32)
    ft = scipy.fft.rfft2(images, workers=be.n_threads)
    return kernels_image.gather_band(be, ft, band.index, grid.kx, grid.ky, shift_px, optics.box, phase)


def insert(
    be, sums, images, views: ViewBatch, lattice: VolumeLattice, pixel_size_A: float, choice: CtfChoice, *, volume=None,
    weight=None, subtract_ft=None,
) -> None:  # fmt: skip
    """Add images to the sums of the volumes that they are slices of.

    Parameters
    ----------
    sums : (n_vol, nz, ny, nx, 3) float32      data and weight of ``lattice``; added to, in place
    images : (n, box, box) float32             white on dark
    pixel_size_A : voxel of the map
    volume : (n,) int32 or None                which of the volumes; None = the first
    weight : (n,) float or None                factor of each image in data and weight
    subtract_ft : (nz, ny, nx) complex64 or None   its projections are taken off the images first
    """
    grid = Grid.of(views.optics, lattice, pixel_size_A)
    matrix = matrices(views, grid, lattice)
    data = transforms(be, images, views, grid)
    ctf = contrast(be, views, grid, choice) * np.float32(grid.gain)
    squared = views.optics.premultiplied and choice.use and not views.optics.ctf_corrected
    if subtract_ft is not None:
        zeros = np.zeros(len(views), np.int32)
        slices = kernels_volume.project3d(be, subtract_ft[None], zeros, matrix, grid.kx, grid.ky, lattice.reach)
        data -= slices * ctf[:, None]
    if squared:  # images times CTF: the CTF is in the data already, and its square is what was asked for
        data *= np.float32(grid.gain)
        row_weight = ctf * np.float32(grid.gain)
    else:
        data *= ctf[:, None]
        row_weight = ctf * ctf
    if weight is not None:
        data *= np.asarray(weight, np.float32)[:, None, None]
        row_weight *= np.asarray(weight, np.float32)[:, None]
    volume = np.zeros(len(views), np.int32) if volume is None else np.ascontiguousarray(volume, np.int32)
    kernels_volume.backproject3d(be, data, row_weight, volume, matrix, grid.kx, grid.ky, lattice.reach, sums)


def project(
    be,
    volume_ft,
    views: ViewBatch,
    lattice: VolumeLattice,
    pixel_size_A: float,
    choice: CtfChoice,
    *,
    squared_ctf=False,
) -> np.ndarray:
    """Images of a map as particles show it: projected, times CTF and aberrations, with its centre at minus the shift.

    Parameters
    ----------
    volume_ft : (nz, ny, nx) complex64     transform of the map on ``lattice``
    pixel_size_A : voxel of the map
    squared_ctf : times the square of the CTF

    Returns
    -------
    (n, box, box) float32                  sums along the beam over voxels of the map, at the group's pixel and box
    """
    optics = views.optics
    grid = Grid.of(optics, lattice, pixel_size_A)
    zeros = np.zeros(len(views), np.int32)
    matrix = matrices(views, grid, lattice)
    rows = kernels_volume.project3d(be, volume_ft[None], zeros, matrix, grid.kx, grid.ky, lattice.reach)
    rows *= (contrast(be, views, grid, choice, premultiplied=squared_ctf) * np.float32(grid.gain))[:, None]
    return images_of(rows, views, grid, be)


def images_of(rows, views: ViewBatch, grid: Grid, be) -> np.ndarray:
    """(n, box, box) float32 images whose centred transforms after their shift are ``rows`` (n, 2, n_k)."""
    optics, band, n = views.optics, grid.band, len(views)
    values = rows[:, 0] + 1j * rows[:, 1]
    fx, fy = ctf_model.frequencies(band.kx, band.ky, optics.box, optics.pixel_size_A, optics.magnification)
    demodulation = ctf_model.demodulation(be, optics, fx, fy)
    if demodulation is not None:
        values *= demodulation[0] - 1j * demodulation[1]
    shift_px = views.shift_A / optics.pixel_size_A
    turns = (shift_px @ np.stack([band.kx, band.ky]).astype(float)) / optics.box
    values *= np.exp(2j * np.pi * turns).astype(np.complex64)
    values *= np.where((band.kx + band.ky) % 2, -1.0, 1.0).astype(np.float32) * optics.box**2
    ft = np.zeros((n, optics.box * (optics.box // 2 + 1)), np.complex64)
    ft[:, band.index] = values
    ft = ft.reshape(n, optics.box, -1)
    # The band holds one of each Friedel pair; on the column kx = 0 (and the Nyquist one) the mate is stored too.
    half = optics.box // 2
    ft[:, half + 1 :, 0] = ft[:, half - 1 : 0 : -1, 0].conj()
    return scipy.fft.irfft2(ft, s=(optics.box, optics.box), workers=be.n_threads)


def white_noise(rows, seed: int, box: int) -> np.ndarray:
    """(n, box, box) float32 noise of unit variance; each image is a function of the seed and its row (n,)."""
    generators = (np.random.Generator(np.random.Philox(key=[seed, int(row)])) for row in rows)
    return np.stack([g.standard_normal((box, box), np.float32) for g in generators])


def model_noise(be, rows, seed: int, sigma2, box: int) -> np.ndarray:
    """Noise images with a given spectrum; each is a function of the seed and its row.

    Parameters
    ----------
    rows : (n,) int64
    sigma2 : (n_shells,) float64     variance per component of FFT / box^2; the last shell's goes on to the corners

    Returns
    -------
    (n, box, box) float32
    """
    ky = np.fft.fftfreq(box, 1 / box)
    shell = round_half_up(np.hypot(np.arange(box // 2 + 1), ky[:, None]))
    shell_of = np.ascontiguousarray(np.minimum(shell, len(sigma2) - 1), np.int32)
    sigma = np.sqrt(sigma2).astype(np.float32)
    ft = kernels_image.coloured_noise(be, seed, np.asarray(rows).astype(np.uint64), sigma, shell_of, box)
    return scipy.fft.irfft2(ft, s=(box, box), workers=be.n_threads, overwrite_x=True)
