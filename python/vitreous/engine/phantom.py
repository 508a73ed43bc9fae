"""A made-up protein whose density and projections are known in closed form: a sum of round Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.model.symmetry import Symmetry

# Domains of the default molecule: centre and semi-axes in units of the outer radius, and relative density. No two
# are alike and their centres lie on no common plane, so every view direction gives its own silhouette: a broad foot,
# a neck, a head that leans over, an arm that points sideways and a small knob at the back.
DOMAINS = (
    ((-0.05, -0.50, -0.05), (0.58, 0.27, 0.40), 1.0),
    ((-0.18, -0.05, 0.02), (0.22, 0.42, 0.24), 1.0),
    ((0.05, 0.46, 0.12), (0.42, 0.30, 0.28), 1.0),
    ((0.36, -0.04, 0.24), (0.48, 0.17, 0.20), 1.1),
    ((-0.38, 0.12, -0.34), (0.28, 0.22, 0.28), 1.1),
    ((0.36, -0.42, -0.40), (0.20, 0.20, 0.30), 1.1),
)
BLOBS_PER_ROD = 6
TOUCH = 1.9  # diameter of a symmetric molecule's copies over their distance: uneven as they are, they then interlock
LEAST_RODS = 24  # of a copy: enough for its six domains to be told apart
CHUNK = 8  # projections whose profiles share the cache


@dataclass(frozen=True, eq=False)
class Phantom:
    """Sum of round Gaussians in the reference frame; the origin of the frame is the box centre.

    Parameters
    ----------
    centres_A : (n_blobs, 3) float64    x, y, z
    sigma_A : (n_blobs,) float64        standard deviation of each blob
    weights : (n_blobs,) float64        integral of each blob, density times A^3
    """

    centres_A: np.ndarray
    sigma_A: np.ndarray
    weights: np.ndarray

    @property
    def diameter_A(self) -> float:
        """Diameter of the sphere around the origin that holds every blob to two standard deviations."""
        return float(2 * np.max(np.linalg.norm(self.centres_A, axis=1) + 2 * self.sigma_A))

    @property
    def n_bytes(self) -> int:
        """Memory that it holds."""
        return self.centres_A.nbytes

    def volume(self, box: int, pixel_size_A: float) -> np.ndarray:
        """Density at the voxel centres.

        Returns
        -------
        (box, box, box) float32     zyx, origin at box//2
        """
        x, y, z = (_profiles(self.centres_A[:, i], self.sigma_A, box, pixel_size_A) for i in range(3))
        z *= self.weights[:, None]
        planes = (_sum_of_products((y * z[:, i, None])[None], x[None])[0] for i in range(box))
        return np.stack([plane.astype(np.float32) for plane in planes])

    def projections(self, rotations, origins_A, box: int, pixel_size_A: float) -> np.ndarray:
        """Line integrals divided by the pixel size, which is what summing the voxels of ``volume`` along z gives.

        Parameters
        ----------
        rotations : (n, 3, 3) float64   map reference coordinates into the image frame (rows are the image axes)
        origins_A : (n, 2) float64      x, y shift that would centre each image, as rlnOriginX/YAngst

        Returns
        -------
        (n, box, box) float32           yx, origin at box//2

        Cost: O(n n_blobs box^2) in matrix products
        """
        rotations, origins_A = np.asarray(rotations, float), np.asarray(origins_A, float)
        weights = (self.weights / pixel_size_A).astype(np.float32)[:, None]
        out = np.empty((len(rotations), box, box), np.float32)
        for start in range(0, len(out), CHUNK):
            rows = slice(start, start + CHUNK)
            x_A, y_A = rotations[rows, :2].transpose(1, 0, 2) @ self.centres_A.T - origins_A[rows].T[:, :, None]
            x = _profiles(x_A, self.sigma_A, box, pixel_size_A, np.float32)
            y = _profiles(y_A, self.sigma_A, box, pixel_size_A, np.float32)
            y *= weights
            out[rows] = _sum_of_products(y, x)
        return out

    def project(self, rotation, box: int, pixel_size_A: float) -> np.ndarray:
        """One centred projection, see ``projections``.

        Parameters
        ----------
        rotation : (3, 3) float64

        Returns
        -------
        (box, box) float32
        """
        return self.projections(np.asarray(rotation)[None], np.zeros((1, 2)), box, pixel_size_A)[0]


def _profiles(centres_A, sigma_A, box, pixel_size_A, dtype=np.float64):
    """(..., box) unit-area Gaussians sampled at the pixel centres of one axis."""
    inverse = np.sqrt(0.5) / np.asarray(sigma_A)
    axis = ((np.arange(box) - box // 2) * pixel_size_A * inverse[:, None]).astype(dtype)
    out = axis - (np.asarray(centres_A) * inverse).astype(dtype)[..., None]
    out *= out
    # a limit of 40 keeps products of two profiles above the denormal numbers, which slow a matrix product 40 times
    np.minimum(out, dtype(40), out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    out *= (inverse / np.sqrt(np.pi)).astype(dtype)[:, None]
    return out


def _sum_of_products(y, x):
    """(n, box, box) sum over blobs of y[n, blob, :, None] * x[n, blob, None, :].

    Done in matrix products of at most 2^18 terms: OpenBLAS spreads larger ones over threads, and on a busy machine
    such short products then wait for each other (measured: 0.1 ms an image against 1 to 50 ms).
    """
    n, n_blobs, box = y.shape
    depth = 64
    whole = n_blobs // depth * depth
    n_rows = max(2**18 // (depth * box), 1)
    out = np.empty((n, box, box), y.dtype)
    left, right = (a[:, :whole].reshape(n, whole // depth, depth, box) for a in (y, x))
    for start in range(0, box, n_rows):
        rows = slice(start, start + n_rows)
        out[:, rows] = np.matmul(left[..., rows].swapaxes(2, 3), right).sum(axis=1)
        out[:, rows] += np.matmul(y[:, whole:, rows].swapaxes(1, 2), x[:, whole:])
    return out


def make_phantom(
    diameter_A: float = 180.0, n_rods: int = 110, sigma_A: float = 3.4, seed: int = 7, symmetry: Symmetry | None = None
) -> Phantom:
    """A protein of six domains, each packed with short rods that stand for helices; or a ring or shell of such proteins.

    Parameters
    ----------
    diameter_A : outer diameter; the arrangement scales with it, the blobs do not
    n_rods : rods in the whole molecule, shared among the domains by volume
    sigma_A : standard deviation of a blob; 3.4 leaves 3 % of the amplitude at 8 A, so pixels of 4 A do not alias
    seed : decides where the rods lie inside the domains
    symmetry : point group of the whole; None or C1: one asymmetric protein

    Returns
    -------
    Phantom     centre of mass at the origin
    """
    if symmetry is not None and symmetry.order > 1:
        return _assembled(diameter_A, n_rods, sigma_A, seed, symmetry)
    rng = np.random.Generator(np.random.Philox(key=seed))
    reach_A = 0.5 * diameter_A - 2 * sigma_A
    size = np.array([np.prod(axes) for _, axes, _ in DOMAINS])
    share = np.maximum(2, np.rint(n_rods * size / size.sum()).astype(int))
    centres, weights = [], []
    for (centre, axes, density), n in zip(DOMAINS, share):
        blobs = _packed_rods(np.array(axes), n, rng) + np.array(centre)
        centres.append(blobs)
        weights.append(np.full(len(blobs), density * np.prod(axes) / len(blobs)))
    centres, weights = np.concatenate(centres), np.concatenate(weights)
    centres -= weights @ centres / weights.sum()
    centres *= reach_A / np.linalg.norm(centres, axis=1).max()
    return Phantom(centres, np.full(len(weights), sigma_A), weights / weights.sum() * diameter_A**3)


def _assembled(diameter_A, n_rods, sigma_A, seed, symmetry):
    """Copies of a smaller protein around the axes of a point group, as far from each other as they can be."""
    directions = np.random.Generator(np.random.Philox(key=seed)).normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    copies = np.einsum("gij,nj->gni", symmetry.rotations[1:], directions)
    apart = np.linalg.norm(copies - directions, axis=2).min(axis=0)
    best = int(np.argmax(apart))
    # a protein of diameter d stands r from the centre: r + d / 2 is the outer radius, and r apart the distance of copies
    unit_A = diameter_A / (1 + 2 / (TOUCH * apart[best]))
    unit = make_phantom(unit_A, max(2 * n_rods // symmetry.order, LEAST_RODS), sigma_A, seed)
    centres = unit.centres_A + directions[best] * (diameter_A - unit_A) / 2
    centres = np.einsum("gij,nj->gni", symmetry.rotations, centres).reshape(-1, 3)
    return Phantom(centres, np.tile(unit.sigma_A, symmetry.order), np.tile(unit.weights, symmetry.order))


def _packed_rods(axes, n, rng):
    """(n * BLOBS_PER_ROD, 3) points on n straight rods inside an ellipsoid, kept apart by best-candidate sampling."""
    along = np.linspace(-0.5, 0.5, BLOBS_PER_ROD)
    middles = np.zeros((0, 3))
    rods = []
    for _ in range(n):
        trial = rng.normal(size=(24, 3))
        trial *= 0.8 * rng.random((24, 1)) ** (1 / 3) / np.linalg.norm(trial, axis=1, keepdims=True)
        apart = np.linalg.norm(trial[:, None] - middles[None], axis=2).min(axis=1, initial=2.0)
        middle = trial[np.argmax(apart)]
        middles = np.vstack([middles, middle])
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        # the rod reaches to the surface of the unit ball on its shorter side, at most 0.9 long
        inward = middle @ direction
        room = np.sqrt(max(1 - middle @ middle + inward * inward, 0)) - abs(inward)
        rods.append(middle + along[:, None] * direction * np.clip(2 * room, 0.3, 0.9))
    return np.concatenate(rods) * axes
