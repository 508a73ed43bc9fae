"""One thin function per kernel: checks shapes, makes the output, calls the backend's module. It knows no particles."""

from __future__ import annotations

import numpy as np


def _check(kernel: str, shapes: dict[str, tuple], expected: dict[str, tuple]) -> None:
    """Compare shapes with what the kernel expects; a name in ``expected`` may hold None for "any"."""
    for name, want in expected.items():
        got = tuple(shapes[name])
        if len(got) != len(want) or any(w is not None and g != w for g, w in zip(got, want)):
            text = ", ".join("any" if w is None else str(w) for w in want)
            raise ValueError(f"{kernel}: {name} has shape {got}, expected ({text})")


def shift_phases(be, kx, ky, shifts_px, box, out=None):
    """Phase factors that move an image's content by +shift.

    Parameters
    ----------
    kx, ky : (n_k,) float32          integer Fourier indices
    shifts_px : (n_t, 2) float32     x, y in pixels; the content moves by +shift
    box : int                        side of the transformed image, px

    Returns
    -------
    (n_t, 2, n_k) float32            real plane, imaginary plane

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#shift     Cost: O(n_t n_k)
    """
    out = be.empty((len(shifts_px), 2, len(kx)), np.float32) if out is None else out
    _check("shift_phases", {"ky": ky.shape, "shifts_px": shifts_px.shape, "out": out.shape},
           {"ky": kx.shape, "shifts_px": (None, 2), "out": (len(shifts_px), 2, len(kx))})
    be.lib.shift_phases(kx, ky, shifts_px, float(box), out)
    return out
