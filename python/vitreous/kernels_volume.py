"""Kernels between 3D transforms and their central slices, one thin function per kernel."""

from __future__ import annotations

import numpy as np

from vitreous.kernels import _check


def project3d(be, volume_ft, class_of, matrix, kx, ky, radius, out=None):
    """Central slices of 3D transforms, trilinear.

    Parameters
    ----------
    volume_ft : (n_vol, nz, ny, nx) complex64    padded half transform: column kx, row ky + ny//2, plane kz + nz//2
    class_of : (n_row,) int32                    which volume
    matrix : (n_row, 3, 2) float32               image frequency -> frequency x, y, z in samples of the padded transform
    kx, ky : (n_k,) float32                      Fourier indices of the image
    radius : float                               nothing is read beyond this, padded samples; at most nx - 2

    Returns
    -------
    (n_row, 2, n_k) float32                      real plane, imaginary plane

    Raises  ValueError: shapes disagree, or the radius reaches the edge of the transform.
    Source: docs/equations.md#slice3d     Cost: O(n_row n_k)
    """
    n_row, n_k = len(class_of), len(kx)
    out = be.empty((n_row, 2, n_k), np.float32) if out is None else out
    _check(
        "project3d",
        matrix=(matrix, (n_row, 3, 2)),
        ky=(ky, (n_k,)),
        out=(out, (n_row, 2, n_k)),
        volume_ft=(volume_ft, (None,) * 4),
    )
    _check_lattice("project3d", volume_ft.shape[1:], radius)
    _check_classes("project3d", len(volume_ft), class_of)
    be.lib.project3d(volume_ft, class_of, matrix, kx, ky, float(radius), out)
    return out


def backproject3d(be, rows, row_weights, class_of, matrix, kx, ky, radius, sums):
    """Add rows to the transforms that they are slices of: the adjoint of ``project3d``.

    Parameters
    ----------
    rows : (n_row, 2, n_k) float32, row_weights : (n_row, n_k) float32    pixels without weight are left out
    class_of, matrix, kx, ky, radius : as in ``project3d``
    sums : (n_vol, nz, ny, nx, 3) float32        real part, imaginary part, weight; added to, in place, same bits
                                                 at every number of threads

    Raises  ValueError: shapes disagree, or the radius reaches the edge.     Source: docs/equations.md#slice3d
    """
    n_row, n_k = len(class_of), len(kx)
    _check(
        "backproject3d",
        rows=(rows, (n_row, 2, n_k)),
        row_weights=(row_weights, (n_row, n_k)),
        matrix=(matrix, (n_row, 3, 2)),
        ky=(ky, (n_k,)),
        sums=(sums, (None, None, None, None, 3)),
    )
    _check_lattice("backproject3d", sums.shape[1:4], radius)
    _check_classes("backproject3d", len(sums), class_of)
    be.lib.backproject3d(rows, row_weights, class_of, matrix, kx, ky, float(radius), sums)


def symmetrise(be, sums, operators, radius, out=None):
    """Sum of a volume's copies under a point group, in Fourier space.

    Parameters
    ----------
    sums : (nz, ny, nx, 3) float32               real part, imaginary part, weight; the plane kx = 0 Hermitian
    operators : (n_op, 3, 3) float32             the group's rotations on (x, y, z), the identity among them
    radius : float                               nothing is read or written beyond this, samples

    Returns
    -------
    (nz, ny, nx, 3) float32                      another array than ``sums``; not divided by the number of operators

    Raises  ValueError: shapes disagree, or the radius reaches the edge.
    Source: docs/equations.md#symmetry     Cost: O(n_op nz ny nx)
    """
    out = be.empty(sums.shape, np.float32) if out is None else out
    _check("symmetrise", sums=(sums, (None, None, None, 3)), operators=(operators, (None, 3, 3)), out=(out, sums.shape))
    _check_lattice("symmetrise", sums.shape[:3], radius)
    if out is sums:
        raise ValueError(
            "symmetrise: out is the array of the sums, expected another: every sample reads several; leave out away"
        )
    be.lib.symmetrise(sums, operators, float(radius), out)
    return out


def shell_weights(be, sums, radius, ratio, n_bin, least=None):
    """Weights of 3D sums by distance from the origin, in bins of half a shell.

    Parameters
    ----------
    sums : (nz, ny, nx, 3) float32               real part, imaginary part, weight
    radius : float                               samples beyond are left out
    ratio : float                                samples per shell; a sample at distance d is in bin floor(2 d / ratio)
    n_bin : int                                  the last bin takes all beyond it
    least : (n_bin,) float32 or None             a weight of at least this is strong; None: none is

    Returns
    -------
    total : (n_bin,) float64                     sum of the weights, the same bits at every number of threads
    count, strong : (n_bin,) int64               samples, and those that are strong

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#wiener     Cost: O(nz ny nx)
    """
    least = np.full(n_bin, np.inf, np.float32) if least is None else least
    _check("shell_weights", sums=(sums, (None, None, None, 3)), least=(least, (n_bin,)))
    total, count, strong = be.empty((n_bin,), np.float64), be.empty((n_bin,), np.int64), be.empty((n_bin,), np.int64)
    be.lib.shell_weights(sums, least, float(radius), float(ratio), total, count, strong)
    return total, count, strong


def wiener(be, sums, prior, least, radius, ratio, scale, out=None):
    """Data over weight and prior: scale (re, im) / max(weight + prior, least).

    Parameters
    ----------
    sums, radius, ratio : as in ``shell_weights``
    prior, least : (n_bin,) float32              of each bin of half a shell
    scale : float

    Returns
    -------
    (nz, ny, nx) complex64                       0 beyond the radius and where the divisor is 0

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#wiener     Cost: O(nz ny nx)
    """
    out = be.empty(sums.shape[:3], np.complex64) if out is None else out
    _check("wiener", sums=(sums, (None, None, None, 3)), least=(least, prior.shape), out=(out, sums.shape[:3]))
    be.lib.wiener(sums, prior, least, float(radius), float(ratio), float(scale), out)
    return out


def _check_lattice(kernel, shape, radius):
    nz, ny, nx = shape
    least = int(radius) + 2
    if nz % 2 == 0 or ny % 2 == 0 or nx < least or min(ny, nz) // 2 < least - 1:
        raise ValueError(
            f"{kernel}: radius {radius} needs a transform of at least ({2 * least - 1}, {2 * least - 1}, {least}), "
            f"with odd numbers of planes and rows; got ({nz}, {ny}, {nx})"
        )


def _check_classes(kernel, n_vol, class_of):
    if len(class_of) and not (int(np.min(class_of)) >= 0 and int(np.max(class_of)) < n_vol):
        raise ValueError(
            f"{kernel}: class_of is in {int(np.min(class_of))}..{int(np.max(class_of))}, expected 0..{n_vol - 1}"
        )
