"""The loop of 3D refinement and classification: gold-standard halves or K maps, automatic sampling, convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vitreous.engine import accuracy, em3d, fsc, gold, initial, orientations, plan3d, schedule, schedule3d, search3d
from vitreous.engine.maximise import changed
from vitreous.engine.reconstruct3d import reconstruct, reference_transform
from vitreous.engine.settings import Settings
from vitreous.job import batches
from vitreous.job.classify import Clock, State, collect, first_particles, quarantine, random_classes, typical_particles
from vitreous.model import sampling as grids
from vitreous.model.dataset import Dataset
from vitreous.model.relion_directions import carried, relion_directions
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.state import Model, Refinement, Sampling
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice

# Particles whose orientations stand for all in the accuracy estimate.
N_ORIENTATIONS = 30
# Second word of the random key of those orientations while none are known.
USE_ACCURACY = 7


def initialise(be, state: Refinement, settings: Settings, source, *, n_noise: int, max_bad: float) -> Refinement:
    """Noise spectra from the first particles; tau2, SSNR and resolution of the first references."""
    model = state.models[0]
    flat = replace(model, references=np.zeros((1, model.box, model.box), np.float32), class_weight=np.ones(1))
    two_d = State(state.dataset, flat, Sampling(30.0, 0.0, 1.0, 0), state.progress)
    size = initial.start_size(model.box, model.pixel_size_A, settings.ini_high_A)
    plan = initial.start_plan(flat, two_d.sampling, settings, size)
    noise, bad_of_all = initial.NoiseSum(len(state.dataset.optics), model.n_shells), {}
    chosen = first_particles(state.dataset, n_noise, 5, settings.random_seed)
    for indices, images, bad in batches.read(state.dataset, source, batches.split(state.dataset, chosen)):
        bad_of_all |= bad
        if len(indices):
            noise.add(be, plan, batches.make_batch(state.dataset, indices, images))
    dataset = quarantine(state.dataset, bad_of_all, max_bad)
    spectra = noise.spectra()
    model = start_priors(be, replace(model, sigma2_noise=spectra), len(dataset))
    resolution_A, progress = resolution(model, state.progress, settings, len(state.models))
    models = [replace(model, current_resolution_A=resolution_A)] * len(state.models)  # half-sets begin alike
    grid, _ = orientations.coarse_and_fine(be, state.sampling, Symmetry.parse(state.symmetry), model.n_classes)
    return with_directions(be, replace(state, dataset=dataset, models=models, progress=progress), grid.directions_deg)


def with_directions(be, state: Refinement, directions_deg) -> Refinement:
    """The state with the directions that are searched, and RELION's beside them where its list is another."""
    order, symmetry = state.sampling.healpix_order, Symmetry.parse(state.symmetry)
    theirs = relion_directions(be, order, symmetry)
    same = np.array_equal(theirs, directions_deg)
    return replace(state, directions_deg=directions_deg, relion_directions_deg=theirs[:0] if same else theirs)


def start_priors(be, model: Model, n_particles: int) -> Model:
    """tau2 and SSNR of given references, for the first resolution where no --ini_high tells it."""
    lattice = VolumeLattice(model.box, model.padding, model.box / 2)
    power = np.stack([reference_transform(v, lattice, be.n_threads)[1] for v in model.references])
    per_shell = np.maximum(2 * np.arange(model.n_shells), 1)
    ssnr = (
        power * n_particles * model.class_weight[:, None] / (model.sigma2_noise.mean(0) * per_shell) * model.tau2_fudge
    )
    return replace(model, tau2=power, data_vs_prior=ssnr)


def resolution(model: Model, progress, settings: Settings, n_models: int):
    """Resolution of the present references and the counter of iterations without gain."""
    rule = schedule3d.halves_resolution if n_models == 2 else schedule.updated_resolution
    return rule(model, progress, settings)


