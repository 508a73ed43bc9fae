"""How a 2D classification goes from iteration to iteration: by expectation-maximisation, or by steps along the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vitreous.engine.schedule_gradient import subset_size
from vitreous.engine.settings import Settings
from vitreous.io.moment_files import read_moments
from vitreous.io.run_files import RunPaths
from vitreous.job import classify, gradient2d
from vitreous.programs.class2d_options import MOST_SIGNIFICANT, Options
from vitreous.programs.refine_common import note_without_moments

WEIGHT_OF_THE_END = "rlnTau2FudgeArg"


@dataclass(frozen=True)
class Course:
    """The iterations of a run.

    Attributes
    ----------
    n_used : (state, iteration) -> particles that it goes through
    iterate : as ``job.classify.iterate``
    write_every : so many iterations files are written, and after the last
    """

    n_used: Callable[[classify.State, int], int]
    iterate: Callable[..., classify.State]
    write_every: int = 1


def course_of(options: Options, settings: Settings) -> Course:
    """The course that the options ask for."""
    if not options.grad:
        return Course(lambda state, iteration: classify.n_used(state, settings, iteration), classify.iterate)
    steering = options.gradient()
    n_used = lambda state, i: subset_size(i, int(state.dataset.usable.sum()), state.model.n_classes, steering)
    return Course(n_used, partial(gradient2d.iterate, options=steering), options.grad_write_iter)


def most_significant(options: Options) -> int | None:
    """How many poses of a particle go to the fine pass; None = no limit."""
    return options.maxsig or (MOST_SIGNIFICANT * options.K if options.grad else None)


def settings_of_the_end(options: Options) -> dict[str, float]:
    """Label of data_optimiser_general -> the weight of the data towards the end; the model's file has its iteration's."""
    return {WEIGHT_OF_THE_END: options.tau2_fudge} if options.grad else {}


def with_weight_of_the_end(saved: dict[str, Any], optimiser: Mapping[str, Any]) -> dict[str, Any]:
    """Saved options, field name -> value, with that weight in place of the iteration's; none where RELION's user chose none."""
    if not saved.get("grad"):
        return saved
    weight = optimiser.get(WEIGHT_OF_THE_END, -1.0)
    others = {name: value for name, value in saved.items() if name != "tau2_fudge"}
    return others | {"tau2_fudge": weight} if weight > 0 else others


def with_first_moments(options: Options, state: classify.State) -> classify.State:
    """The state of a new run with the moments that its course needs."""
    return gradient2d.without_moments(state) if options.grad else state


def with_saved_moments(options: Options, root: str, state: classify.State) -> classify.State:
    """The state of a run that goes on with its moments; where there are none it goes on from its maps, and a note says so."""
    if not options.grad:
        return state
    model = state.model
    moments = read_moments(RunPaths(root, state.progress.iteration), model.n_classes, gradient2d.whole_lattice(model).shape)
    if moments is not None:
        return replace(state, moments=moments)
    given = state.dataset.input
    notes = (*given.notes, note_without_moments(options.continue_from))
    dataset = replace(state.dataset, input=replace(given, notes=notes))
    return gradient2d.without_moments(replace(state, dataset=dataset))
