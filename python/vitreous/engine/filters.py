"""Filters of an image or map in Fourier space: a real gain for each frequency.

Everything here takes an image (ny, nx) or a map (nz, ny, nx), of any sides, and works on its half transform plane by
plane, so that a map of 512 px needs no second array of its size. Frequencies are in cycles per pixel (u), or in shells:
u times the longest side, which for a cube is the Fourier index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import fft

AXES = {"X": -1, "Y": -2, "Z": -3}
Gain = Callable[[np.ndarray], np.ndarray]


def forward(image: np.ndarray) -> np.ndarray:
    """Half transform of a real image or map, divided by its number of pixels.

    Parameters
    ----------
    image : (..., ny, nx) float32 or float64

    Returns
    -------
    (..., ny, nx//2 + 1) complex of the same precision
    """
    ft = fft.rfftn(image)
    ft /= image.size
    return ft


def inverse(ft: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The image of ``shape`` whose half transform is ``ft``; undoes ``forward``."""
    return fft.irfftn(ft, shape) * ft.real.dtype.type(np.prod(shape, dtype=float))


def planes(shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """Squared frequencies of a half transform, plane by plane.

    Parameters
    ----------
    shape : (ny, nx) or (nz, ny, nx) of the image

    Yields
    ------
    int                              index of the plane, 0 for an image
    (ny, nx//2 + 1) float64          |u|^2, u in cycles per pixel
    """
    y, x = fft.fftfreq(shape[-2]), fft.rfftfreq(shape[-1])
    plane = y[:, None] ** 2 + x**2
    for i, z in enumerate(fft.fftfreq(shape[0]) if len(shape) == 3 else [0.0]):
        yield i, plane + z * z


def scale_frequencies(ft: np.ndarray, shape: tuple[int, ...], gain: Gain) -> np.ndarray:
    """Multiply a half transform by a function of the frequency, in place.

    Parameters
    ----------
    ft : half transform of an image of ``shape``; changed
    gain : of |u| in cycles per pixel, vectorised

    Returns
    -------
    ft
    """
    stack = ft.reshape(-1, *ft.shape[-2:])
    for i, squared in planes(shape):
        stack[i] *= gain(np.sqrt(squared)).astype(ft.real.dtype)
    return ft


def scale_axis(ft: np.ndarray, shape: tuple[int, ...], gain: Gain, axis: str) -> np.ndarray:
    """Like ``scale_frequencies`` with the frequency along one axis alone, X, Y or Z."""
    i_axis = AXES[axis]
    n = shape[i_axis]
    along = gain(np.abs(fft.rfftfreq(n) if i_axis == -1 else fft.fftfreq(n))).astype(ft.real.dtype)
    ft *= along.reshape(-1, *[1] * (-i_axis - 1))
    return ft


def low_pass(cutoff_shell: float, n: int, edge_shells: float = 2) -> Gain:
    """Gain of a low-pass: a raised cosine ``edge_shells`` wide, centred on the cutoff.

    Parameters
    ----------
    cutoff_shell : n times the cutoff frequency in cycles per pixel; see ``cutoff_shell``
    n : longest side of the image, px
    edge_shells : at least 0

    Source: docs/equations.md#filter
    """
    low = max(0.0, cutoff_shell - edge_shells / 2) / n
    high = (cutoff_shell + edge_shells / 2) / n

    def gain(u):
        if not high > low:
            return (u <= low).astype(float)
        return 0.5 + 0.5 * np.cos(np.pi * np.clip((u - low) / (high - low), 0, 1))

    return gain


def high_pass(cutoff_shell: float, n: int, edge_shells: float = 2) -> Gain:
    """Gain of a high-pass, one minus the low-pass of the same cutoff and edge."""
    passed = low_pass(cutoff_shell, n, edge_shells)
    return lambda u: 1 - passed(u)


def cutoff_shell(n: int, pixel_size_A: float, resolution_A: float) -> int:
    """The whole shell of a resolution: n a / d, rounded with halves upwards."""
    return int(np.floor(n * pixel_size_A / resolution_A + 0.5))


def b_factor(b_A2: float, pixel_size_A: float) -> Gain:
    """exp(-B s^2 / 4) up to the Nyquist frequency and 0 beyond it: a negative B sharpens.

    Beyond it lie the corners of the transform, which a sharpening would blow up most and which carry no whole shell.
    """

    def gain(u):
        with np.errstate(over="ignore"):
            return np.where(u <= 0.5, np.exp(-b_A2 / 4 * np.square(u / pixel_size_A)), 0)

    return gain


def blob_detector(diameter_A: float, pixel_size_A: float) -> Gain:
    """Laplacian of a Gaussian, normalised so that blobs of ``diameter_A`` answer most: (u/t)^2 exp(-(u/t)^2 / 2).

    t = pixel / (2 diameter) in cycles per pixel.
    """
    t = 0.5 * pixel_size_A / diameter_A
    return lambda u: np.square(u / t) * np.exp(-0.5 * np.square(u / t))


def filtered(image: np.ndarray, gain: Gain, axis: str | None = None) -> np.ndarray:
    """An image or map after a filter; the filter acts along one axis alone where ``axis`` is X, Y or Z."""
    ft = forward(image)
    if axis is None:
        scale_frequencies(ft, image.shape, gain)
    else:
        scale_axis(ft, image.shape, gain, axis)
    return inverse(ft, image.shape).astype(image.dtype, copy=False)


def shell_of(squared: np.ndarray, n: int) -> np.ndarray:
    """Shells of squared frequencies (cycles per pixel)^2: n |u| rounded, halves upwards."""
    return np.floor(n * np.sqrt(squared) + 0.5).astype(np.int64)


def pair_weights(nx: int, equal_pairs: bool) -> np.ndarray:
    """How often the columns of a half transform count in a sum over shells.

    Parameters
    ----------
    nx : side of the image along x, px
    equal_pairs : each coefficient of the whole transform counts once, so that turning a map by a right angle changes
        nothing. Else each stored one does, as in RELION: then the plane kx = 0, which is stored whole, counts twice as
        much as the rest.

    Returns
    -------
    (nx//2 + 1,) float64
    """
    weights = np.ones(nx // 2 + 1)
    if equal_pairs:
        weights[1 : (nx + 1) // 2] = 2
    return weights


def shell_sums(shape: tuple[int, ...], plane_values: Callable[[int], tuple], equal_pairs: bool = False) -> np.ndarray:
    """Sums over the shells 0 to n//2, n the longest side.

    Parameters
    ----------
    shape : of the image
    plane_values : plane index -> arrays (ny, nx//2 + 1), one per sum
    equal_pairs : see ``pair_weights``

    Returns
    -------
    (n_sums + 1, n//2 + 1) float64   the last row holds the number of coefficients
    """
    n = max(shape)
    n_shells = n // 2 + 1
    weights = pair_weights(shape[-1], equal_pairs)
    sums = None
    for i, squared in planes(shape):
        shell = shell_of(squared, n)
        inside = shell < n_shells
        count = np.broadcast_to(weights, shell.shape)[inside]
        shell = shell[inside]
        rows = [np.bincount(shell, values[inside] * count, n_shells) for values in plane_values(i)]
        rows.append(np.bincount(shell, count, n_shells))
        sums = np.array(rows) if sums is None else sums + rows
    return sums