def members(state: Refinement, i_model: int) -> np.ndarray:
    """Positions of the usable particles of a half-set, or of all."""
    chosen = state.dataset.usable
    if len(state.models) == 2:
        chosen = chosen & (state.dataset.particles.half == i_model + 1)
    return np.flatnonzero(chosen)


def n_used(state: Refinement, settings: Settings, iteration: int) -> int:
    """How many particles an iteration goes through."""
    return schedule.subset_size(iteration, state.models[0].n_classes, int(state.dataset.usable.sum()), settings)


def start_iteration(be, state: Refinement, settings: Settings, auto: schedule3d.AutoOptions | None, *, renew=True, limit_A=0.0):
    """The next iteration's number, sampling and plans; whether it is the last of a refinement.

    Parameters
    ----------
    auto : steers the sampling; with half-sets, when to stop too
    renew : estimate the accuracies, and with ``auto`` choose the sampling
    limit_A : finest detail that is compared; 0 = what the references' resolution lets expect
    """
    progress = replace(state.progress, iteration=state.progress.iteration + 1)
    last = auto is not None and len(state.models) == 2 and (progress.has_converged or schedule3d.converged(progress, auto))
    progress = replace(progress, has_converged=last)
    symmetry, sampling = Symmetry.parse(state.symmetry), state.sampling
    model = state.models[0]
    size = model.box if last else schedule.limited_size(schedule.current_size(model, progress), model, limit_A)
    weights = known_weights(be, state, symmetry)
    plans = [
        plan3d.make_plan(be, m, sampling, progress, settings, symmetry, w, size) for m, w in zip(state.models, weights)
    ]
    state = replace(state, progress=progress)
    if renew and not (settings.skip_align or plans[0].correlation):
        state = estimate_accuracy(be, plans[0], state)
    if renew and auto is not None and progress.iteration > 1:
        sampling, progress = schedule3d.finer_sampling(
            sampling, state.progress, settings, auto, state.models[0].current_resolution_A
        )
    else:
        progress = state.progress
    factor = 0.0 if settings.skip_align else sampling.perturb_factor
    sampling = replace(sampling, perturb=grids.perturbation(settings.random_seed, progress.iteration, factor))
    plans = [plan3d.resampled(be, replace(p, model=m), sampling) for p, m in zip(plans, state.models)]
    state = replace(state, sampling=sampling, progress=progress)
    return with_directions(be, state, plans[0].coarse.directions_deg), plans, last


def known_weights(be, state: Refinement, symmetry: Symmetry) -> list:
    """Weights of the present grid's directions, of each model, from those of the same or of RELION's list."""
    order = state.sampling.healpix_order
    ours = orientations.coarse_and_fine(be, state.sampling, symmetry, state.models[0].n_classes)[0].directions_deg
    if same_directions(state.directions_deg, ours):
        carry = lambda weights: weights
    elif same_directions(state.directions_deg, relion_directions(be, order, symmetry)):
        carry = lambda weights: carried(weights, state.directions_deg, ours, symmetry)
    else:  # of another order
        return [None] * len(state.models)
    known = state.direction_weights or [None] * len(state.models)
    return [None if weights is None else carry(weights) for weights in known]


def same_directions(a, b) -> bool:
    """Whether two lists are one, as written with six decimals."""
    return a.shape == b.shape and np.allclose(a, b, atol=1e-4)


def estimate_accuracy(be, plan: plan3d.Plan3D, state: Refinement) -> Refinement:
    """Accuracies of the classes at some particles' orientations."""
    chosen, *typical = typical_particles(be, plan, state.dataset)
    euler = state.dataset.particles.euler_deg[chosen[:N_ORIENTATIONS]]
    if not euler.any():  # no orientation is known yet
        euler = grids.random_orientations(np.arange(len(euler)), 0, USE_ACCURACY)
    rotation, shift = accuracy.accuracies_3d(be, plan, *typical, euler_to_matrix(euler))
    models = [replace(m, accuracy_rotation_deg=rotation, accuracy_shift_A=shift) for m in state.models]
    progress = replace(state.progress, accuracy_rotation_deg=float(rotation.min()), accuracy_shift_A=float(shift.min()))
    return replace(state, models=models, progress=progress)


