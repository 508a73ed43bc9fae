"""Memory of large arrays that is used again: fresh pages would cost more than what is computed in them."""

from __future__ import annotations

import threading

import numpy as np


class Buffers:
    """Arrays that nobody needs any more, for those who need one; threads may share it."""

    def __init__(self):
        self._lock, self._free = threading.Lock(), []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """(*shape) float32, in memory that was given back or in new; what it holds is arbitrary."""
        n = int(np.prod(shape))
        with self._lock:
            fit = next((i for i, flat in enumerate(self._free) if flat.size >= n), None)
            if fit is None:
                self._free.clear()  # all too small
            flat = np.empty(n, np.float32) if fit is None else self._free.pop(fit)
        return flat[:n].reshape(shape)

    def give_back(self, array: np.ndarray) -> None:
        """Nobody reads an array of ``take`` any more; others are ignored."""
        flat = array.base
        if isinstance(flat, np.ndarray) and flat.ndim == 1 and flat.dtype == np.float32:
            with self._lock:
                self._free.append(flat)
