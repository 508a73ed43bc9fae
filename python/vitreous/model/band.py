"""The Fourier pixels of an image that a computation uses, sorted by distance from the origin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def round_half_up(values):
    """Round non-negative numbers to the nearest integer, halves upwards (np.rint rounds halves to even)."""
    return np.floor(np.asarray(values, float) + 0.5).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Band:
    """Half-plane Fourier pixels with ``|k| <= radius_px`` of a square image, sorted by ``|k|``.

    A resolution limit is a prefix and a shell is a contiguous segment. The first pixel is the origin (0, 0).
    The half-plane has kx >= 0 and, where kx is 0, ky >= 0, so each Friedel pair appears once.

    Parameters
    ----------
    box : side of the image, px (even)
    radius_px : largest |k| kept, at most box/2

    Attributes
    ----------
    kx, ky : (n_k,) int32       Fourier indices
    k2 : (n_k,) int32           kx^2 + ky^2
    shell : (n_k,) int32        |k| rounded, halves upwards
    index : (n_k,) int64        position in the flattened (box, box//2 + 1) output of rfft2
    """

    box: int
    radius_px: float
    kx: np.ndarray = field(init=False, repr=False)
    ky: np.ndarray = field(init=False, repr=False)
    k2: np.ndarray = field(init=False, repr=False)
    shell: np.ndarray = field(init=False, repr=False)
    index: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        if self.box % 2 or self.box < 4:
            raise ValueError(f"Band: box is {self.box}, expected an even number of at least 4")
        half = self.box // 2
        ky = np.arange(self.box)
        ky = np.where(ky > half, ky - self.box, ky)  # the Nyquist row is the positive one
        kx, ky = np.broadcast_arrays(np.arange(half + 1)[None, :], ky[:, None])
        k2 = kx * kx + ky * ky
        kept = np.flatnonzero(((k2 <= min(self.radius_px, half) ** 2) & ((kx > 0) | (ky >= 0))).ravel())
        order = kept[np.lexsort((kx.ravel()[kept], ky.ravel()[kept], k2.ravel()[kept]))]
        for name, values in (("kx", kx), ("ky", ky), ("k2", k2)):
            object.__setattr__(self, name, values.ravel()[order].astype(np.int32))
        object.__setattr__(self, "index", order.astype(np.int64))
        object.__setattr__(self, "shell", round_half_up(np.sqrt(self.k2)))

    def __len__(self):
        return len(self.kx)

    def k_float32(self, n_k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """kx and ky of the first ``n_k`` pixels, or of all, each (n_k,) float32, as kernels take them."""
        return self.kx[:n_k].astype(np.float32), self.ky[:n_k].astype(np.float32)

    def n_within(self, radius_px: float) -> int:
        """Length of the prefix of pixels with |k| <= radius_px."""
        return int(np.searchsorted(self.k2, radius_px * radius_px, side="right"))


def shell_counts(box: int) -> np.ndarray:
    """Number of half-plane pixels in each shell 0..box//2 of a square image.

    Returns
    -------
    (box//2 + 1,) int64
    """
    half = box // 2
    ky = np.arange(box)
    ky = np.where(ky > half, ky - box, ky)
    kx, ky = np.broadcast_arrays(np.arange(half + 1)[None, :], ky[:, None])
    shell = round_half_up(np.hypot(kx, ky))
    half_plane = (kx > 0) | (ky >= 0)
    return np.bincount(shell[half_plane], minlength=half + 1)[: half + 1]
