"""Maps in Fourier space: the padded lattice of half transforms, and the envelope that linear interpolation leaves."""

from __future__ import annotations

import numpy as np

from vitreous.model.band import round_half_up
from vitreous.model.lattice import PaddedLattice


class VolumeLattice(PaddedLattice):
    """The lattice of a cubic map: row ky + ny//2, plane kz + nz//2. Large: what depends on the place is given by plane."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.ny, self.ny, self.nx

    @property
    def n_shells(self) -> int:
        return self.box // 2 + 1

    @property
    def n_samples(self) -> int:
        return self.ny * self.ny * self.nx

    def distance(self, i_plane: int) -> np.ndarray:
        """(ny, nx) float64: distance from the origin, padded samples, in one plane of constant kz."""
        y, x = np.ogrid[1 - self.nx : self.nx, : self.nx]
        return np.sqrt(y * y + x * x + (i_plane - (self.nx - 1)) ** 2)

    def shell(self, distance) -> np.ndarray:
        """Shell of the unpadded box, at most box/2, of distances in padded samples."""
        return np.minimum(round_half_up(distance / self.ratio), self.n_shells - 1)


def slice_matrices(rotation, magnification, scale: float) -> np.ndarray:
    """Where the frequencies of images lie in the transform of a map: A^-1 M, scaled.

    Parameters
    ----------
    rotation : (n, 3, 3) float64         A of each image
    magnification : (2, 2)               M of their optics
    scale : padded samples of the map in a Fourier pixel of the image

    Returns
    -------
    (n, 3, 2) float32
    """
    rows = scale * np.swapaxes(rotation, 1, 2)[:, :, :2]
    return np.ascontiguousarray(rows @ np.array(magnification), np.float32)


def radius_px(box: int, planes: slice = slice(None)) -> np.ndarray:
    """(n, box, box) float64 distance from the centre of a map's planes."""
    x = np.arange(box) - box // 2
    return np.sqrt(x[planes, None, None] ** 2 + x[:, None] ** 2 + x**2)


def interpolation_envelope(box: int, side: int, planes: slice = slice(None), copies=(1, 0, 0, 0, 0)) -> np.ndarray:
    """What trilinear interpolation on a padded lattice multiplies a map's planes with.

    Parameters
    ----------
    box, side : of the map and of the padded lattice
    planes : planes of the map
    copies : numbers of a group's rotations whose copies are interpolated once more, by the axes along which
        that was needed: ``Symmetry.copies``

    Returns
    -------
    (n, box, box) float32

    Source: docs/equations.md#slice3d, #symmetry
    """
    x = (np.arange(box) - box // 2) / side
    x2, y2, z2 = x**2, x[:, None] ** 2, x[planes, None, None] ** 2
    r2 = x2 + y2 + z2
    once = np.sinc(np.sqrt(r2)) ** 2
    n_exact, *n_spared, n_all = copies
    again = float(n_exact) + n_all * once
    for n, axis2 in zip(n_spared, (x2, y2, z2)):
        if n:
            again = again + n * np.sinc(np.sqrt(r2 - axis2)) ** 2
    return (once * (again / sum(copies))).astype(np.float32)
