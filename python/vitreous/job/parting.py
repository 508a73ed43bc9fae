"""Classes of an initial model that may be one structure in several states: joined, and begun again apart.

Steps along the gradient find the shape of a molecule, at angles too coarse to tell its states from each other: one class takes
nearly all particles. Local searches around the poses of one map make them fine enough, and the classes then begin along the
particles' principal volumes (job/class_start.py). Where the classes are different structures, that is worse than the classes as they
were, after as many searches: the likelihood tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vitreous.engine.gradient import PER_CLASS
from vitreous.engine.settings import Settings
from vitreous.job import class_start, refine
from vitreous.model import healpix
from vitreous.model.state import Model, Refinement, Sampling

# Global searches and local ones after them: how many; at which HEALPix order and with a prior of which width.
N_GLOBAL, N_MORE, N_LOCAL, LOCAL_ORDER, LOCAL_SIGMA_DEG = 3, 5, 8, 4, 4.0
# Finest detail that is compared, as a part of the particle's diameter.
DETAIL = 1 / 15
# A smaller excess over chance than that of a classification's start suffices, as likelihoods are compared in the end.
LEAST_EXCESS = 0.03
# Particles a class that are enough to tell states apart; where there are more, all are searched twice at the end.
MOST_PER_CLASS = 1500
# States of the run that are there at once, with their maps: the run's, of one class, and two of several.
N_HELD = 4
ACCURACIES = ("accuracy_rotation_deg", "accuracy_shift_A")


@dataclass(frozen=True, eq=False)
class Parted:
    """What was found of the classes.

    Attributes
    ----------
    state : the run's, with all classes searched again; as it was where one map's particles show no difference
    maps : first maps of states of one map
    n_particles : whose likelihoods were compared; 0 where no difference is shown
    log_likelihood, old_log_likelihood : of these, with states of one map and with the classes as they were
    is_better : states of one map explain the particles better
    """

    state: Refinement
    maps: class_start.ClassMaps
    n_particles: int = 0
    log_likelihood: float | None = None
    old_log_likelihood: float | None = None
    is_better: bool = False


def detail_A(settings: Settings) -> float:
    """The finest detail that is compared."""
    return DETAIL * settings.particle_diameter_A


def wide(sampling: Sampling, order: int | None = None) -> Sampling:
    """Searches of all orientations, at a HEALPix order or as it is, but coarser than the local ones."""
    order = min(sampling.healpix_order if order is None else order, LOCAL_ORDER - 1)
    return replace(sampling, healpix_order=order, psi_step_deg=healpix.step_deg(order), sigma_deg=0.0)


def local(sampling: Sampling) -> Sampling:
    """Searches around each particle's own orientation."""
    return replace(
        sampling, healpix_order=LOCAL_ORDER, psi_step_deg=healpix.step_deg(LOCAL_ORDER), sigma_deg=LOCAL_SIGMA_DEG
    )


def is_parted(state: Refinement) -> bool:
    """Whether the classes of a run were searched here before."""
    return state.sampling.sigma_deg == LOCAL_SIGMA_DEG and state.sampling.healpix_order == LOCAL_ORDER


def rounds(n_particles: int, n_classes: int) -> int:
    """Particles that ``parted`` goes through at the most, all searches together."""
    n = min(n_particles, MOST_PER_CLASS * n_classes)
    return n * ((n_classes + 1) * N_GLOBAL + 2 * N_MORE + 4 * N_LOCAL) + (2 * n_particles if n < n_particles else 0)


def one_class(state: Refinement, k: int) -> Refinement:
    """All particles in one of the classes."""
    model = state.models[0]
    taken = {name: getattr(model, name)[[k]] for name in (*PER_CLASS, *ACCURACIES)}
    model = replace(model, **{**taken, "class_weight": np.ones(1)})
    ones = np.ones(len(state.dataset), np.int32)
    return replace(state, models=[model], dataset=state.dataset.with_particles(class_number=ones), direction_weights=[None])


