"""Where the classes of a run with one reference begin: at maps that differ along the data's own principal volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vitreous.engine import initial, principal_views, principal_volumes, schedule
from vitreous.engine.principal_views import Space, Views
from vitreous.engine.reconstruct3d import reference_transform
from vitreous.engine.settings import Settings
from vitreous.job import batches
from vitreous.model.state import Model, Refinement, Sampling
from vitreous.model.symmetry import Symmetry

# Detail of this part of the particle's diameter is compared. Finer differences need poses that are better than 3 degrees.
DETAIL = 0.1
# Prior variance of a principal volume as a part of the mean map's power, shell by shell.
PRIOR_SHARE = 0.1
# K classes differ along K - 1 volumes; so many at most, as each needs particles that tell it from noise.
MOST_VOLUMES = 4
# Starts from random coordinates, and fits with the orientations exchanged among the particles.
N_STARTS, N_EXCHANGED = 2, 2
# A difference is shown where the log-likelihood's gain is larger than that with exchanged orientations by more than this
# part of one volume's. Gains of exchanged orientations scatter by 0.02 (450 particles); shown ones exceed them by 0.09 and more.
LEAST_EXCESS = 0.05
# Memory for the particles' bands. So many particles, chosen at random, stand for all.
BANDS_BYTES = 192 << 20
# The random key of the exchange.
USE_EXCHANGE = 11


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """First references of K classes, and how much the particles say for their difference.

    Attributes
    ----------
    references : (K, box, box, box) float32
    gain, exchanged_gain : of the log-likelihood; the second with orientations exchanged among particles
    shares : (K,) of the particles
    n_particles, n_volumes : that were used
    detail_A : finest detail that was compared
    """

    references: np.ndarray
    gain: float
    exchanged_gain: float
    shares: np.ndarray
    n_particles: int
    n_volumes: int
    detail_A: float

    @property
    def excess(self) -> float:
        """What the gain is above that of chance, as a part of one volume's."""
        return (self.gain - self.exchanged_gain) / max(self.exchanged_gain, 1e-9) * self.n_volumes

    @property
    def is_shown(self) -> bool:
        return self.excess > LEAST_EXCESS

    @property
    def told(self) -> str:
        """The numbers that decide, in words."""
        several = self.n_volumes > 1
        return (
            f"{self.n_volumes} principal volume{'s' * several} of {self.n_particles} particles to {self.detail_A:.3g} A "
            f"raise{'s' * (not several)} the log-likelihood by {self.gain:.0f}, with orientations exchanged among particles by "
            f"{self.exchanged_gain:.0f}"
        )


