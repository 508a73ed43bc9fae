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
# Particles a class that are enough to tell states apart; all are searched once more, at the end.
MOST_PER_CLASS = 1500
ACCURACIES = ("accuracy_rotation_deg", "accuracy_shift_A")


@dataclass(frozen=True, eq=False)
class Parted:
    """What was found of the classes.

    Attributes
    ----------
    state : the run's, with new classes where these explain the particles better; as it was where no difference is shown
    maps : first maps of the new classes
    log_likelihood, old_log_likelihood : of the chosen particles, with new and with old classes; the second is None where no
        difference is shown
    """

    state: Refinement
    maps: class_start.ClassMaps
    log_likelihood: float | None
    old_log_likelihood: float | None

    @property
    def is_shown(self) -> bool:
        """Whether the particles of one map show a difference, so that all classes were searched."""
        return self.log_likelihood is not None

    @property
    def is_better(self) -> bool:
        """Whether states of one map explain the particles better than the classes as they were."""
        return self.is_shown and self.log_likelihood > self.old_log_likelihood


def detail_A(settings: Settings) -> float:
    """The finest detail that is compared."""
    return DETAIL * settings.particle_diameter_A


def samplings(sampling: Sampling, order: int) -> list[Sampling]:
    """Of the searches after steps along the gradient that end at a HEALPix order: global, local."""
    wide = replace(sampling, healpix_order=order, psi_step_deg=healpix.step_deg(order))
    return [wide, local(wide)]


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
    return n * ((n_classes + 1) * N_GLOBAL + 3 * N_LOCAL) + (2 * n_particles if n < n_particles else 0)


def one_class(state: Refinement, k: int) -> Refinement:
    """All particles in one of the classes."""
    model = state.models[0]
    taken = {name: np.array(getattr(model, name)[[k]]) for name in (*PER_CLASS, *ACCURACIES)}
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
    if sampling.healpix_order != state.sampling.healpix_order:
        state = replace(state, direction_weights=[None])
    state = replace(state, sampling=sampling)
    for _ in range(n_iterations):
        state = iterate(state)
    return state


def settled(state: Refinement, iterate) -> Refinement:
    """The state after global searches, and local ones."""
    wide = state.sampling
    return searched(searched(state, iterate, wide, N_GLOBAL), iterate, local(wide), N_LOCAL)


def best_of_one(state: Refinement, iterate) -> Refinement:
    """The state of that class which explains all particles best, after local searches."""
    wide = state.sampling
    tried = [searched(one_class(state, k), iterate, wide, N_GLOBAL) for k in range(state.models[0].n_classes)]
    best = max(tried, key=lambda s: s.models[0].log_likelihood)
    best = searched(best, iterate, wide, N_MORE)
    return searched(best, iterate, local(wide), N_LOCAL)


def parted(
    be, comm, state: Refinement, settings: Settings, source, *, max_bad=0.01, quantise=lambda d: d,
    advance: Callable[[int], None] = lambda n: None,
) -> Parted:  # fmt: skip
    """The run's classes, or better ones.

    Parameters
    ----------
    state : of a run with several classes, after its last iteration
    advance : called with a number of particles as they are done, ``rounds`` of them at the most
    """
    whole, k, n = state, state.models[0].n_classes, len(state.dataset)
    settings = replace(settings, one_reference_for_all=False, residual_sums=False)
    of_all = partial(refine.iterate, be, settings=settings, source=source, comm=comm, max_bad=max_bad, quantise=quantise,
                     advance=advance, limit_A=detail_A(settings))  # fmt: skip
    chosen = class_start.drawn(state.dataset, settings.random_seed, MOST_PER_CLASS * k)
    iterate = partial(of_all, parts=[chosen])
    one = best_of_one(state, iterate)
    begins = several_classes(one, k, np.full(k, 1 / k), np.repeat(one.models[0].references, k, 0))
    maps = class_start.class_maps(be, comm, begins, settings, source, most=MOST_PER_CLASS * k)
    if maps.excess < LEAST_EXCESS:
        return Parted(whole, maps, None, None)
    new = several_classes(one, k, maps.shares, maps.references)
    new = searched(new, iterate, one.sampling, N_LOCAL)
    old = settled(state, iterate)
    likelihoods = [s.models[0].log_likelihood for s in (new, old)]
    best = new if likelihoods[0] > likelihoods[1] else old
    if len(chosen) < n:
        best = searched(searched(best, of_all, whole.sampling, 1), of_all, best.sampling, 1)
    return Parted(replace(best, progress=whole.progress, before=whole.dataset), maps, *likelihoods)
