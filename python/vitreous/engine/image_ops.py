"""Operations on one image (ny, nx) or map (nz, ny, nx): size, place, mirror images, arithmetic with another one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, optimize

from vitreous.engine import filters

# Divisors nearer to 0 than this give 0, as in RELION: outside a mask nothing is to be seen.
LEAST_DIVISOR = 1e-10


def resized(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image on a finer or coarser grid over the same field, by cropping or padding its transform; grey values stay.

    Frequencies beyond the old Nyquist frequency stay 0 on a finer grid, in its corners too.

    Parameters
    ----------
    shape : new sides, px, zyx

    Returns
    -------
    float32 array of ``shape``
    """
    if tuple(shape) == image.shape:
        return image
    ft = filters.forward(image)
    if any(m > n for m, n in zip(shape, image.shape)):
        # half a unit of rounding, so that the Nyquist frequency itself is kept
        filters.scale_frequencies(ft, image.shape, lambda u: u <= 0.5 + 1e-9)
    out = np.zeros((*shape[:-1], shape[-1] // 2 + 1), ft.dtype)
    common = [_common_rows(n, m) for n, m in zip(image.shape[:-1], shape[:-1])]
    n_columns = min(image.shape[-1], shape[-1]) // 2 + 1
    rows_from = np.ix_(*(pair[0] for pair in common), np.arange(n_columns))
    rows_to = np.ix_(*(pair[1] for pair in common), np.arange(n_columns))
    out[rows_to] = ft[rows_from]
    return filters.inverse(out, tuple(shape)).astype(np.float32)


def _common_rows(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the frequencies that axes of n and m px share, in each; the Nyquist row counts as positive."""
    least = min(n, m)
    k = np.concatenate([np.arange(least // 2 + 1), np.arange(-((least - 1) // 2), 0)])
    return k % n, k % m


def even_size(n: int, scale: float) -> int:
    """A side times ``scale``, rounded, and made even by taking one away; at least 2."""
    found = int(np.floor(n * scale + 0.5))
    return max(found - found % 2, 2)


def in_box(image: np.ndarray, box: int) -> np.ndarray:
    """An image cropped, or padded with zeros, to a square or cube; the centre pixel n//2 stays the centre."""
    out = np.zeros((box,) * image.ndim, np.float32)
    source, target = [], []
    for n in image.shape:
        start = n // 2 - box // 2
        source.append(slice(max(start, 0), min(start + box, n)))
        target.append(slice(max(-start, 0), min(n - start, box)))
    out[tuple(target)] = image[tuple(source)]
    return out


def mirrored(image: np.ndarray, axis: str) -> np.ndarray:
    """x -> n - 1 - x along X, Y or Z; it moves the centre pixel n//2 of an even box by one."""
    return np.flip(image, filters.AXES[axis])


def other_hand(image: np.ndarray) -> np.ndarray:
    """The mirror image about the centre pixel: x -> n - x, the first column staying (of an even side)."""
    moved = 1 - image.shape[-1] % 2
    return np.roll(image[..., ::-1], moved, axis=-1)


def transposed(image: np.ndarray) -> np.ndarray:
    """x and y exchanged."""
    return image.swapaxes(-1, -2)


def antitransposed(image: np.ndarray) -> np.ndarray:
    """x and y exchanged and both reversed: mirrored about the other diagonal."""
    return image[..., ::-1, ::-1].swapaxes(-1, -2)


def shifted(image: np.ndarray, shift_px) -> np.ndarray:
    """An image whose content is moved, linearly interpolated; 0 comes in from outside.

    Parameters
    ----------
    shift_px : (x, y) or (x, y, z)
    """
    return ndimage.shift(image, np.asarray(shift_px, float)[::-1], order=1, mode="constant")


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    """(x, y) or (x, y, z) float64, px from the centre pixel, of what is positive; 0 where nothing is."""
    weight = np.maximum(image, 0).astype(np.float64)
    total = weight.sum()
    if not total > 0:
        return np.zeros(image.ndim)
    sums = (weight.sum(axis=tuple(j for j in range(image.ndim) if j != i)) for i in range(image.ndim))
    return np.array([float((s * (np.arange(len(s)) - len(s) // 2)).sum() / total) for s in sums])[::-1]


def symmetrised(volume: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """The mean of a map and its copies under a point group, linearly interpolated about the centre voxel.

    Parameters
    ----------
    volume : (nz, ny, nx)
    rotations : (n, 3, 3) of the group, acting on x, y, z
    """
    centre = np.array([n // 2 for n in volume.shape], float)
    total = np.zeros(volume.shape, np.float64)
    for rotation in rotations:
        matrix = np.asarray(rotation, float)[::-1, ::-1]
        # half a rounding off the box would read as outside
        matrix = np.where(np.abs(matrix - np.rint(matrix)) < 1e-9, np.rint(matrix), matrix)
        total += ndimage.affine_transform(volume, matrix, centre - matrix @ centre, order=1, mode="constant")
    return (total / len(rotations)).astype(np.float32)


def edges_repeated(image: np.ndarray, x0: int, y0: int, xF: int, yF: int) -> np.ndarray:
    """Columns before x0 and after xF, rows before y0 and after yF, replaced by those columns and rows (from 0)."""
    ny, nx = image.shape
    rows, columns = np.clip(np.arange(ny), y0, min(yF, ny - 1)), np.clip(np.arange(nx), x0, min(xF, nx - 1))
    return image[np.ix_(rows, columns)]


def divided(image: np.ndarray, by: np.ndarray) -> np.ndarray:
    """image / by, and 0 where ``by`` is."""
    return np.divide(image, by, out=np.zeros_like(image), where=np.abs(by) > LEAST_DIVISOR)


def shell_means(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean over each shell of a half transform, out to its corners.

    Parameters
    ----------
    values : (..., ny, nx//2 + 1) real
    shape : of the image

    Returns
    -------
    (n_shells,) float64
    """
    n, total, count = max(shape), np.zeros(0), np.zeros(0)
    stack = values.reshape(-1, *values.shape[-2:])
    n_shells = int(np.ceil(n * np.sqrt(len(shape)) / 2)) + 2
    total, count = np.zeros(n_shells), np.zeros(n_shells)
    for i, squared in filters.planes(shape):
        shell = filters.shell_of(squared, n).ravel()
        total += np.bincount(shell, stack[i].ravel(), n_shells)
        count += np.bincount(shell, minlength=n_shells)
    return total / np.maximum(count, 1)


def power_spectrum(image: np.ndarray) -> np.ndarray:
    """(n//2 + 1,) float64: mean of |F|^2 in each shell."""
    return shell_means(np.square(np.abs(filters.forward(image))), image.shape)[: max(image.shape) // 2 + 1]


def with_power_of(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """An image whose shells are scaled so that its power spectrum is that of another image of its size."""
    ft = filters.forward(image)
    mine, theirs = (shell_means(np.square(np.abs(x)), image.shape) for x in (ft, filters.forward(other)))
    gain = np.sqrt(np.divide(theirs, mine, out=np.zeros_like(mine), where=mine > 0))
    filters.scale_frequencies(ft, image.shape, lambda u: gain[filters.shell_of(u * u, max(image.shape))])
    return filters.inverse(ft, image.shape).astype(np.float32)


def with_even_amplitudes(image: np.ndarray, amplitude: np.ndarray, last_kept_shell: float) -> np.ndarray:
    """An image without the anisotropy of an average amplitude spectrum: times its shell mean over itself.

    Parameters
    ----------
    amplitude : half transform's shape, as ``--avg_ampl`` writes it
    last_kept_shell : shells up to this one stay
    """
    ft, n = filters.forward(image), max(image.shape)
    means = shell_means(amplitude, image.shape)
    stack, table = (x.reshape(-1, *x.shape[-2:]) for x in (ft, amplitude))
    for i, squared in filters.planes(image.shape):
        shell = filters.shell_of(squared, n)
        gain = np.divide(means[shell], table[i], out=np.ones(squared.shape), where=table[i] > 0)
        stack[i] *= np.where(shell > last_kept_shell, gain, 1).astype(np.float32)
    return filters.inverse(ft, image.shape).astype(np.float32)


def best_scale(image: np.ndarray, other: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The factor s for which s ``other`` is nearest to ``image``, in the mask; 0 where ``other`` is empty."""
    weight = 1.0 if mask is None else mask
    power = float(np.sum(weight * np.square(other, dtype=np.float64)))
    return float(np.sum(weight * np.multiply(image, other, dtype=np.float64))) / power if power > 0 else 0.0


def best_match(
    image: np.ndarray, other: np.ndarray, pixel_size_A: float, b_range_A2: float, mask: np.ndarray | None = None
) -> tuple[np.ndarray, float, float]:
    """``other`` scaled and blurred or sharpened so that it is nearest to ``image``.

    Parameters
    ----------
    b_range_A2 : the B-factor lies between minus and plus this; 0 = none is looked for

    Returns
    -------
    like image, the scale, the B-factor in A^2
    """

    def at(b_A2):
        return other if b_A2 == 0 else filters.filtered(other, filters.b_factor(b_A2, pixel_size_A))

    def residual(b_A2):
        blurred = at(b_A2)
        difference = image - best_scale(image, blurred, mask) * blurred
        return float(np.sum((1.0 if mask is None else mask) * np.square(difference, dtype=np.float64)))

    b_A2 = 0.0
    if b_range_A2 > 0:
        found = optimize.minimize_scalar(residual, bounds=(-b_range_A2, b_range_A2), method="bounded")
        b_A2 = float(found.x)
    blurred = at(b_A2)
    scale = best_scale(image, blurred, mask)
    return (scale * blurred).astype(np.float32), scale, b_A2
