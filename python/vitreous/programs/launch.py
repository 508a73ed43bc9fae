"""Opening a job for a program's options: the record, the log's first event and the job itself."""

from __future__ import annotations

from typing import Any

from vitreous import __version__
from vitreous.job.job import Job, command_line
from vitreous.programs.option_text import record, value_rows
from vitreous.programs.options import ProgramOptions


def describe(options: ProgramOptions) -> dict[str, Any]:
    """Options for the log: flag -> {value, unit, origin}."""
    return {
        flag: {"value": value, "unit": unit, "origin": origin}
        for _, flag, value, unit, origin in value_rows(options)
    }


def made_with(options: ProgramOptions, seconds: float, *more: tuple) -> list[tuple[str, Any, str, str]]:
    """Rows of a report's end: (name, value, unit, who chose it) of the options, the version, what is more, the time."""
    rows = [(f"--{flag}", value, unit, origin) for _, flag, value, unit, origin in value_rows(options)]
    return [*rows, ("vitreous", __version__, "", ""), *more, ("time", round(seconds, 2), "s", "")]


def open_job(options: ProgramOptions, comm: Any, **start: Any) -> Job:
    """A job, to be used in a ``with`` block.

    Parameters
    ----------
    options : with ``output`` set: for a continued run, those that ``ProgramOptions.continued`` returns
    comm : the processes; only rank 0 writes and prints
    start : more values for the log's first event, e.g. backend=be.name
    """
    return Job(
        options.PROGRAM,
        options.output,
        rank=comm.rank,
        n_processes=comm.size,
        n_on_machine=comm.node_size,
        verb=getattr(options, "verb", 1),
        pipeline_control=getattr(options, "pipeline_control", None),
        record=record(options, command_line(), __version__),
        start={"version": __version__, "options": describe(options), **start},
    )


def record_options(job: Job, options: ProgramOptions) -> None:
    """Write the record and the log again, when the program has derived values that the user left open."""
    job.write_record(record(options, command_line(), __version__))
    job.log.event("options", options=describe(options))


def with_unfinished() -> str:
    """The command that does what a stopped run has not done."""
    command = command_line()
    return command if "--only_do_unfinished" in command else f"{command} --only_do_unfinished"
