"""Kernels on images and their transforms: CTF, preparation, band, spectrum, noise. One thin function per kernel."""

from __future__ import annotations

import numpy as np

from vitreous.kernels import _check

N_CTF_PARAMETERS = 9


def ctf_image(be, fx_inv_A, fy_inv_A, parameters, even_phase_rad=None, *, intact_first_peak=False, phase_flipped=False,
              only_flip_phases=False, premultiplied=False, out=None):
    """CTF of every image at every frequency, positive at low frequency (white particles on dark).

    Parameters
    ----------
    fx_inv_A, fy_inv_A : (n_k,) float32 or float64   frequency, 1/A, after the magnification matrix; taken on the
        device as float64, so that hundreds of radians keep their digits
    parameters : (n_i, 9) float32 or float64         defocus_u_A, defocus_v_A, defocus_angle_deg,
        voltage_kV, Cs_mm, amplitude_contrast, phase_shift_deg, b_factor_A2, ctf_scale (made by
        ``model.ctf.parameter_table``); underfocus is positive
    even_phase_rad : (n_k,) float32 or None          added to every image's phase (even aberrations), rad
    intact_first_peak : 1 in place of the CTF before its first peak
    phase_flipped : the absolute value, for images whose phases were flipped
    only_flip_phases : the sign, +1 or -1
    premultiplied : the square, for images that were multiplied by their CTF

    Returns
    -------
    (n_i, n_k) float32               a row is NaN where its parameters are; absolute error 1e-6 times the envelope

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#ctf     Cost: O(n_i n_k)
    """
    fx, fy, table = (be.to_device(np.asarray(a, np.float64)) for a in (fx_inv_A, fy_inv_A, parameters))
    extra = be.empty(0, np.float32) if even_phase_rad is None else even_phase_rad
    shape = (len(table), len(fx))
    out = be.empty(shape, np.float32) if out is None else out
    _check(
        "ctf_image",
        fy_inv_A=(fy, fx.shape),
        parameters=(table, (None, N_CTF_PARAMETERS)),
        even_phase_rad=(extra, (0,) if even_phase_rad is None else fx.shape),
        out=(out, shape),
    )
    be.lib.ctf_image(fx, fy, table, extra, bool(intact_first_peak), bool(phase_flipped), bool(only_flip_phases),
                     bool(premultiplied), out)
    return out


def prepare_images(be, images, gain, shift_px, mask, noise=None, out=None):
    """Images made ready for their transform: multiplied, recentred by whole pixels, and a masked copy.

    Parameters
    ----------
    images : (n_i, b, b) float32
    gain : (n_i,) float32            factor of each image, e.g. average norm / its norm
    shift_px : (n_i, 2) int32        x, y; the content moves by +shift, pixels from outside the image are 0
    mask : (b, b) float32            1 inside, 0 outside
    noise : (n_i, b, b) float32 or None   fills the masked image where the mask is below 1; None: the image's own
        mean there, weighted with 1 - mask
    out : the two results to write into, or None

    Returns
    -------
    plain, masked : (n_i, b, b) float32

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#mask     Cost: O(n_i b^2)
    """
    box = (images.shape[-1],) * 2
    plain, masked = (be.empty(images.shape, np.float32) for _ in range(2)) if out is None else out
    fill = be.empty((0, *box), np.float32) if noise is None else noise
    _check(
        "prepare_images",
        images=(images, (None, *box)),
        gain=(gain, (len(images),)),
        shift_px=(shift_px, (len(images), 2)),
        mask=(mask, box),
        noise=(fill, (0, *box) if noise is None else images.shape),
        plain=(plain, images.shape),
        masked=(masked, images.shape),
    )
    be.lib.prepare_images(images, gain, shift_px, mask, fill, plain, masked)
    return plain, masked


