"""From micrographs or particles to a map from two half-sets: one job after the other, each with options chosen from the last.

The steps are in auto_steps.py, the arithmetic of the choices in engine/auto_choices.py, what is kept in auto_project.py.
The same command goes on after a stop: steps that are done are left, unless what they would be asked has changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from vitreous.engine.auto_choices import Choice
from vitreous.errors import InputError
from vitreous.job.progress import Progress, duration
from vitreous.programs import auto_import, auto_pipeline
from vitreous.programs.auto_diameter import estimated_diameter
from vitreous.programs.auto_options import Options
from vitreous.programs.auto_overrides import Overrides, near, read_overrides, write_choices
from vitreous.programs.auto_project import Record, State, changes, last_whole, note, shown, working_in
from vitreous.programs.auto_report import write_report
from vitreous.programs.auto_steps import STEPS, Facts, Step

__all__ = ["Options", "Result", "run"]

IMPORT, CHOICES_FILE = "import", "auto.yaml"
CHOSEN = "auto"  # who chose the options of a step


@dataclass(frozen=True)
class Result:
    """What a run leaves: facts as auto_steps.py lists them, and the project's folder."""

    folder: Path
    facts: Facts
    report: Path | None


@dataclass
class Run:
    """What all steps need."""

    options: Options
    overrides: Overrides
    state: State
    facts: Facts
    progress: Progress
    started_in: str


@dataclass(frozen=True)
class Task:
    """One step as it is to be run now: its options, and the file that an unfinished run goes on from."""

    step: Step
    folder: str
    values: dict[str, Any]
    continued: str | None


def run(options: Options, be: Any, comm: Any) -> Result:
    """Do what is not done yet, step after step."""
    if options.input is None:
        raise InputError("--i: found none, expected micrographs with their CTF, or particles; give micrographs_ctf.star")
    if options.stop_after is not None and options.stop_after not in names_of_steps():
        todo = near(options.stop_after, names_of_steps())
        raise InputError(f"--stop_after {options.stop_after}: found no such step, expected one; {todo}")
    started_in = str(Path().absolute())
    overrides = read_overrides(options.overrides, {step.name: step.options for step in STEPS})
    options = with_own(options, overrides).replaced({"input": str(Path(options.input).absolute())}, "user")
    with working_in(options.output):
        progress = Progress(options.verb if comm.rank == 0 else 0)
        this = Run(options, overrides, State.read(), {}, progress, started_in)
        began = time.monotonic()
        comm.map(lambda one: begin(one), [this])
        try:
            steps(this, be, comm)
        except BaseException:
            if comm.rank == 0:
                auto_pipeline.write_state(this.state, "aborted")
            raise
        report = comm.map(lambda one: conclude(one, began), [this])[0]
        return Result(Path().absolute(), this.facts, report)


def steps(this: Run, be: Any, comm: Any) -> None:
    """All steps, to the last one that is asked for."""
    for numbered in enumerate(STEPS, 1):
        task = comm.map(lambda found: prepare(this, *found), [numbered])[0]
        if task is not None:
            work(this, task, be, comm)
        if numbered[1].name == this.options.stop_after:
            break


def names_of_steps() -> list[str]:
    return [step.name for step in STEPS]


def with_own(options: Options, overrides: Overrides) -> Options:
    """The options with the choices of the overrides file; the command line's stand."""
    found = Options.from_keywords(**overrides.own)
    return options.replaced({name: getattr(found, name) for name in overrides.own if not options.is_given(name)}, "overrides")


def begin(this: Run) -> None:
    """Bring the input into the project, or find it there; choose the diameter to begin with."""
    options, state, path = this.options, this.state, Path(this.options.input)
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"--i {path}: cannot be read ({error.strerror}), expected a STAR file; check the name") from None
    asked = {"i": str(path), "changed": changed}
    old = state.steps.get(IMPORT)
    if old is not None and old.options != asked and old.done:
        this.progress.line(f" {IMPORT}: {'; '.join(changes(old.options, asked))}")
    if not state.is_done(IMPORT) or old.options != asked:
        record = state.begin(IMPORT, "Import", asked, {})
        facts, said = auto_import.bring_in(str(path), this.started_in, record.folder)
        facts["estimated_A"], record.reasons["diameter"] = estimated_diameter(facts)
        note(record.folder, options.PROGRAM, {"i": str(path)}, {"i": "i"})
        state.finish(record, facts, said)
    record = state.steps[IMPORT]
    diameter = options.particle_diameter or record.facts["estimated_A"]
    why = "given" if options.particle_diameter else record.reasons["diameter"]
    chosen = {"sym": options.sym, "seed": options.random_seed, "diameter_A": diameter, "diameter_given": bool(options.particle_diameter),
              "no_pick_again": options.no_pick_again}  # fmt: skip
    this.facts.update(record.facts | chosen)
    this.progress.line(f" {record.folder}: {record.said}; a particle of {diameter:.0f} A: {why}")


# ---- one step --------------------------------------------------------------------------------------------------------


