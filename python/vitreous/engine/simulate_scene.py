"""What a simulated micrograph shows besides its particles, and where in the ice particles stand.

Places are in Angstrom from the first pixel, x then y. Everything is a function of the generator that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitreous.errors import InputError

# Discs that fall at random come to rest at 0.547 of the area; up to 0.45 it takes some 30 trials a disc.
MOST_COVERED = 0.45
MOST_TRIALS = 2000  # per particle
N_PROBES = 4096  # points that measure the free share of the ice, to 1 %
OVERLAP = (0.4, 0.95)  # distance of an overlapping particle to its neighbour, in least distances
HOLE_RADIUS_A = (5000.0, 12000.0)  # of a carbon film's holes
CARBON_SHARE = (0.15, 0.45)  # how far the carbon reaches into the micrograph, in sides
CARBON_TRANSMISSION = 0.88
EDGE_A = 30.0  # width of the step at the carbon's edge
# Contaminants: radius from, to (A), and transmission from, to. Ice crystals are dark, drops of ethane hardly so.
CONTAMINANTS = ((150.0, 500.0, 0.65, 0.88), (120.0, 300.0, 0.9, 0.97))
WOBBLE = 0.15  # how far a contaminant's outline departs from a circle, each of its harmonics
N_HARMONICS = 4  # from the second


@dataclass(frozen=True)
class Scene:
    """What all micrographs of a set have in common.

    Attributes
    ----------
    shape : (ny, nx) px
    pixel_size_A : A
    distance_A : least distance of particles that do not overlap
    overlaps : share of the particles that overlap with another one
    gradient : part by which the background falls from one side of the micrograph to the other
    carbon : share of the micrographs that show the edge of a hole
    contaminants : mean number of ice crystals and drops in a micrograph
    """

    shape: tuple[int, int]
    pixel_size_A: float
    distance_A: float
    overlaps: float = 0.0
    gradient: float = 0.0
    carbon: float = 0.0
    contaminants: float = 0.0

    @property
    def size_A(self) -> np.ndarray:
        """(2,) x, y: from the first pixel to the last."""
        return (np.array(self.shape[::-1]) - 1) * self.pixel_size_A

    @property
    def most_particles(self) -> int:
        """Particles that find a place."""
        return int(MOST_COVERED * np.prod(self.size_A) / (np.pi / 4 * self.distance_A**2))

    def check(self, n: int) -> None:
        """Raise InputError where ``n`` particles do not fit into a micrograph."""
        if n > self.most_particles:
            ny, nx = self.shape
            raise InputError(
                f"simulate: found {n} particles in a micrograph of {nx} x {ny} px, expected at most {self.most_particles} "
                f"that stand {self.distance_A:g} A apart; give fewer particles or a smaller distance"
            )


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What one micrograph shows.

    Attributes
    ----------
    slope : (2,) the background's change from left to right and from top to bottom, as a part of its mean
    hole : (3,) x, y, radius (A) of the hole in the carbon film; None: no carbon in sight
    contaminants : (n, 4) x, y, radius (A), transmission
    outlines : (n, 2, N_HARMONICS) cosine and sine terms of each contaminant's outline, in radii
    """

    slope: np.ndarray
    hole: np.ndarray | None
    contaminants: np.ndarray
    outlines: np.ndarray


