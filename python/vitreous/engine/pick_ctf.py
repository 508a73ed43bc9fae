"""The CTF of a micrograph on the frequencies of a square."""

from __future__ import annotations

import numpy as np

from vitreous.engine.pick_size import WorkSize, frequencies
from vitreous.kernels_image import ctf_image
from vitreous.model.ctf import even_zernike_phase
from vitreous.model.ctf import frequencies as optics_frequencies

SCALE, B_FACTOR = 8, 7  # columns of the parameters


def ctf_table(
    be, micrographs, row: int, size: WorkSize, n: int, *, intact_first_peak=False, only_before_peak=False
) -> np.ndarray:
    """CTF at the n lowest frequencies of the full square.

    Parameters
    ----------
    micrographs : with pixel_size_A and, for each micrograph, ctf (9,), magnification and even_zernike
    row : which micrograph
    n : side of the half transform
    intact_first_peak : 1 before the first peak
    only_before_peak : 1 after the first peak, and no envelope

    Returns
    -------
    (n, n//2 + 1) float32
    """
    ky, kx = np.broadcast_arrays(*frequencies(n))
    shape, ky, kx = ky.shape, ky.ravel(), kx.ravel()
    fx, fy = optics_frequencies(kx, ky, size.full, micrographs.pixel_size_A, micrographs.magnification[row])
    coefficients = micrographs.even_zernike[row]
    even = even_zernike_phase(coefficients, fx, fy).astype(np.float32) if any(coefficients) else None
    parameters = np.array(micrographs.ctf[row : row + 1], np.float64)
    if not only_before_peak:
        return be.to_host(ctf_image(be, fx, fy, parameters, even, intact_first_peak=intact_first_peak))[0].reshape(
            shape
        )
    parameters[:, SCALE], parameters[:, B_FACTOR] = 1, 0
    wave, intact = (be.to_host(ctf_image(be, fx, fy, parameters, even, intact_first_peak=i))[0] for i in (False, True))
    return np.where(wave == intact, np.float32(1), wave).reshape(shape)