def prepare(this: Run, number: int, step: Step) -> Task | None:
    """What is to be done for a step now; None where it is left out, or done already."""
    state, facts = this.state, this.facts
    wanted = step.when(facts)
    if not wanted.value:
        this.progress.line(f" {number:2d} {step.name}: left out, {wanted.reason}")
        state.drop([step.name])
        return None
    values, reasons = asked(this, step)
    old = state.steps.get(step.name)
    same = old is not None and old.options == values
    if same and state.is_done(step.name):
        facts.update(old.facts)
        this.progress.line(f" {number:2d} {step.name}: done, {old.said}")
        return None
    if old is not None and not same:
        this.progress.line(f" {step.name} is done again: {'; '.join(changes(old.options, values, flags_of(step)))}")
    continued = None
    if same:
        record = old
        if "continue_from" in step.options.model_fields:
            continued = last_whole(f"{old.folder}/run", values.get("iter"))
    else:
        record = state.begin(step.name, step.kind, values, reasons)
    auto_pipeline.write_state(state, "running")
    flag, end = step.output
    tell(this, step, number, record, continued)
    return Task(step, record.folder, values | {step.options.flags()[flag]: record.folder + end}, continued)


def asked(this: Run, step: Step) -> tuple[dict[str, Any], dict[str, str]]:
    """Field name -> value of a step's options, and the reasons of those that were chosen."""
    flags = step.options.flags()
    wanted = {flags[flag]: value for flag, value in step.ask(this.facts).items()}
    reasons = {name: value.reason for name, value in wanted.items() if isinstance(value, Choice)}
    values = {name: value.value if isinstance(value, Choice) else value for name, value in wanted.items()}
    if "random_seed" in step.options.model_fields:
        values.setdefault("random_seed", this.options.random_seed)
    own = this.overrides.of(step.name)
    reasons |= dict.fromkeys(own, f"--overrides {this.overrides.path}")
    return values | dict(own), reasons


def tell(this: Run, step: Step, number: int, record: Record, continued: str | None) -> None:
    """What is done, in which folder, and the choices with their reasons, a line each."""
    flags = flags_of(step)
    start = f", goes on from {Path(continued).name}" if continued else ""
    this.progress.line(f" {number:2d} {step.name} ({record.folder}){start}")
    for name, why in record.reasons.items() if not continued else ():
        this.progress.line(f"      --{flags[name]} {shown(record.options[name])}: {why}")


def flags_of(step: Step) -> dict[str, str]:
    """Field name -> flag of the options of a step's program."""
    return {name: flag for flag, name in step.options.flags().items()}


def work(this: Run, task: Task, be: Any, comm: Any) -> None:
    """Run a step's program on all processes that have a part in it, and keep what came out."""
    step, began = task.step, time.monotonic()
    options = options_of(this, task)
    program = import_module(f"vitreous.programs.{step.module}")
    if options.SHARED:
        result = program.run(options, be, comm)
    else:
        alone = [None]  # kept by rank 0: nobody else needs it
        comm.map(lambda given: alone.__setitem__(0, program.run(given, be)), [options])
        result = alone[0]
    facts = comm.map(lambda one: keep(one, task, result, time.monotonic() - began), [this])[0]
    this.facts.update(facts)


def options_of(this: Run, task: Task) -> Any:
    """The options of a step's program; of an unfinished run those to go on with."""
    program = task.step.options
    values = dict(task.values)
    if task.continued:
        values = {"continue_from": task.continued}
    if "only_do_unfinished" in program.model_fields:
        values["only_do_unfinished"] = True
    computing = {
        "j": this.options.j, "verb": max(this.options.verb - 1, 0), "pipeline_control": this.options.pipeline_control,
    }  # fmt: skip
    values |= {name: value for name, value in computing.items() if name in program.model_fields}
    made = program.from_keywords(**values)
    return made if task.continued else made.replaced({name: getattr(made, name) for name in values}, CHOSEN)


def keep(this: Run, task: Task, result: Any, seconds: float) -> Facts:
    """Note the outcome of a step; returns its facts."""
    step, record = task.step, this.state.steps[task.step.name]
    record.seconds += seconds
    try:
        facts, said = step.learn(this.facts, task.folder, result)
    except InputError as error:
        raise InputError(f"{step.name} ({task.folder}): {error}") from None
    note(task.folder, step.program, task.values, flags_of(step))
    this.state.finish(record, facts, said)
    this.progress.line(f"    = {said}   {duration(seconds)}")
    write_all(this)
    return facts


def write_all(this: Run) -> None:
    """auto.yaml as it is now."""
    own = {"particle_diameter": this.options.particle_diameter, "sym": this.options.sym}
    own |= {"no_pick_again": True} if this.options.no_pick_again else {}
    write_choices(CHOICES_FILE, this.state, own, {step.name: step.options for step in STEPS})


def conclude(this: Run, began: float) -> Path:
    """auto.yaml, the pipeline, the report, and the last line."""
    write_all(this)
    left = auto_pipeline.write_state(this.state, "aborted")
    if left:
        this.progress.warning(left)
    report = write_report(this.state, this.facts, STEPS)
    facts, line = this.facts, this.progress.line
    if "final_A" in facts:
        line(f" {facts['final_A']:.2f} A with {facts['symmetry']}: {facts['final_map']}")
    line(f" {duration(time.monotonic() - began)}; report: {Path(this.options.output) / report}, choices: {CHOICES_FILE} beside it")
    return report