def particles_of(state: Refinement, settings: Settings) -> list[np.ndarray]:
    """Positions of the particles of this iteration, for each model."""
    dataset, iteration = state.dataset, state.progress.iteration
    chosen = np.zeros(len(dataset), bool)
    order = schedule.particle_order(dataset.particles.row, settings.random_seed, iteration)
    chosen[order[dataset.usable[order]][: n_used(state, settings, iteration)]] = True
    return [mine[chosen[mine]] for mine in (members(state, i) for i in range(len(state.models)))]


def expectation(
    be, plans, parts, state: Refinement, settings: Settings, source, comm, *, max_bad: float, advance: Callable[[int], None]
):
    """Every particle of this iteration against the references of its half-set.

    Parameters
    ----------
    parts : positions of the particles of each plan

    Returns
    -------
    Accumulators of the plans, Dataset with the particles' new values
    """
    dataset, accs, rows, bad_of_all = state.dataset, [], [], {}
    only = only_classes(state, settings)
    for plan, mine in zip(plans, parts):
        acc, pieces = em3d.Accumulator3D.empty(plan), pieces_of(plan)
        mine = comm.share(mine)
        for indices, images, bad in batches.read(dataset, source, batches.split(dataset, mine)):
            bad_of_all |= bad
            for piece in pieces.cut(len(indices)):
                some = indices[piece]
                batch = batches.make_batch(dataset, some, images[piece], None if only is None else only[some])
                rows.append(em3d.expect(be, plan, batch, acc, dataset.particles.euler_deg[some]))
                pieces.learn(rows[-1].n_significant)
            advance(comm.size * (len(indices) + len(bad)))  # the others have done about as many
        accs.append(acc)
        if all(plan is not other for other in plans[len(accs) :]):  # slices of a half-set serve nobody else
            plan.banks.clear()
            be.release()
    accs = [comm.sum(acc) for acc in accs]
    rows, bad_of_all = collect(comm, rows, bad_of_all)
    return accs, quarantine(with_rows(dataset, rows), bad_of_all, max_bad)


def pieces_of(plan: plan3d.Plan3D) -> batches.Pieces:
    """Pieces whose posteriors fit, and the slices of whose windows do in a local search."""
    n_child = plan.fine.n_dir // plan.coarse.n_dir * plan.n_child_psi * plan.n_child_shift
    if not plan.local:
        return batches.Pieces(n_child)
    n_window = orientations.window_size(plan.coarse, plan.sampling.sigma_deg, plan.symmetry)
    most = search3d.slices_bytes(True, plan.lattice) / (8 * n_window * batches.pixels(plan.coarse_size))
    return batches.Pieces(n_child, most=int(np.clip(most, 1, batches.MOST)))


def only_classes(state: Refinement, settings: Settings):
    """The one class of each particle in the iterations that split one reference into K; None otherwise."""
    k, iteration = state.models[0].n_classes, state.progress.iteration
    if k == 1 or not settings.one_reference_for_all or iteration > (2 if settings.first_iteration_cc else 1):
        return None
    if settings.first_iteration_cc and iteration == 1:  # all maps are one: it is the first class's
        return np.zeros(len(state.dataset), np.int32)
    return random_classes(state.dataset, k, settings.random_seed)


def with_rows(dataset: Dataset, rows) -> Dataset:
    """The dataset with the engine's new values."""
    if not rows:
        return dataset
    join = lambda name: np.concatenate([getattr(r, name) for r in rows])
    names = ("euler_deg", "shift_A", "class_number", "norm", "log_likelihood", "p_max", "n_significant")
    return dataset.updated(join("index"), **{name: join(name) for name in names})


