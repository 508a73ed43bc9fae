"""Optics on the frequencies of a band: magnification, aberration phases and the table that the CTF kernel reads.

The CTF's own formula is in csrc/include/vitreous/math/ctf.hpp. An optics group is anything with its attributes.
"""

from __future__ import annotations

from math import factorial

import numpy as np

# Columns of the kernel's table, in its order.
PARAMETERS = (
    "defocus_u_A",
    "defocus_v_A",
    "defocus_angle_deg",
    "voltage_kV",
    "Cs_mm",
    "amplitude_contrast",
    "phase_shift_deg",
    "b_factor_A2",
    "ctf_scale",
)
FROM_OPTICS = ("voltage_kV", "Cs_mm", "amplitude_contrast")


def parameter_table(ctf, groups, optics) -> np.ndarray:
    """CTF parameters of each row, the kernel's columns.

    Parameters
    ----------
    ctf : table of n rows with the columns of PARAMETERS; those of FROM_OPTICS may be None: the group's value holds
    groups : list of optics groups with voltage_kV, Cs_mm, amplitude_contrast
    optics : (n,) int                index of each row's group

    Returns
    -------
    (n, 9) float64
    """
    optics = np.asarray(optics)
    table = np.empty((len(optics), len(PARAMETERS)))
    for i, name in enumerate(PARAMETERS):
        own = getattr(ctf, name, None)
        if own is None and name in FROM_OPTICS:
            own = np.array([getattr(group, name) for group in groups], float)[optics]
        table[:, i] = own
    return table


def frequencies(kx, ky, box: int, pixel_size_A: float, magnification=((1, 0), (0, 1))) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies at which the optics act: M k / (box pixel).

    Parameters
    ----------
    kx, ky : (n_k,) int              Fourier indices
    magnification : (2, 2)           anisotropic magnification matrix M, the identity where there is none

    Returns
    -------
    fx, fy : (n_k,) float64          1/A
    """
    k = np.stack([np.asarray(kx, float), np.asarray(ky, float)])
    fx, fy = np.asarray(magnification, float) @ k / (box * pixel_size_A)
    return fx, fy


def even_zernike_phase(coefficients, fx_inv_A, fy_inv_A) -> np.ndarray:
    """Symmetric aberration phase, added to the phase of the CTF.

    Parameters
    ----------
    coefficients : (n,) float        rad; order Z0^0, Z2^-2, Z2^0, Z2^2, Z4^-4, ...
    fx_inv_A, fy_inv_A : (n_k,) float    after the magnification matrix

    Returns
    -------
    (n_k,) float64                   rad

    Source: docs/equations.md#zernike
    """

    def order(j):
        k = int(np.sqrt(j))
        return 2 * k, 2 * (j - k * k - k)

    return _zernike_sum(coefficients, order, fx_inv_A, fy_inv_A)


def odd_zernike_phase(coefficients, fx_inv_A, fy_inv_A) -> np.ndarray:
    """Antisymmetric aberration phase: an image's transform carries exp(i phase).

    Parameters
    ----------
    coefficients : (n,) float        rad; order Z1^-1, Z1^1, Z3^-3, Z3^-1, Z3^1, Z3^3, ...
    fx_inv_A, fy_inv_A : (n_k,) float    after the magnification matrix

    Returns
    -------
    (n_k,) float64                   rad

    Source: docs/equations.md#zernike
    """

    def order(j):
        k = int((np.sqrt(1 + 4 * j) - 1) / 2)
        return 2 * k + 1, 2 * (j - k * k - k) - (2 * k + 1)

    return _zernike_sum(coefficients, order, fx_inv_A, fy_inv_A)


def odd_coefficients(be, optics) -> np.ndarray:
    """The group's odd Zernike coefficients with its beam tilt folded in.

    Parameters
    ----------
    optics : group with odd_zernike, beam_tilt_mrad, voltage_kV, Cs_mm

    Returns
    -------
    (n,) float64                     rad; empty where there are none

    Source: docs/equations.md#zernike
    """
    own = np.asarray(optics.odd_zernike, float)
    if not any(optics.beam_tilt_mrad):
        return own
    out = np.zeros(max(len(own), 5))
    out[: len(own)] = own
    # Coma: -2 pi Cs lambda^2 |u|^2 (t . u). |u|^2 u is (Z3 + 2 Z1)/3. Cs in mm is 1e7 A, the tilt in mrad 1e-3.
    wavelength_A = be.lib.electron_wavelength_A(optics.voltage_kV)
    x, y = -2 * np.pi * optics.Cs_mm * 1e4 * wavelength_A**2 / 3 * np.asarray(optics.beam_tilt_mrad, float)
    out[[0, 1, 3, 4]] += 2 * y, 2 * x, y, x
    return out


def even_phase(optics, fx_inv_A, fy_inv_A) -> np.ndarray | None:
    """The table that ``ctf_image`` adds to the phase of every image of a group, or None where it has none.

    Returns
    -------
    (n_k,) float32                   rad
    """
    if not any(optics.even_zernike):
        return None
    return even_zernike_phase(optics.even_zernike, fx_inv_A, fy_inv_A).astype(np.float32)


def demodulation(be, optics, fx_inv_A, fy_inv_A) -> np.ndarray | None:
    """The factor exp(-i odd phase) that ``gather_band`` multiplies a group's images with, or None where it has none.

    Returns
    -------
    (2, n_k) float32                 real plane, imaginary plane
    """
    coefficients = odd_coefficients(be, optics)
    if not coefficients.any():
        return None
    phase = odd_zernike_phase(coefficients, fx_inv_A, fy_inv_A)
    return np.stack([np.cos(phase), -np.sin(phase)]).astype(np.float32)


def _zernike_sum(coefficients, order, fx, fy):
    """Sum of c_j Z_j with Z = R_n^|m|(|u|) cos(m phi) or, for m < 0, sin(|m| phi); |u| in 1/A, not scaled."""
    fx, fy = np.asarray(fx, float), np.asarray(fy, float)
    radius, azimuth = np.hypot(fx, fy), np.arctan2(fy, fx)
    out = np.zeros(fx.shape)
    for j, c in enumerate(coefficients):
        if c:
            n, m = order(j)
            out += c * _radial(n, abs(m), radius) * (np.cos(m * azimuth) if m >= 0 else np.sin(-m * azimuth))
    return out


def _radial(n, m, radius):
    """Zernike's radial polynomial, 1 at radius 1."""
    total = np.zeros_like(radius)
    for s in range((n - m) // 2 + 1):
        divisor = factorial(s) * factorial((n + m) // 2 - s) * factorial((n - m) // 2 - s)
        total += (-1) ** s * (factorial(n - s) // divisor) * radius ** (n - 2 * s)
    return total