def draw_surroundings(scene: Scene, rng: np.random.Generator) -> Surroundings:
    """Gradient, carbon and contaminants of one micrograph."""
    angle = 2 * np.pi * rng.random()
    slope = scene.gradient * np.array([np.cos(angle), np.sin(angle)])
    has_carbon, toward, reach, radius = rng.random(4)
    hole = None
    if has_carbon < scene.carbon:
        radius_A = HOLE_RADIUS_A[0] + radius * (HOLE_RADIUS_A[1] - HOLE_RADIUS_A[0])
        share = CARBON_SHARE[0] + reach * (CARBON_SHARE[1] - CARBON_SHARE[0])
        direction = np.array([np.cos(2 * np.pi * toward), np.sin(2 * np.pi * toward)])
        # the rim runs through the point that lies this far inside of the side that it comes from
        rim = scene.size_A / 2 + direction * (0.5 - share) * scene.size_A.min()
        hole = np.r_[rim - direction * radius_A, radius_A]
    n = rng.poisson(scene.contaminants)
    kind = np.array(CONTAMINANTS)[(rng.random(n) < 0.3).astype(int)]
    draw = rng.random((n, 4))
    ranges = [kind[:, i] + draw[:, 2 + i // 2] * (kind[:, i + 1] - kind[:, i]) for i in (0, 2)]
    outlines = WOBBLE * rng.standard_normal((n, 2, N_HARMONICS)) / np.arange(2, 2 + N_HARMONICS)
    return Surroundings(slope, hole, np.column_stack([draw[:, :2] * scene.size_A, *ranges]), outlines)


def is_free(places_A: np.ndarray, scene: Scene, around: Surroundings) -> np.ndarray:
    """(n,) bool: whether a particle at each of the (n, 2) places stands in ice, clear of carbon and contaminants."""
    margin_A = scene.distance_A / 2
    free = np.ones(len(places_A), bool)
    if around.hole is not None:
        free &= np.linalg.norm(places_A - around.hole[:2], axis=1) < around.hole[2] - margin_A
    for x_A, y_A, radius_A, _ in around.contaminants:
        free &= np.linalg.norm(places_A - (x_A, y_A), axis=1) > (1 + 2 * WOBBLE) * radius_A + margin_A
    return free


def place(n: int, scene: Scene, around: Surroundings, rng: np.random.Generator) -> np.ndarray:
    """Places of particles; fewer than ``n`` by the share of the micrograph that is not free.

    Parameters
    ----------
    n : particles in a micrograph of nothing but ice

    Returns
    -------
    (<= n, 2) float64                x, y in A; the overlapping ones last

    Raises  InputError: there is no room for them.
    """
    free = is_free(rng.random((N_PROBES, 2)) * scene.size_A, scene, around).mean()
    n = int(np.rint(n * free))
    n_overlapping = min(int(np.rint(scene.overlaps * n)), max(n - 1, 0))
    n_apart = n - n_overlapping
    places = np.empty((n, 2))
    n_placed = n_trials = 0
    while n_placed < n_apart and n_trials < MOST_TRIALS * n_apart:
        trials = rng.random((256, 2)) * scene.size_A
        n_trials += len(trials)
        for trial in trials[is_free(trials, scene, around)]:
            step = places[:n_placed] - trial
            if n_placed < n_apart and not (np.einsum("ij,ij->i", step, step) < scene.distance_A**2).any():
                places[n_placed] = trial
                n_placed += 1
    if n_placed < n_apart:
        raise InputError(
            f"simulate: found room for {n_placed} particles {scene.distance_A:g} A apart in a micrograph, expected it for "
            f"{n_apart}; give fewer particles, a smaller distance or fewer contaminants"
        )
    for i in range(n_apart, n):
        places[i] = _beside(places[:n_apart], scene, around, rng)
    return places


def _beside(places_A, scene, around, rng):
    """A place that overlaps with one of those given, inside of the micrograph."""
    while True:
        neighbour, distance, turn = rng.random(3)
        near = places_A[int(neighbour * len(places_A))]
        step_A = scene.distance_A * (OVERLAP[0] + distance * (OVERLAP[1] - OVERLAP[0]))
        found = near + step_A * np.array([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)])
        if (found >= 0).all() and (found < scene.size_A).all() and is_free(found[None], scene, around)[0]:
            return found


def transmission(scene: Scene, around: Surroundings) -> np.ndarray:
    """How many electrons arrive at each pixel, as a part of what clear ice lets through on average.

    Returns
    -------
    (ny, nx) float32
    """
    ny, nx = scene.shape
    x, y = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in (nx, ny))
    out = np.float32(1) + np.float32(around.slope[0]) * x + (np.float32(around.slope[1]) * y)[:, None]
    if around.hole is not None:
        out *= 1 - np.float32(1 - CARBON_TRANSMISSION) * carbon(scene, around)
    for (x_A, y_A, radius_A, through), outline in zip(around.contaminants, around.outlines):
        reach_A = radius_A * (1 + 3 * WOBBLE)
        rows, columns = (_window(centre_A, reach_A, scene.pixel_size_A, n) for centre_A, n in ((y_A, ny), (x_A, nx)))
        dx = (np.arange(nx)[columns] * scene.pixel_size_A - x_A).astype(np.float32)
        dy = (np.arange(ny)[rows] * scene.pixel_size_A - y_A).astype(np.float32)[:, None]
        angle, distance_A = np.arctan2(dy, dx), np.hypot(dy, dx)
        edge_A = np.full_like(distance_A, radius_A)
        for i, (cosine, sine) in enumerate(outline.T, start=2):
            edge_A += np.float32(radius_A) * (np.float32(cosine) * np.cos(i * angle) + np.float32(sine) * np.sin(i * angle))
        # thicker in the middle, as a drop is
        depth = np.clip((edge_A - distance_A) / (0.3 * radius_A), 0, 1)
        out[rows, columns] *= 1 - np.float32(1 - through) * depth
    return out


def _window(centre_A, reach_A, pixel_size_A, n):
    first, last = (int(np.clip(round((centre_A + sign * reach_A) / pixel_size_A), 0, n)) for sign in (-1, 1))
    return slice(first, last)


def carbon(scene: Scene, around: Surroundings) -> np.ndarray:
    """(ny, nx) float32: 1 on the carbon film, 0 in its hole, with a soft edge."""
    (x_A, y_A, radius_A), (ny, nx) = around.hole, scene.shape
    dx = (np.arange(nx) * scene.pixel_size_A - x_A).astype(np.float32)
    dy = (np.arange(ny) * scene.pixel_size_A - y_A).astype(np.float32)[:, None]
    return np.clip((np.hypot(dy, dx) - np.float32(radius_A)) / np.float32(EDGE_A), 0, 1)
