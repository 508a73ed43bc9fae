"""Particles cut out of micrographs, and refined particles extracted again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine import extract as engine
from vitreous.errors import InputError
from vitreous.io import extracted
from vitreous.io.coordinates import write_coordinate_list
from vitreous.io.extracted import Columns
from vitreous.io.mrc import read_header
from vitreous.job.job import Job
from vitreous.job.memory import peak_bytes
from vitreous.job.rundir import TEMPORARY
from vitreous.programs.extract_loop import Outcome, run_tasks
from vitreous.programs.extract_options import Options
from vitreous.programs.extract_plan import Plan, Task, make_plan
from vitreous.programs.extract_stack import operate
from vitreous.programs.launch import open_job, with_unfinished
from vitreous.programs.option_text import value_rows
from vitreous.report.extract import Summary, report_html

MOST_WARNINGS = 10  # of the extraction, whatever their kind; the others are in the log


@dataclass(frozen=True, eq=False)
class Result:
    """What was written.

    Attributes
    ----------
    particles : the STAR file
    n : particles in it
    outcomes : of each micrograph that was worked on
    left_out : (micrograph, why) of those that gave nothing
    """

    particles: Path
    n: int
    outcomes: list[Outcome]
    left_out: list[tuple[str, str]]


def run(options: Options, be: Any, comm: Any) -> Result | None:
    """Extract, and write stacks, tables and the report; the result is that of rank 0."""
    if options.operate_on:
        return comm.map(lambda given: operate(given, be), [options])[0]
    options.check()
    began = time.monotonic()
    folder = options.output if options.output.endswith("/") else options.output + "/"
    options = options.replaced({"output": folder}, options.origin("output"))
    if not Path(options.micrographs).is_file():
        raise InputError(
            f"--i {options.micrographs}: is not there, expected the STAR file of the micrographs; check "
            "the name, which "
            "starts from the folder that the program runs in"
        )
    with open_job(options, comm, backend=be.name) as job:
        job.how_to_continue = with_unfinished
        plan = make_plan(options)
        for note in (*plan.notes, *_even_notes(options)):
            job.warning(note)
        done, todo = comm.map(to_do, [plan])[0]  # before any process writes
        tell_plan(job, plan, done, todo)
        outcomes = _work(job, comm, plan, todo, be)
        if comm.rank:
            return None
        result = conclude(job, plan, done, outcomes)
        summary = Summary(__version__, time.monotonic() - began, peak_bytes(), be.n_threads, _background_text(options))
        job.write_report(report_html(result, plan, summary, _rows(options)))
    return result


def _rows(options: Options) -> list[tuple]:
    return [(f"--{flag}", value, unit, origin) for _, flag, value, unit, origin in value_rows(options)]


def _even_notes(options: Options) -> list[str]:
    return [
        f"--{flag}: {size} is odd, {size + 1} is used"
        for flag in ("scale", "window")
        if (size := getattr(options, flag) or 0) % 2
    ]


def _background_text(options: Options) -> str:
    recipe = options.recipe()
    return f"outside of {recipe.bg_radius_px:g} px of {recipe.final}" if recipe.normalise else "as it was"


def to_do(plan: Plan) -> tuple[list[Task], list[Task]]:
    """Tasks that are done and those to be done, without what a killed run left of them."""
    done, todo = split_done(plan)
    remove_stale(todo)
    return done, todo


def split_done(plan: Plan) -> tuple[list[Task], list[Task]]:
    """Tasks that an earlier run has finished, where that counts, and those to be done."""
    if not plan.options.only_do_unfinished:
        return [], plan.tasks
    done = [task for task in plan.tasks if task.star.is_file()]
    finished = {task.stem for task in done}
    return done, [task for task in plan.tasks if task.stem not in finished]


def remove_stale(tasks: Sequence[Task]) -> None:
    """Remove what a killed run left under temporary names in the folders of the outputs."""
    for folder in {task.stem.parent for task in tasks}:
        for path in folder.glob(".*.tmp") if folder.is_dir() else ():
            found = TEMPORARY.fullmatch(path.name)
            if found and found.group(1).endswith((".mrcs", "_extract.star")):
                path.unlink(missing_ok=True)


def tell_plan(job: Job, plan: Plan, done: Sequence[Task], todo: Sequence[Task]) -> None:
    """Print and log what is going to be done, and the memory that it takes."""
    recipe, options = plan.options.recipe(), plan.options
    line = job.progress.line
    _warn_all(job, "micrograph left out", [f"{name}: {why}" for name, why in plan.left_out])
    if options.premultiply_ctf is False and not plan.micrographs.has_ctf and plan.refined is None:
        job.warning(
            f"{options.micrographs}: has no rlnDefocusU: the particles will have no CTF, so classify them "
            "without --ctf, or "
            "extract again with micrographs_ctf.star"
        )
    line(f" {len(todo)} micrographs to extract from" + (f"; {len(done)} were done before" if done else ""))
    if todo:
        sizes = f"{recipe.box} px" + (f" -> {recipe.rescaled} px" if recipe.scale else "") + (
            f" -> {recipe.final} px" if recipe.window else "")  # fmt: skip
        pixel_A = plan.micrograph_pixel_A(todo[0])
        line(
            f" boxes: {sizes}; pixel {pixel_A:g} A -> {pixel_A * recipe.box / recipe.rescaled:g} A; background "
            f"{_background_text(options)}"
        )
        line(job.check_memory(predicted_memory(todo, recipe), "extract on a machine with more memory"))


def predicted_memory(tasks: Sequence[Task], recipe: engine.Recipe) -> dict[str, int]:
    """What the run takes at its peak, bytes, from the header of the first micrograph that has one."""
    n_pixels, raw = 0, 0
    for task in tasks[:20]:
        try:
            header = read_header(task.name)
        except InputError:
            continue
        n_pixels = header.nx * header.ny
        raw = 0 if header.mode == 2 else header.section_bytes
        break
    side = max(recipe.box, recipe.multiply_box or 0)
    batch = max(engine.BATCH_BYTES, 4 * side**2)
    share = (recipe.final / side) ** 2
    return {
        "micrographs, one read ahead": 2 * 4 * n_pixels + raw,
        "boxes of a batch": int(batch * (5 if recipe.multiply else 1)),
        "images to be written": int(5 * batch * share),
    }


def _work(job: Job, comm: Any, plan: Plan, todo: Sequence[Task], be: Any) -> list[Outcome]:
    """Outcomes of all tasks; each process does its part of them."""
    n_notes = 0

    def tell(outcome: Outcome) -> None:
        nonlocal n_notes
        for text in [outcome.failed] * bool(outcome.failed) + outcome.notes:
            n_notes += 1
            if n_notes <= MOST_WARNINGS:
                job.warning(text)
            else:
                job.log.event("warning", text=text)

    with job.progress.bar("Extracting particles", len(todo), "micrographs") as bar:

        def done(outcome: Outcome) -> None:
            bar.advance(comm.size)  # the others have done about as many
            tell(outcome)
            job.check_abort()

        mine = run_tasks(plan, comm.share(todo), be, done)
    for outcome in mine if comm.rank else ():
        outcome.sample = None  # the report has enough of rank 0's
    outcomes = comm.gather(mine)
    for outcome in outcomes[len(mine) :] if comm.rank == 0 else ():  # of the other processes
        tell(outcome)
    if n_notes > MOST_WARNINGS:
        job.progress.warning(f"{n_notes - MOST_WARNINGS} more warnings are in {job.dir.log} and in {job.dir.report}")
    return outcomes


def _warn_all(job: Job, kind: str, texts: Sequence[str]) -> None:
    """The first few as warnings, all in the log."""
    for text in texts[:3]:
        job.progress.warning(text)
    if len(texts) > 3:
        job.progress.warning(f"and {len(texts) - 3} more micrographs left out; all are in {job.dir.log}")
    for text in texts:
        job.log.event(kind, text=text)


def conclude(job: Job, plan: Plan, done: Sequence[Task], outcomes: Sequence[Outcome]) -> Result:
    """Join the tables and tell what came of it."""
    by_stem: dict[Path, Columns] = {task.stem: extracted.read_extract_star(task.star) for task in done}
    by_stem |= {outcome.task.stem: outcome.columns for outcome in outcomes if not outcome.failed}
    left_out = plan.left_out + [(outcome.task.name, outcome.failed) for outcome in outcomes if outcome.failed]
    parts = [by_stem[task.stem] for task in plan.tasks if task.stem in by_stem]
    particles = extracted.join(parts)
    star = Path(plan.options.part_star or Path(plan.options.output) / "particles.star")
    n = len(particles.get("rlnImageName", ()))
    if not n:
        raise InputError(f"{star}: there are no particles to write, expected some; {_first_reason(left_out)}")
    optics, particles = extracted.drop_unused_groups(particle_optics(plan), particles)
    star.parent.mkdir(parents=True, exist_ok=True)
    extracted.write_particle_star(star, optics, particles)
    if plan.options.pick_star:
        tasks = [task for task in plan.tasks if task.stem in by_stem]
        write_coordinate_list(plan.options.pick_star, [task.name for task in tasks], [str(task.star) for task in tasks])
    line = job.progress.line
    if "rlnDefocusU" in particles:
        line(
            f" The pixel size of the extracted particles in optics group 1 is {optics['rlnImagePixelSize'][0]:g} "
            "Angstrom/pixel."
        )
    n_bad = sum(outcome.n_left_out for outcome in outcomes)
    n_failed = sum(bool(outcome.failed) for outcome in outcomes)
    if n_bad or n_failed:
        line(f" {n_bad} particles and {n_failed} micrographs could not be extracted; the others are done")
    line(f" Written out STAR file with {n} particles in {star}")
    job.log.event(
        "particles",
        n=n,
        n_left_out=n_bad,
        n_micrographs_failed=n_failed,
        file=star,
        bytes_read=sum(o.bytes_read for o in outcomes),
        bytes_written=sum(o.bytes_written for o in outcomes),
    )
    return Result(star, n, list(outcomes), left_out)


def _first_reason(left_out: Sequence[tuple[str, str]]) -> str:
    return left_out[0][1] if left_out else "the coordinate files are empty: pick with a lower threshold"


def particle_optics(plan: Plan) -> Columns:
    """data_optics of the particles."""
    options, recipe = plan.options, plan.options.recipe()
    if plan.refined is None or options.keep_ctfs_micrographs:
        optics, groups = plan.micrographs.optics, plan.micrographs.groups
    else:
        optics, groups = plan.refined.optics, [found or mine for found, mine in zip(plan.groups, plan.refined.groups)]
    pixel_A = np.array([group.pixel_size_A for group in groups])
    done = {"premultiplied": recipe.multiply == "ctf", "flipped": recipe.multiply == "sign"}
    return extracted.optics_of_particles(optics, pixel_A, recipe.box / recipe.rescaled, recipe.final, **done)