def radius_px(model: Model, settings: Settings) -> int:
    """The last shell that is compared."""
    wanted = round(model.box * model.pixel_size_A / (DETAIL * settings.particle_diameter_A))
    return int(np.clip(wanted, 2, model.box // 2))


def space_of(model: Model, settings: Settings, symmetry: Symmetry) -> Space:
    """The space of volumes with the model's extent."""
    share = settings.particle_diameter_A / (2 * model.box * model.pixel_size_A)
    return Space.of(model.box, radius_px(model, settings), model.padding, share, settings.mask_edge_px / model.box, symmetry)


def plan_of(model: Model, settings: Settings, space: Space):
    """What images are prepared with: no references, masks with zeros, no noise known."""
    small = space.lattice.box
    flat = replace(
        model,
        pixel_size_A=model.box * model.pixel_size_A / small,
        references=np.zeros((1, small, small), np.float32),
        class_weight=np.ones(1),
        sigma2_noise=np.ones((len(model.sigma2_noise), space.lattice.n_shells)),
    )
    size = 2 * int(space.lattice.radius_px)
    return initial.start_plan(flat, Sampling(30.0, 0.0, 1.0, 0), replace(settings, zero_mask=True), size)


def most_particles(space: Space) -> int:
    """As many as memory for their bands allows."""
    return BANDS_BYTES // (principal_views.BYTES_PER_PIXEL * batches.pixels(2 * int(space.lattice.radius_px)))


def drawn(dataset, seed: int, most: int) -> np.ndarray:
    """Positions, ascending, of so many usable particles drawn at random; of fewer, the first of the same draw."""
    order = schedule.particle_order(dataset.particles.row, seed, 0)
    return np.sort(order[dataset.usable[order]][:most])


def read_views(be, plan, space: Space, state: Refinement, source, mine) -> tuple[list[Views], list[np.ndarray]]:
    """Views of this process's particles, and their positions; those that cannot be read are left out."""
    parts, positions = [], []
    for indices, images, _ in batches.read(state.dataset, source, batches.split(state.dataset, mine)):
        if len(indices):
            batch = batches.make_batch(state.dataset, indices, images)
            parts.append(principal_views.views_of(be, plan, space, batch, state.dataset.particles.euler_deg[indices]))
            positions.append(indices)
    return parts, positions


def exchanged(plan, space: Space, state: Refinement, parts, positions, chosen, seed: int, i: int) -> list[Views]:
    """The views with each other's orientations: what they have in common is by chance."""
    rng = np.random.Generator(np.random.Philox(key=[seed, (USE_EXCHANGE << 32) + i]))
    other = np.empty(len(state.dataset), np.int64)
    other[chosen] = rng.permutation(chosen)
    euler, optics = state.dataset.particles.euler_deg, state.dataset.optics
    matrix = lambda views, at: principal_views.matrices(plan, space, optics[views.i_optics], euler[other[at]])
    return [replace(views, matrix=matrix(views, at)) for views, at in zip(parts, positions)]


def class_maps(
    be, comm, state: Refinement, settings: Settings, source, *, most=None, advance: Callable[[int], None] = lambda n: None
) -> ClassMaps:
    """Maps of K classes: the references, each moved to a point among the principal volumes' coordinates.

    Parameters
    ----------
    state : a run's start with one map for all classes; the particles' poses are used as they are
    most : particles that are used; None = as many as memory for their bands allows
    advance : called with 1 after each of ``N_STARTS + N_EXCHANGED`` fits
    """
    model, seed = state.models[0], settings.random_seed
    space = space_of(model, settings, Symmetry.parse(state.symmetry))
    plan = plan_of(model, settings, space)
    chosen = drawn(state.dataset, seed, min(most_particles(space), most or len(state.dataset)))
    parts, positions = read_views(be, plan, space, state, source, comm.share(chosen))
    mean = principal_views.mean_map(be, space, parts, comm.sum)
    parts = principal_views.residuals(be, space, parts, mean, len(state.dataset.optics), comm.sum)
    tau2 = PRIOR_SHARE * reference_transform(mean, space.lattice, be.n_threads)[1]
    n_volumes = min(model.n_classes - 1, MOST_VOLUMES)

    def fit(views, start: int):
        found = principal_volumes.fitted(be, space, views, tau2, n_volumes, seed, start, comm.sum)
        advance(1)
        return found

    found = max((fit(parts, i) for i in range(N_STARTS)), key=lambda f: f.log_likelihood)
    others = [exchanged(plan, space, state, parts, positions, chosen, seed, i) for i in range(N_EXCHANGED)]
    by_chance = max(fit(views, i).log_likelihood for i, views in enumerate(others))
    at, share = classes(comm, found, model.n_classes, seed)
    moved = np.tensordot(at.astype(np.float32), found.volumes, 1)
    references = model.references + np.stack([principal_views.in_box(be, space, v, model.box) for v in moved])
    detail_A = model.box * model.pixel_size_A / space.lattice.radius_px
    return ClassMaps(references, found.log_likelihood, by_chance, share.mean(0), len(share), n_volumes, detail_A)


def classes(comm, found, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of K classes (k, q), and the shares (n, k) of all processes' particles in them."""
    row, precision, pull = (np.concatenate(x) for x in zip(*comm.gather([(found.row, found.precision, found.pull)])))
    order = np.argsort(row)
    return comm.map(lambda ordered: principal_volumes.points(*ordered, k, seed), [(precision[order], pull[order])])[0]