def corrected_fsc(be, comm, plans, accs, mask, seed: int):
    """FSC of the half maps within a mask, less what the mask itself adds."""
    half_map = lambda i: reconstruct(be, accs[i].sums[0].copy(), plans[i].lattice, symmetry=plans[i].symmetry).volume
    halves = tuple(comm.map(half_map, (0, 1)))
    unmasked = fsc.fourier_shell_correlation(*halves)
    first = fsc.first_below(unmasked, 0.8)
    if first is None:
        unmasked[plans[0].size // 2 + 1 :] = 0
        return unmasked
    apply = lambda v: v * mask
    curve = fsc.correct_for_mask(
        fsc.masked_correlation(halves, apply),
        fsc.masked_correlation(fsc.randomised_halves(halves, first, seed), apply),
        first,
        clamp=True,
    )
    curve[plans[0].size // 2 + 1 :] = 0
    return curve


def maximise(be, comm, plans, accs, state: Refinement, settings: Settings, *, join_A: float, last: bool, correct_fsc: bool):
    """New maps of the half-sets, or of the classes; parameters as those of ``iterate``.

    Returns
    -------
    Models, (S,) float FSC of the halves (of classes: as it was), unfiltered half maps (of classes: none)
    """
    if len(plans) == 1:
        return [gold.maximise_classes(be, plans[0], accs[0], spread=comm.map)], state.fsc, []
    masked = None
    if correct_fsc:
        mask = gold.solvent_mask(plans[0].model, settings)
        masked = corrected_fsc(be, comm, plans, accs, mask, settings.random_seed)
    return gold.maximise_halves(be, plans, accs, join_A=join_A, last=last, fsc=masked, spread=comm.map)


def iterate(
    be,
    state: Refinement,
    settings: Settings,
    source,
    comm,
    *,
    auto=None,
    join_A=0.0,
    correct_fsc=False,
    parts=None,
    limit_A=0.0,
    max_bad=0.01,
    quantise=lambda d: d,
    advance=lambda n: None,
) -> Refinement:
    """One iteration: sampling, expectation, maximisation.

    Parameters
    ----------
    parts : positions of the particles of each model; None = those that the settings choose for the iteration
    limit_A : finest detail that is compared; 0 = what the references' resolution lets expect
    auto : steers an auto-refinement of two half-sets; None for a classification
    join_A : halves share their sums down to this resolution; 0 = nowhere
    correct_fsc : take the FSC within the solvent mask
    """
    clock = Clock()
    state, plans, last = start_iteration(be, state, settings, auto, limit_A=limit_A)
    clock.lap("plan")
    parts = particles_of(state, settings) if parts is None else parts
    accs, dataset = expectation(be, plans, parts, state, settings, source, comm, max_bad=max_bad, advance=advance)
    clock.lap("expectation")
    models, curve, unfiltered = maximise(
        be, comm, plans, accs, state, settings, join_A=join_A, last=last, correct_fsc=correct_fsc
    )
    resolution_A, progress = resolution(models[0], changed(state.progress, *accs), settings, len(models))
    if auto is not None and not last:
        progress = schedule3d.grown_increment(curve, plans[0].size, schedule3d.stalled(progress, state.sampling))
    measured = {"current_resolution_A": resolution_A, "average_p_max": models[0].average_p_max}
    models = [replace(m, **measured, group_counts=dataset.group_counts) for m in models]
    weights = [a.directions / a.directions.sum() if a.directions.any() else None for a in accs]
    if settings.one_reference_for_all and settings.first_iteration_cc and progress.iteration == 1:
        weights = [None] * len(weights)  # every class is a copy of the first from now on
    clock.lap("maximisation")
    return replace(
        state,
        dataset=quantise(dataset),
        before=state.dataset,
        models=models,
        progress=progress,
        fsc=curve,
        unfiltered=unfiltered,
        direction_weights=weights,
        seconds=clock.seconds,
        n_significant=sum(a.n_significant for a in accs) / max(sum(a.n_particles for a in accs), 1),
        coarse_size_px=plans[0].coarse_size,
    )
