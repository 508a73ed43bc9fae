"""Sizes of picking: how much a micrograph is shrunk, sizes that FFTs like, and cropped Fourier transforms.

Transforms divide by the number of pixels on the way in (docs/conventions.md); the origin is the image's first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.errors import InputError

LARGEST_PRIME = 43  # factors up to this keep an FFT fast


@dataclass(frozen=True)
class WorkSize:
    """Sizes of one run; all micrographs of a run are of one size.

    Parameters
    ----------
    nx, ny : micrograph, px
    full : side of the square that the micrograph is put into (N)
    band : side of the Fourier square that the low-pass leaves (D)
    work : side of the maps in which peaks are sought (W)
    notes : what the user should be warned of
    asked : the side of the maps that was asked for, where its FFT is slow
    """

    nx: int
    ny: int
    full: int
    band: int
    work: int
    notes: tuple[str, ...] = ()
    asked: int = 0

    @property
    def scale(self) -> float:
        """Map pixels per micrograph pixel, in single precision as RELION's, on whose roundings windows depend."""
        return float(np.float32(self.work) / np.float32(self.full))

    @property
    def window(self) -> tuple[int, int]:
        """(ny, nx) of the micrograph in map pixels."""
        scale = np.float32(self.scale)
        return int(np.float32(self.ny) * scale), int(np.float32(self.nx) * scale)


def round_half_away(value: float) -> int:
    """Nearest whole number, halves away from zero."""
    return int(np.floor(abs(value) + 0.5)) * (1 if value >= 0 else -1)


def largest_factor(n: int) -> int:
    """Largest prime factor of n >= 2; 1 for smaller n."""
    largest, factor = 1, 2
    while factor * factor <= n:
        while n % factor == 0:
            largest, n = factor, n // factor
        factor += 1
    return max(largest, n)


def good_size(n: int, most: int) -> int:
    """The nearest even size whose FFT is fast; the larger of two at one distance, but not larger than ``most``."""

    def worst(m):
        return max(largest_factor(m), largest_factor(m // 2 + 1))

    if worst(n) <= LARGEST_PRIME:
        return n
    up = n + 2
    while up <= most + 2 and worst(up) >= LARGEST_PRIME:
        up += 2
    down = n - 2
    while down > 2 and worst(down) >= LARGEST_PRIME:
        down -= 2
    return down if up > most or up - n > n - down else up


def work_size(
    nx: int,
    ny: int,
    pixel_size_A: float,
    *,
    lowpass_A: float | None,
    shrink: float,
    optimise: bool = True,
    extra_px: int = 0,
) -> WorkSize:
    """Sizes for micrographs of nx x ny px.

    Parameters
    ----------
    lowpass_A : resolution limit, None for none
    shrink : 0 = as small as the low-pass allows; up to 1 = fraction of the size; above 1 = size in px
    optimise : change the size to one with a fast FFT
    extra_px : padding on every side

    Raises  InputError: a shrink that is no size.     Source: docs/programs/autopick.md#sizes
    """
    full = max(nx, ny) + 2 * extra_px
    band = 2 * round_half_away(full * pixel_size_A / lowpass_A) if lowpass_A else full
    notes = []
    if band > full:
        notes.append(
            f"--lowpass {lowpass_A:g}: is finer than two pixels ({2 * pixel_size_A:g} A), so all frequencies are used"
        )
        band = full
    if shrink < 0:
        raise InputError(
            f"--shrink: found {shrink:g}, expected 0 (by the low-pass), a fraction up to 1, or a size in px"
        )
    target = round_half_away(shrink) if shrink > 1 else round_half_away(shrink * full) if shrink else band
    target -= target % 2
    if shrink > 1 and target >= full:
        raise InputError(
            f"--shrink: found {shrink:g} px, expected less than the micrograph's {full} px; give --shrink 1"
        )
    if target < 16:
        raise InputError(
            f"--shrink {shrink:g}, --lowpass: leave maps of {target} px of micrographs of {nx} x {ny} px of "
            f"{pixel_size_A:g} A, expected at least 16; check the pixel size, and give less of both"
        )
    work = good_size(target, full) if optimise else target
    work -= work % 2
    if target < band:
        resolution_A = 2 * pixel_size_A * full / work
        notes.append(
            f"--shrink {shrink:g}: maps of {work} px reach {resolution_A:.3g} A, less than the low-pass asks for "
            f"({band} px)"
        )
    return WorkSize(nx, ny, full, band, work, tuple(notes), target)


def frequencies(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 1) and (1, n//2 + 1) float32 indices of a half transform; the row n/2 is the positive one."""
    ky = np.arange(n)
    return np.where(ky <= n // 2, ky, ky - n).astype(np.float32)[:, None], np.arange(n // 2 + 1, dtype=np.float32)[None]


def crop(ft: np.ndarray, n: int) -> np.ndarray:
    """(n, n//2 + 1) lowest frequencies of a half transform of a larger square; a smaller one gets zeros around its circle."""
    old = len(ft)
    if n == old:
        return ft
    out = np.zeros((n, n // 2 + 1), ft.dtype)
    small = min(n, old)
    up, down = small // 2 + 1, (small - 1) // 2  # rows of ky >= 0 and ky < 0
    out[:up, : small // 2 + 1] = ft[:up, : small // 2 + 1]
    out[n - down :, : small // 2 + 1] = ft[old - down :, : small // 2 + 1]
    if n > old:
        ky, kx = frequencies(n)
        out[ky**2 + kx**2 > (old // 2) ** 2] = 0
    return out


def forward(image: np.ndarray) -> np.ndarray:
    """(n, n//2 + 1) complex64 transform of a small square image; micrographs take ``pick_image.transforms``."""
    return (np.fft.rfft2(image) / image.size).astype(np.complex64)


def inverse(ft: np.ndarray) -> np.ndarray:
    """(n, n) float32 image of a half transform (n, n//2 + 1) made by ``forward``."""
    n = len(ft)
    return np.fft.irfft2(ft, s=(n, n), norm="forward").astype(np.float32)
