"""Where classes begin, with one map for all or after steps along the gradient: what is chosen, why, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

from vitreous.engine.settings import Settings
from vitreous.errors import InputError
from vitreous.job import class_start
from vitreous.job.job import Job
from vitreous.job.log import read_events
from vitreous.job.parting import Parted
from vitreous.model.state import Refinement
from vitreous.programs.volume_options import VolumeOptions

EVENT = "class start"  # of the log


def with_class_maps(be, comm, job: Job, options: VolumeOptions, settings: Settings, state: Refinement, source) -> Refinement:
    """The state with another first map for each class, or as it is where classes begin at random."""
    if not settings.one_reference_for_all:
        if asked := getattr(options, "class_start", None):
            found = "one map for each class" if options.K > 1 else "one class"
            raise InputError(f"--class_start {asked}: found {found}, expected one map for several classes; leave it out")
        return state
    kind, why = choice(options, state)
    if kind == "random":
        tell(comm, job, kind, why)
        return state
    with job.progress.bar("Classes: principal volumes", class_start.N_STARTS + class_start.N_EXCHANGED, "searches") as bar:
        found = class_start.class_maps(be, comm, state, settings, source, advance=bar.advance)
    if not found.is_shown:
        if not options.class_start:
            tell(comm, job, "random", f"the particles show no difference: {found.told}")
            return state
        job.warning(f"--class_start principal: the particles show no difference ({found.told}); the classes may be of noise")
    shares = ", ".join(f"{s:.2f}" for s in found.shares)
    tell(comm, job, kind, f"{why}; {found.told}; shares {shares}", gain=found.gain, exchanged_gain=found.exchanged_gain)
    return replace(state, models=[replace(state.models[0], references=found.references)])


def choice(options: VolumeOptions, state: Refinement) -> tuple[str, str]:
    """random or principal, and why."""
    known = bool(state.dataset.particles.euler_deg.any())
    if options.class_start == "principal" and not known:
        raise InputError(
            f"{options.particles}: has no orientations, expected those of a refinement for --class_start principal; refine the "
            "particles first, or leave the option out"
        )
    if options.class_start:
        return options.class_start, "asked for"
    if options.firstiter_cc:
        return "random", "the reference may be on another grey scale (--firstiter_cc)"
    if not (options.skip_align or options.sigma_deg):
        return "random", "the particles' own orientations are not used"
    if not known:
        return "random", "the particles have no orientations"
    return "principal", "the particles' own orientations are used"


def tell(comm, job: Job, kind: str, why: str, **numbers: float) -> None:
    """One line on the screen, one event in the log."""
    if comm.rank == 0:
        job.log.event(EVENT, how=kind, why=why, **numbers)
    job.progress.line(f" Classes start {'at random' if kind == 'random' else 'apart'}: {why}")


def tell_parted(comm, job: Job, found: Parted) -> None:
    """Which classes an initial model has in the end, and why."""
    if not found.n_particles:
        how, why = "as they were", f"the particles of one map show no difference: {found.maps.told}"
    else:
        new, old = (x / found.n_particles for x in (found.log_likelihood, found.old_log_likelihood))
        how = "apart" if found.is_better else "as they were"
        why = f"log-likelihood {new:.2f} a particle as states of one map, {old:.2f} as the classes were; {found.maps.told}"
    if comm.rank == 0:
        numbers = {"log_likelihood": found.log_likelihood, "old_log_likelihood": found.old_log_likelihood}
        job.log.event(EVENT, how=how, why=why, **numbers)
    job.progress.line(f" Classes {'begin again apart' if how == 'apart' else 'stay as they were'}: {why}")


def told(job: Job) -> dict[str, str]:
    """What the report says of it: the last start's, where a log holds several."""
    events = list(read_events(job.dir.log, EVENT))
    return {"start of the classes": f"{events[-1]['how']}: {events[-1]['why']}"} if events else {}
