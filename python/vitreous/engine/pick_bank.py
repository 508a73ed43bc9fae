"""The bank of templates: every reference at every angle, made from as few basis images as an error allows.

Source: docs/programs/autopick.md#templates
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.engine.pick_references import References, transform_at
from vitreous.engine.pick_size import WorkSize, crop, frequencies, round_half_away
from vitreous.kernels import project

BLOCK_BYTES, KEPT_BYTES = 64 << 20, 256 << 20  # of templates computed at a time, and kept


@dataclass(frozen=True, eq=False)
class Bank:
    """Templates as combinations of basis images.

    Parameters
    ----------
    basis : (n_basis, h, h//2 + 1) float32      transforms, h = min(band, work): the first n_even are real and the same when
        they are turned by 180 degrees, the others are imaginary and change their sign
    n_even : int
    coefficients : (n_template, n_basis) float32
    start : (n_ref + 1,) int32                  templates of each reference
    psi_deg : (n_psi,) float64                  angle of template t of a reference is psi_deg[t]
    turns : every template stands for its half turn too, so that only half of the angles are among psi_deg
    first : (n_ref, band, band//2 + 1) complex64    transforms of the references at angle 0
    error : largest relative error of a template
    """

    basis: np.ndarray
    n_even: int
    coefficients: np.ndarray
    start: np.ndarray
    psi_deg: np.ndarray
    turns: bool
    first: np.ndarray
    error: float

    @property
    def angles_deg(self) -> np.ndarray:
        """(n,) float64 all angles: psi_deg and, where there are, their half turns."""
        return np.concatenate([self.psi_deg, self.psi_deg + 180]) if self.turns else self.psi_deg


def angles_deg(step_deg: float) -> np.ndarray:
    """Angles in the plane, a whole number of steps around."""
    n = max(round_half_away(360 / step_deg), 1)
    return np.arange(n) * (360 / n)


def padded_transforms(references: References, size: WorkSize, pad: float) -> np.ndarray:
    """(n_ref, ny, nx) complex64 finely sampled transforms of the references in the full square, as ``kernels.project`` reads."""
    reach = round_half_away(size.band / 2 * pad)
    n = reach + 3
    ky, kx = np.arange(-n, n + 1), np.arange(n + 1)
    out = transform_at(references.images, ky, kx, pad * size.full, size.full)
    out[:, ky[:, None] ** 2 + kx**2 > reach**2] = 0
    return out


class Slicer:
    """Cuts templates out of padded transforms.

    Parameters
    ----------
    be, references, size, pad
    psi_deg : (n_psi,) angles
    """

    def __init__(self, be, references: References, size: WorkSize, pad: float, psi_deg: np.ndarray):
        self.be, self.size, self.pad = be, size, pad
        self.padded = be.to_device(padded_transforms(references, size, pad))
        psi = np.deg2rad(np.tile(psi_deg, len(references.images)))
        turn = np.array([[np.cos(psi), -np.sin(psi)], [np.sin(psi), np.cos(psi)]]).transpose(2, 0, 1) * pad
        self.matrix = np.ascontiguousarray(turn, np.float32)
        self.class_of = np.repeat(np.arange(len(references.images), dtype=np.int32), len(psi_deg))
        ky, kx = frequencies(size.band)
        self.inside = ky**2 + kx**2 <= (size.band // 2) ** 2

    def __len__(self) -> int:
        return len(self.class_of)

    def cut(self, rows, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """(n_row, 2, n_k) float32 of templates ``rows`` (a slice or indices) at frequencies within the band's circle."""
        matrix, class_of = np.ascontiguousarray(self.matrix[rows]), np.ascontiguousarray(self.class_of[rows])
        radius = self.pad * self.size.band / 2 + 0.5
        return self.be.to_host(project(self.be, self.padded, class_of, matrix, kx, ky, radius))

    def grid(self, rows, n: int | None = None) -> np.ndarray:
        """(n_row, n, n//2 + 1) complex64 transforms of templates; n = the band where None, at most that."""
        n = n or self.size.band
        ky, kx = np.broadcast_arrays(*frequencies(n))
        inside = crop(self.inside, n)
        values = self.cut(rows, np.ascontiguousarray(ky[inside]), np.ascontiguousarray(kx[inside]))
        out = np.zeros((len(values), n, n // 2 + 1), np.complex64)
        out[:, inside] = values[:, 0] + 1j * values[:, 1]
        return out


def make_bank(
    be, references: References, size: WorkSize, *, step_deg: float, pad: float = 2.0, error: float = 0.001
) -> Bank:
    """The bank of all references and angles.

    Parameters
    ----------
    step_deg : angular step, changed so that it divides the circle
    pad : padding of the transforms that are interpolated
    error : relative error (2-norm) that every template may have; 0 keeps everything
    """
    psi = angles_deg(step_deg)
    turns = len(psi) % 2 == 0
    psi = psi[: len(psi) // 2] if turns else psi
    slicer = Slicer(be, references, size, pad, psi)
    n_ref, n = len(references.images), min(size.band, size.work)
    start = (np.arange(n_ref + 1) * len(psi)).astype(np.int32)
    first = slicer.grid(np.arange(n_ref) * len(psi))
    ky, kx = np.broadcast_arrays(*frequencies(n))
    inside = crop(slicer.inside, n)
    ky, kx = np.ascontiguousarray(ky[inside]), np.ascontiguousarray(kx[inside])
    values = Values(slicer, ky, kx)
    vectors, left = _principal(values, error)
    n_even = vectors[0].shape[1]
    basis = np.zeros((n_even + vectors[1].shape[1], n, n // 2 + 1), np.float32)
    flat = np.flatnonzero(inside)
    for part, found in values:
        for plane, (rows, combine) in enumerate(zip((slice(0, n_even), slice(n_even, None)), vectors)):
            basis.reshape(len(basis), -1)[rows, flat[part]] = combine.T @ found[:, plane]
    return Bank(basis, n_even, np.concatenate(vectors, axis=1), start, psi, turns, first, left)


class Values:
    """All templates at given frequencies, in parts: (slice of the frequencies, (n_template, 2, n) float32).

    They are needed twice, and kept in between where they are few.
    """

    def __init__(self, slicer: Slicer, ky: np.ndarray, kx: np.ndarray):
        self.slicer, self.ky, self.kx = slicer, ky, kx
        step = max(BLOCK_BYTES // (8 * len(slicer)), 256)
        self.parts = [slice(i, i + step) for i in range(0, len(ky), step)]
        self._kept: dict[int, np.ndarray] = {}
        self._keep = 8 * len(slicer) * len(ky) <= KEPT_BYTES

    def __iter__(self):
        for part in self.parts:
            found = self._kept.get(part.start)
            if found is None:
                found = self.slicer.cut(slice(None), self.ky[part], self.kx[part])
            if self._keep:
                self._kept[part.start] = found
            yield part, found


def _principal(values: Values, error: float) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Orthonormal combinations (n_template, n) of the templates' real and imaginary planes, and the error that they leave.

    The real plane of a transform whose origin is the centre is the part that a half turn leaves, the imaginary the other.
    """
    n = len(values.slicer)
    gram = np.zeros((2, n, n))
    for part, found in values:
        once = values.kx[part] == 0  # the other columns stand for -kx, too
        for plane in (0, 1):
            rows, single = found[:, plane], np.ascontiguousarray(found[:, plane, once])
            gram[plane] += 2 * (rows @ rows.T) - single @ single.T
    power, vectors = np.linalg.eigh(gram)
    power, vectors = np.maximum(power, 0).ravel(), np.concatenate(vectors, axis=1)
    order = np.argsort(-power, kind="stable")
    norm2 = np.maximum(np.einsum("ptt->t", gram), 1e-30)
    # What template t loses when the combinations from j on are left out, relative to its own square norm.
    lost = np.cumsum((vectors**2 * power)[:, order[::-1]], axis=1)[:, ::-1] / norm2[:, None]
    worst = np.append(lost.max(0), 0)
    n_basis = max(int(np.argmax(worst <= error**2)), 1)
    chosen = np.sort(order[:n_basis])
    even = vectors[:, chosen[chosen < n]], vectors[:, chosen[chosen >= n]]
    return tuple(np.ascontiguousarray(v, np.float32) for v in even), float(np.sqrt(worst[n_basis]))
