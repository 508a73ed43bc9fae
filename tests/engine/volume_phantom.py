"""A map whose transform is known in closed form, with a point group or none, and particles that see it."""

import numpy as np

from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry

SIGMA_PX = 1.4


class Blobs:
    """Equal Gaussians at some places and their copies under a point group."""

    def __init__(self, symmetry="C1", n=4, reach_px=9.0, seed=2):
        rng = np.random.default_rng(seed)
        places = rng.normal(size=(n, 3))
        places *= (reach_px * rng.uniform(0.4, 1, n) / np.linalg.norm(places, axis=1))[:, None]
        rotations = Symmetry.parse(symmetry).rotations
        self.places = np.einsum("oij,nj->noi", rotations, places).reshape(-1, 3)  # x, y, z
        self.heights = np.repeat(rng.uniform(0.5, 1.5, n), len(rotations))

    def volume(self, box):
        """(box, box, box) float32."""
        z, y, x = np.indices((box,) * 3) - box // 2
        terms = (
            h * np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2) / (2 * SIGMA_PX**2))
            for p, h in zip(self.places, self.heights)
        )
        return sum(terms).astype(np.float32)

    def images(self, rotations, shifts_px, box):
        """(n, box, box) float32 exact line integrals, the centre at minus the shift."""
        y, x = np.indices((box, box)) - box // 2
        out = np.zeros((len(rotations), box, box))
        for image, rotation, shift in zip(out, rotations, shifts_px):
            for place, height in zip(self.places @ rotation.T, self.heights):
                distance2 = (x - place[0] + shift[0]) ** 2 + (y - place[1] + shift[1]) ** 2
                image += height * np.sqrt(2 * np.pi) * SIGMA_PX * np.exp(-distance2 / (2 * SIGMA_PX**2))
        return out.astype(np.float32)


def random_rotations(n, seed=0):
    rng = np.random.default_rng(seed)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, n)))
    return euler_to_matrix(np.stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n)], -1))


def optics(box, pixel_size_A=3.0, **more):
    return OpticsGroup("optics", 1, 300.0, 2.7, 0.1, pixel_size_A, box, **more)


def ctf_table(n, seed=4):
    """(n, 9) parameters at different defoci, some with an astigmatism."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(8000, 20000, n)
    zeros = np.zeros(n)
    return np.stack(
        [u, u - 500, rng.uniform(0, 180, n), zeros + 300, zeros + 2.7, zeros + 0.1, zeros, zeros, zeros + 1], -1
    )
