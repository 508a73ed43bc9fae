"""What the microscope and the camera did to all images of one optics group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IDENTITY = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True)
class OpticsGroup:
    """Optical parameters shared by many images; compared and hashed by value.

    Parameters
    ----------
    name : unique name, the key by which tables are joined
    number : number in the STAR file, 1-based
    voltage_kV, Cs_mm, amplitude_contrast : acceleration voltage, spherical aberration, fraction 0..1
    pixel_size_A : of the images as they are now
    box : side of the images, px; dimensionality : 2 for images, 3 for subtomograms
    beam_tilt_mrad : (2,) x, y
    odd_zernike, even_zernike : phase-aberration coefficients, rad (order: docs/equations.md#zernike); empty = none
    magnification : (2, 2) nested tuples, the anisotropic magnification matrix; the identity = none
    premultiplied, phase_flipped, ctf_corrected : what was already done to the images
    mtf_file : STAR file with the detector's MTF, empty = none
    original_pixel_size_A : of the raw movie; 0 = not known
    """

    name: str
    number: int
    voltage_kV: float
    Cs_mm: float
    amplitude_contrast: float
    pixel_size_A: float
    box: int
    dimensionality: int = 2
    beam_tilt_mrad: tuple[float, float] = (0.0, 0.0)
    odd_zernike: tuple[float, ...] = ()
    even_zernike: tuple[float, ...] = ()
    magnification: tuple[tuple[float, float], tuple[float, float]] = IDENTITY
    premultiplied: bool = False
    phase_flipped: bool = False
    ctf_corrected: bool = False
    mtf_file: str = ""
    original_pixel_size_A: float = 0.0

    @property
    def has_odd_aberrations(self) -> bool:
        return any(self.odd_zernike) or any(self.beam_tilt_mrad)

    @property
    def has_even_aberrations(self) -> bool:
        return any(self.even_zernike)

    @property
    def batch_key(self) -> tuple:
        """What all images of one batch share: the sampling grid, and every table computed once per batch.

        Voltage, Cs and amplitude contrast are parameters of each image's CTF, so groups that differ in these alone
        share batches; a beam tilt acts through voltage and Cs, so then they do count.
        """
        tilt = (*self.beam_tilt_mrad, self.voltage_kV, self.Cs_mm) if any(self.beam_tilt_mrad) else ()
        done = (self.premultiplied, self.phase_flipped, self.ctf_corrected)
        grid = (self.box, self.pixel_size_A, self.dimensionality)
        return (*grid, done, tilt, self.odd_zernike, self.even_zernike, self.magnification, self.mtf_file)


def first_numbers_of_batches(groups: list[OpticsGroup]) -> np.ndarray:
    """For each optics group the index of the first group with the same ``batch_key``.

    Returns
    -------
    (n_groups,) int32
    """
    first: dict[tuple, int] = {}
    return np.array([first.setdefault(group.batch_key, i) for i, group in enumerate(groups)], np.int32)
