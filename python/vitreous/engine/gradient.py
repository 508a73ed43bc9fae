"""One step of references along the gradient of their likelihood, with momenta and two pseudo-half-sets. 2D and 3D.

Transforms here hold the padded lattice out to some radius, centred: kx = 0.. along the last axis, the others centred. A
smaller lattice is the middle of a larger one. Source: docs/equations.md#gradient
"""

from __future__ import annotations

import numpy as np

from vitreous.model.state import Moments

# Moments are divided by the root of the second, which must not vanish.
TINY = 1e-12


def no_moments(n_classes: int, shape: tuple[int, ...]) -> Moments:
    """Moments before the first step, on a lattice."""
    return Moments(np.zeros((2, n_classes, *shape), np.complex64), np.ones((n_classes, *shape), np.float32))


def middle(array, shape: tuple[int, ...]) -> np.ndarray:
    """The part of centred transforms (..., ny, nx), or (..., nz, ny, nx), that a smaller lattice has; a view."""
    n = len(shape)
    place = [slice(None)] * (array.ndim - n)
    place += [slice(m // 2 - k // 2, m // 2 + k // 2 + 1) for m, k in zip(array.shape[-n:-1], shape[:-1])]
    return array[(*place, slice(0, shape[-1]))]


def gradient(data, weight) -> np.ndarray:
    """Residual over weight: the step that would bring each sample to the mean of its observations.

    Parameters
    ----------
    data : (...) complex64         sums of CTF (image - CTF slice) / sigma^2
    weight : (...) float32         sums of CTF^2 / sigma^2

    Returns
    -------
    (...) complex64; where less than one observation's worth was seen, less than the whole step
    """
    return (data / np.maximum(weight, 1)).astype(np.complex64)


def update_moments(moments: Moments, i_class: int, gradients, momentum: float, curvature: float) -> None:
    """Bring an iteration's gradients into the moments of a class, on the lattice that they are on.

    Parameters
    ----------
    gradients : (2, ...) complex64     of the pseudo-half-sets
    momentum, curvature : shares that the old moments keep
    """
    shape = gradients.shape[1:]
    fresh = not moments.first[:, i_class].any()
    for half, new in enumerate(gradients):
        old = middle(moments.first[half, i_class], shape)
        old[...] = new if fresh else momentum * old + (1 - momentum) * new
    one, two = gradients
    difference = np.abs(two - one) ** 2 / (np.abs(0.5 * (one + two)) ** 2 + TINY)
    old = middle(moments.second[i_class], shape)
    old[...] = curvature * old + (1 - curvature) * difference


def direction(moments: Moments, i_class: int, shape: tuple[int, ...]) -> np.ndarray:
    """(...) complex64 along which a class steps: the mean first moment over the root of the second."""
    one, two = (middle(moments.first[half, i_class], shape) for half in (0, 1))
    return 0.5 * (one + two) / (np.sqrt(middle(moments.second[i_class], shape)) + TINY)


def copy_moments(moments: Moments, source: int, target: int, share: float) -> None:
    """Let one class have a share of another's first moments, and its second."""
    moments.first[:, target] = share * moments.first[:, source]
    moments.second[target] = moments.second[source]


def stepped(ft, moments: Moments, i_class: int, shell, length: float, tau2_fudge: float) -> np.ndarray:
    """A reference's transform after a step: supported shells follow the gradient, the others shrink.

    Parameters
    ----------
    ft : (...) complex64       transform of the reference
    shell : (...) int          shell of each sample; -1 where the lattice ends, which stays as it is
    length : of the step
    tau2_fudge : weight of the data

    Returns
    -------
    (...) complex64
    """
    one, two = (middle(moments.first[half, i_class], ft.shape) for half in (0, 1))
    along = direction(moments, i_class, ft.shape)
    inside = shell >= 0
    of = shell[inside]
    n_shells = int(of.max(initial=0)) + 1
    mean = lambda values: np.bincount(of, np.abs(values[inside]), n_shells) / np.maximum(np.bincount(of), 1)
    noise, power = mean(one - two), mean(ft)
    snr = np.where(noise > 0, 2 * tau2_fudge * power / np.where(noise > 0, noise, 1), 0)
    support = (snr / (1 + snr)).astype(np.float32)[np.maximum(shell, 0)]
    return np.where(inside, ft + np.float32(length) * (support * along - (1 - support) * ft), ft).astype(np.complex64)
