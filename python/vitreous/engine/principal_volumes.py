"""Volumes along which particles of known pose differ most, and K points among their coordinates: maps of K classes.

Probabilistic principal components by expectation-maximisation, then a mixture of K points with each particle's own
likelihood. Source: docs/equations.md#principal
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vitreous.engine.principal_views import (
    Space,
    Views,
    insert,
    no_sums,
    slices,
    solved,
    transforms,
    without_nuisance,
)

# Random keys: of the first coordinates of each start, and of the points'.
USE_COORDINATES, USE_POINTS = 9, 10
# EM stops when a step adds less than this part of the log-likelihood, or after so many steps. On 450 particles of a ribosome in
# two states the likelihood rises slowly for 20 to 60 steps, by 1e-3 each, until the difference is found; 40 later it gains 1e-6.
LEAST_GAIN, MOST_STEPS = 1e-5, 150
POINT_STARTS, POINT_STEPS = 8, 200
LEAST_WEIGHT = 1e-6  # of a point, which may come back


@dataclass(frozen=True, eq=False)
class Found:
    """Principal volumes, and what each particle of this process says of its coordinates z: exp(b z - z G z / 2).

    Attributes
    ----------
    volumes : (q, b, b, b) float32
    row : (n,) int64            the particles
    precision : (n, q, q) float64 G
    pull : (n, q) float64       b
    log_likelihood : gain over no differences, of all particles; coordinates are normal with variance 1
    """

    volumes: np.ndarray
    row: np.ndarray
    precision: np.ndarray
    pull: np.ndarray
    log_likelihood: float


def normal_numbers(rows, q: int, seed: int, start: int) -> np.ndarray:
    """(n, q) normal numbers, a function of the seed, the start and each particle's row."""
    rng = np.random.Generator(np.random.Philox(key=[seed, (USE_COORDINATES << 32) + start]))
    return rng.standard_normal((int(rows.max(initial=-1)) + 1, q))[rows]


def first_volumes(be, space: Space, parts: list[Views], tau2, q: int, seed: int, start: int, add: Callable) -> np.ndarray:
    """(q, b, b, b) float32: averages of the residuals with random weights."""
    sums = no_sums(space, q)
    for views in parts:
        z = normal_numbers(views.row, q, seed, start)
        insert(be, space, z[..., None] * views.data.reshape(len(views), 1, -1), np.ones_like(z), views, sums)
    return solved(be, space, add(sums), tau2)


@dataclass(frozen=True, eq=False)
class Expected:
    """Of n views: what they say of their coordinates (``Found``), and the expectations that the next volumes need.

    Attributes
    ----------
    precision, pull : (n, q, q), (n, q) float64
    mean, second : (n, q), (n, q, q) float64 of the coordinates: E[z], E[z z^T]
    rows : (n, q, 2 n_k) float32  E[z_j (data - what the other volumes and the nuisance show)]
    log_likelihood : gain over no differences
    """

    precision: np.ndarray
    pull: np.ndarray
    mean: np.ndarray
    second: np.ndarray
    rows: np.ndarray
    log_likelihood: float


def expected(views: Views, shown) -> Expected:
    """Expectations over the coordinates of views, given what they show of the volumes (n, q, 2 n_k)."""
    n, q, _ = shown.shape
    seen, data = without_nuisance(views, shown), views.data.reshape(n, 1, -1)
    precision = (seen @ np.swapaxes(shown, 1, 2)).astype(float)
    pull = (seen @ np.swapaxes(data, 1, 2))[..., 0].astype(float)
    variance = np.linalg.inv(np.eye(q) + precision)
    mean = (variance @ pull[..., None])[..., 0]
    second = variance + mean[:, :, None] * mean[:, None]
    own = np.einsum("nii->ni", second)
    rows = mean[..., None].astype(np.float32) * data - second.astype(np.float32) @ seen
    rows += own[..., None].astype(np.float32) * shown
    gain = 0.5 * float((pull * mean).sum() + np.linalg.slogdet(variance)[1].sum())
    return Expected(precision, pull, mean, second, rows, gain)


def step(be, space: Space, parts: list[Views], volumes, tau2, add: Callable) -> tuple[np.ndarray, Found]:
    """One step of EM: the next volumes, and what was found with the present ones.

    Afterwards the coordinates are turned to where their second moments are diagonal, so that each volume may be solved alone.
    """
    q, ft, sums = len(volumes), transforms(be, space, volumes), no_sums(space, len(volumes))
    moment, gain, row, precision, pull = np.zeros((q, q)), 0.0, [np.zeros(0, np.int64)], [np.zeros((0, q, q))], [np.zeros((0, q))]
    for views in parts:
        of = expected(views, slices(be, space, ft, views))
        insert(be, space, of.rows, np.einsum("nii->ni", of.second), views, sums)
        moment += of.second.sum(0)
        gain += of.log_likelihood
        for pieces, piece in ((row, views.row), (precision, of.precision), (pull, of.pull)):
            pieces.append(piece)
    sums, moment, gain = add(sums), add(moment), add(gain)
    found = Found(volumes, *(np.concatenate(pieces) for pieces in (row, precision, pull)), float(gain))
    turn = np.linalg.eigh(moment)[1].astype(np.float32)
    return np.tensordot(turn.T, solved(be, space, sums, tau2), 1), found


def fitted(be, space: Space, parts: list[Views], tau2, q: int, seed: int, start: int, add: Callable) -> Found:
    """Principal volumes from one random start.

    Parameters
    ----------
    tau2 : (n_shells,) prior variance of the volumes
    add : sum over processes
    """
    volumes, before = first_volumes(be, space, parts, tau2, q, seed, start, add), -np.inf
    for _ in range(MOST_STEPS):
        volumes, found = step(be, space, parts, volumes, tau2, add)
        if found.log_likelihood - before < LEAST_GAIN * abs(found.log_likelihood):
            break
        before = found.log_likelihood
    return found


def points(precision, pull, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """K points in the coordinates of principal volumes that explain the particles best, and the particles' shares in them.

    Parameters
    ----------
    precision, pull : (n, q, q), (n, q) float64 of all particles, in an order that no process decides

    Returns
    -------
    (k, q) float64, (n, k) float64
    """
    n, q = pull.shape
    own = np.linalg.solve(np.eye(q) + precision, pull[..., None])[..., 0]
    rng, best = np.random.Generator(np.random.Philox(key=[seed, USE_POINTS])), None
    for _ in range(POINT_STARTS):
        at, weight = own[rng.choice(n, k, replace=n < k)], np.full(k, 1 / k)
        for _ in range(POINT_STEPS):
            log = np.log(weight) + pull @ at.T - 0.5 * np.einsum("ki,nij,kj->nk", at, precision, at, optimize=True)
            most = log.max(1, keepdims=True)
            share = np.exp(log - most)
            total = share.sum(1, keepdims=True)
            share /= total
            likelihood = float((most + np.log(total)).sum())
            weight = np.maximum(share.mean(0), LEAST_WEIGHT)
            at = np.linalg.solve(np.einsum("nk,nij->kij", share, precision) + np.eye(q), (share.T @ pull)[..., None])[..., 0]
        if best is None or likelihood > best[0]:
            best = likelihood, at, share
    return best[1], best[2]
