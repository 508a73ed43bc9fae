"""References of template picking: their mask, scale and transforms.

Source: docs/programs/autopick.md#templates
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.engine.pick_size import crop, forward, inverse, round_half_away
from vitreous.errors import InputError

FLAT = 1e-6  # corners of class averages are this constant


def own_diameter_px(images: np.ndarray) -> float:
    """Mean width of what differs from the corner, along the central row; the whole row where nothing does.

    Parameters
    ----------
    images : (n, b, b) float32
    """
    widths = []
    for image in images:
        differs = np.abs(image[image.shape[0] // 2] - image[0, 0]) > FLAT
        first, last = 0, len(differs) - 1
        if differs.any():
            first = int(differs.argmax())
            behind = np.flatnonzero(~differs[first:])
            last = first + int(behind[0]) - 1 if len(behind) else last
        widths.append(last - first)
    return float(np.mean(widths))


def rescaled(images: np.ndarray, pixel_size_A: float, new_A: float) -> np.ndarray:
    """Images on another pixel size by cropping or padding their transforms; the new box is even.

    Enlarged ones are weaker by old box / new box: particles at the finer pixel have more noise per pixel.
    """
    box = images.shape[-1]
    new = 2 * round_half_away(box / 2 * pixel_size_A / new_A)
    if abs(pixel_size_A - new_A) <= 1e-3 or new == box:
        return images
    out = np.stack([inverse(crop(forward(image), new)) for image in images])
    return out * np.float32(box / new) if new > box else out


@dataclass(frozen=True, eq=False)
class References:
    """Masked templates at the micrographs' pixel size.

    Parameters
    ----------
    images : (n, b, b) float32, 0 outside the circle
    radius_px : of the circle
    inside : (b, b) bool
    """

    images: np.ndarray
    radius_px: int
    inside: np.ndarray

    @property
    def box(self) -> int:
        return self.images.shape[-1]

    @property
    def n_inside(self) -> int:
        return int(self.inside.sum())


def masked(images: np.ndarray, pixel_size_A: float, diameter_A: float, shrink_px: float) -> References:
    """References inside their circle.

    Parameters
    ----------
    images : (n, b, b) float32 at the micrographs' pixel size
    diameter_A : of the circle
    shrink_px : taken off the radius

    Raises  InputError: the circle is larger than the box, or nothing is left of it.
    """
    box = images.shape[-1]
    if diameter_A > box * pixel_size_A:
        raise InputError(
            f"--particle_diameter: found {diameter_A:g} A, expected at most the {box * pixel_size_A:g} A of the "
            "references' box; "
            "give a smaller one, or check --angpix_ref"
        )
    radius = round_half_away(diameter_A / (2 * pixel_size_A)) - round_half_away(shrink_px)
    if radius < 2:
        raise InputError(
            f"--particle_diameter: {diameter_A:g} A leave a circle of {radius} px, expected at least 2; check the "
            "pixel sizes "
            f"({pixel_size_A:g} A) or give a larger one"
        )
    x = np.arange(box) - box // 2
    inside = x[:, None] ** 2 + x**2 < radius**2
    return References(np.where(inside, images, np.float32(0)).astype(np.float32), radius, inside)


def gaussian_blob(diameter_A: float, pixel_size_A: float, peak: float) -> np.ndarray:
    """(1, b, b) float32 Gaussian of one sixth of its box."""
    box = int(1.5 * round_half_away(diameter_A / pixel_size_A))
    box += box % 2
    x = np.arange(box) - box // 2
    blob = peak * np.exp(-(x[:, None] ** 2 + x**2) / (2 * (box / 6) ** 2))
    return blob[None].astype(np.float32)


def transform_at(images: np.ndarray, ky: np.ndarray, kx: np.ndarray, period: float, full: int) -> np.ndarray:
    """Transforms of small images in the middle of a large one, at chosen frequencies.

    Parameters
    ----------
    images : (..., b, b) float32; the centre pixel b//2 is the origin
    ky, kx : (n_ky,), (n_kx,)            frequencies in 1/period
    period : px
    full : side of the large image, by whose number of pixels the transform is divided

    Returns
    -------
    (..., n_ky, n_kx) complex64
    """
    box = images.shape[-1]
    rows, columns = _waves(ky, box, period, -1) * (1 / full**2), _waves(kx, box, period, -1).T
    real, imaginary = (np.ascontiguousarray(part, np.float32) for part in (rows.real, rows.imag))
    half = np.empty((*images.shape[:-2], len(ky), box), np.complex64)  # two real products: half of a complex one
    half.real, half.imag = real @ images, imaginary @ images
    return half @ columns.astype(np.complex64)


def centre_of_inverse(ft: np.ndarray, box: int, full: int) -> np.ndarray:
    """The middle (..., box, box) float64 of a large square's inverse transform.

    Parameters
    ----------
    ft : (..., n, n//2 + 1) complex64 of the n lowest frequencies, as ``pick_size.forward``; the origin is the centre
        pixel
    full : side of the large square
    """
    n = ft.shape[-2]
    ky = np.arange(n)
    ky = np.where(ky <= n // 2, ky, ky - n)
    weight = np.full(n // 2 + 1, 2, np.float32)
    weight[0] = 1
    if n == full and n % 2 == 0:
        weight[-1] = 1
    rows, columns = (_waves(k, box, full, 1).astype(np.complex64) for k in (ky, np.arange(n // 2 + 1)))
    return ((rows.T @ ft * weight) @ columns).real.astype(np.float64)


def _waves(k: np.ndarray, box: int, period: float, sign: int) -> np.ndarray:
    """(n_k, box) complex128 exp(sign 2 pi i k x / period), x from -box//2."""
    x = np.arange(box) - box // 2
    turns = np.multiply.outer(np.asarray(k, float), x / period)
    return np.exp(sign * 2j * np.pi * turns)
