"""All jobs of a project folder on one page and as a table: what ran, how it ended, what it cost and found, and from what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.job.memory import human
from vitreous.job.progress import Progress, duration, table
from vitreous.job.project import Found, find_jobs, tree
from vitreous.programs.options import Common, ProgramOptions, again, option
from vitreous.report.project import project_report


class Options(ProgramOptions):
    """Which project, and where its page goes."""

    PROGRAM: ClassVar[str] = "report"
    SUMMARY: ClassVar[str] = "all jobs of a project folder: how they ended, what they cost and found, and from what"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("vitreous report", "vitreous report /data/project --o project.html")
    POSITIONAL: ClassVar[str] = "i"

    folder: str = option(".", "folder of the project, whose subfolders hold the jobs", group="input", flag="i", metavar="FOLDER")
    output: str | None = option(
        None, "the page", group="output", flag="o", metavar="FILE", unset="project.html in the folder"
    )
    verb: int = again(Common, "verb")


@dataclass(frozen=True, eq=False)
class Result:
    """What was found: jobs in the order in which they began, their places in the tree, and what could not be read."""

    jobs: list[Found]
    tree: list[tuple[int, int]]
    notes: list[str]
    page: Path


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Find, show and write; ``be`` and ``comm`` are those of every program and not needed here."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(f"--i {folder}: found no such folder, expected that of a project; give one that is there")
    jobs, notes = find_jobs(folder)
    if not jobs:
        raise InputError(
            f"--i {folder}: found no job in it ({'; '.join(notes) or 'no event log and no job of RELION'}), expected "
            "some; give the folder in which the programs were started"
        )
    page = Path(options.output or folder / "project.html")
    places = tree(jobs)
    html = project_report(folder.resolve().name, page.resolve().parent, jobs, places, notes)
    with atomic_write(page) as file:
        file.write(html.encode("utf-8", "replace"))
    progress = Progress(options.verb)
    for line in lines(jobs, places, notes):
        progress.line(line)
    progress.line(f" Page: {page}")
    return Result(jobs, places, notes, page)


def lines(jobs: list[Found], places: list[tuple[int, int]], notes: list[str]) -> list[str]:
    """The tree as an aligned table, then what is wrong."""
    head = ("job", "program", "status", "began", "time", "CPU", "memory", "result")
    rows = [head]
    for i, depth in places:
        job = jobs[i]
        name = "  " * depth + (job.alias or job.name)
        cost = (in_words(job.wall_s, duration), in_words(job.cpu_s, duration), in_words(job.peak_bytes, human))
        rows.append((name, job.kind, job.status, local(job.began), *cost, job.result))
    out = table(rows, indent=" ")
    told = [(job.name, note) for job in jobs for note in job.notes] + [("", note) for note in notes]
    return out + [f" {name}: {note}" if name else f" {note}" for name, note in told]


def in_words(value: float | None, words: Any) -> str:
    return "" if value is None else words(value)


def local(when: datetime | None) -> str:
    """A time of this place, to the minute."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}" if when else ""