def several_classes(state: Refinement, n_classes: int, class_weight, references) -> Refinement:
    """The state of one class as that of several, which differ in their maps."""
    model: Model = state.models[0]
    copies = {name: np.repeat(getattr(model, name), n_classes, 0) for name in (*PER_CLASS, *ACCURACIES)}
    model = replace(model, **{**copies, "class_weight": class_weight, "references": references})
    return replace(state, models=[model], direction_weights=[None])


def searched(state: Refinement, iterate, sampling: Sampling, n_iterations: int) -> Refinement:
    """The state after some iterations with one sampling."""
    state = replace(state, sampling=sampling)
    for _ in range(n_iterations):
        state = iterate(state)
    return state


def best_of_one(comm, state: Refinement, iterate, chosen) -> Refinement:
    """The state of that class which explains all particles best, after local searches."""
    tried = [searched(one_class(state, k), iterate, wide(state.sampling), N_GLOBAL) for k in range(state.models[0].n_classes)]
    best = tried[agreed(comm, int(np.argmax(likelihoods(tried, chosen)[1])))]
    return searched(searched(best, iterate, best.sampling, N_MORE), iterate, local(best.sampling), N_LOCAL)


def likelihoods(states: list[Refinement], chosen) -> tuple[int, list[float]]:
    """How many of the chosen particles all states can use, and the logarithm of their likelihood in each."""
    usable = np.all([s.dataset.usable[chosen] for s in states], 0)
    sums = [s.dataset.particles.log_likelihood[chosen][usable].sum() for s in states]
    return int(usable.sum()), [float(np.nan_to_num(x, nan=-np.inf)) for x in sums]  # a class that holds nothing has none


def agreed(comm, decision):
    """One process decides for all."""
    return comm.map(lambda own: own, [decision])[0]


def parted(
    be, comm, state: Refinement, settings: Settings, source, *, check=lambda: None, max_bad=0.01, quantise=lambda d: d,
    advance: Callable[[int], None] = lambda n: None,
) -> Parted:  # fmt: skip
    """The run's classes, or better ones.

    Parameters
    ----------
    state : of a run with several classes, after its last iteration
    check : called before each search; raises to stop
    advance : called with a number of particles as they are done, ``rounds`` of them at the most
    """
    whole, k, n = state, state.models[0].n_classes, int(state.dataset.usable.sum())
    settings = replace(settings, one_reference_for_all=False, residual_sums=False)
    chosen = class_start.drawn(state.dataset, settings.random_seed, MOST_PER_CLASS * k)

    def iterate(state: Refinement, parts=(chosen,)) -> Refinement:
        check()
        return refine.iterate(
            be, state, settings, source, comm, parts=parts, limit_A=detail_A(settings), max_bad=max_bad, quantise=quantise,
            advance=advance,
        )  # fmt: skip

    one = best_of_one(comm, state, iterate, chosen)
    begins = several_classes(one, k, np.full(k, 1 / k), np.repeat(one.models[0].references, k, 0))
    maps = class_start.class_maps(be, comm, begins, settings, source, most=MOST_PER_CLASS * k)
    del begins
    if agreed(comm, not maps.excess >= LEAST_EXCESS):
        return Parted(whole, maps)
    new = several_classes(one, k, maps.shares, maps.references)
    new = searched(new, iterate, one.sampling, N_LOCAL)
    old = searched(state, iterate, wide(state.sampling), N_GLOBAL + N_MORE)
    old = searched(old, iterate, one.sampling, 2 * N_LOCAL)
    n_both, found = likelihoods([new, old], chosen)
    is_better = agreed(comm, found[0] > found[1])
    best = new if is_better else old
    if len(chosen) < n:
        of_all = partial(iterate, parts=None)
        best = searched(searched(best, of_all, wide(whole.sampling), 1), of_all, best.sampling, 1)
    return Parted(replace(best, progress=whole.progress, before=whole.dataset), maps, n_both, *found, is_better)