def gather_band(be, ft, index, kx, ky, shift_px, box, phase=None, out=None):
    """Fourier coefficients of a band of pixels, on the scale of FT / b^2, referred to the centre pixel, shifted.

    Parameters
    ----------
    ft : (n_i, b, b//2 + 1) complex64    output of rfft2 without normalisation, b even
    index : (n_k,) int64             position of each pixel in one image's flattened ft
    kx, ky : (n_k,) float32          Fourier indices, at most b/2 in size
    shift_px : (n_i, 2) float32      x, y; the content moves by +shift
    box : int                        b
    phase : (2, n_k) float32 or None     factor of every image, real and imaginary plane (conjugate of the odd
        aberration's phase factor, detector MTF)

    Returns
    -------
    (n_i, 2, n_k) float32            real plane, imaginary plane

    Raises  ValueError: shapes disagree, box is odd, or a pixel lies outside the transform.
    Source: docs/equations.md#shift     Cost: O(n_i n_k)
    """
    shape, n_k = (len(ft), 2, len(index)), len(index)
    out = be.empty(shape, np.float32) if out is None else out
    factor = be.empty((2, 0), np.float32) if phase is None else phase
    _check_even("gather_band", box)
    _check(
        "gather_band",
        ft=(ft, (None, box, box // 2 + 1)),
        kx=(kx, (n_k,)),
        ky=(ky, (n_k,)),
        shift_px=(shift_px, (len(ft), 2)),
        phase=(factor, (2, 0) if phase is None else (2, n_k)),
        out=(out, shape),
    )
    be.lib.gather_band(ft, index, kx, ky, shift_px, factor, out)
    return out


def shell_power(be, ft, shell_of, n_shells, out=None):
    """Power of each image in each shell: the sum over its counted pixels of |FT / b^2|^2.

    Half of the mean over a shell is the variance per component, as in a noise spectrum.

    Parameters
    ----------
    ft : (n_i, b, b//2 + 1) complex64    output of rfft2 without normalisation
    shell_of : (b, b//2 + 1) int32       shell of each pixel; outside 0..n_shells-1 it is not counted
    n_shells : int

    Returns
    -------
    (n_i, n_shells) float64

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#noise     Cost: O(n_i b^2)
    """
    out = be.empty((len(ft), n_shells), np.float64) if out is None else out
    box = ft.shape[1]
    _check(
        "shell_power",
        ft=(ft, (None, box, box // 2 + 1)),
        shell_of=(shell_of, (box, box // 2 + 1)),
        out=(out, (len(ft), n_shells)),
    )
    be.lib.shell_power(ft, shell_of, out)
    return out


def coloured_noise(be, seed, ids, sigma, shell_of, box, out=None):
    """Transforms of Gaussian noise with a given spectrum; each is a pure function of the seed and its id.

    ``irfft2`` of the result (with its division by b^2) is the noise image.

    Parameters
    ----------
    seed : int                       0 to 2^64 - 1
    ids : (n_i,) uint64              e.g. particle numbers
    sigma : (n_shells,) float32      standard deviation per component of FT / b^2, i.e. sqrt(sigma2_noise)
    shell_of : (b, b//2 + 1) int32   shell of each pixel; outside 0..n_shells-1 there is no noise
    box : int                        b, even

    Returns
    -------
    (n_i, b, b//2 + 1) complex64     transform of a real image, on the scale of rfft2 without normalisation

    Raises  ValueError: shapes disagree or box is odd.     Source: docs/equations.md#noise     Cost: O(n_i b^2)
    """
    half_plane = (box, box // 2 + 1)
    out = be.empty((len(ids), *half_plane), np.complex64) if out is None else out
    _check_even("coloured_noise", box)
    _check("coloured_noise", shell_of=(shell_of, half_plane), out=(out, (len(ids), *half_plane)))
    be.lib.coloured_noise(int(seed), ids, sigma, shell_of, out)
    return out


def _check_even(kernel, box):
    """Phases are referred to pixel b/2 by a sign only where b is even."""
    if box % 2:
        raise ValueError(f"{kernel}: box is {box}, expected an even number; crop or pad the images by one pixel")
