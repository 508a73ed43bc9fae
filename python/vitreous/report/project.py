"""The page of a project: its jobs as a tree, with status, cost and key number, and links to their own pages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vitreous.report.page import Markup, Page, link
from vitreous.report.parts import duration_text, size_text

COLOURS = {
    "finished": "#2e7d4f", "running": "#1f6f8b", "failed": "#b3261e", "killed": "#b3261e", "missing": "#b3261e",
    "aborted": "#b26a00", "interrupted": "#b26a00",
}  # fmt: skip
OTHER = "#5b6673"
HEAD = ("job", "program", "status", "began", "time", "CPU", "memory", "result", "further input from", "notes")
OPTIONAL = ("CPU", "memory", "further input from", "notes")  # columns that are left out where they are empty
MOST_COMMANDS = 2000  # on the page, to keep it small


def project_report(name: str, beside: Path, jobs: Sequence[Any], tree: Sequence[tuple[int, int]], notes: Sequence[str]) -> str:
    """The page as HTML text.

    Parameters
    ----------
    name : of the project
    beside : folder of the page, for relative links
    jobs : with the attributes of job.project.Found
    tree : (index of a job, its depth), in the order of the rows
    notes : what could not be read and is no job's
    """
    began = [job.began for job in jobs if job.began]
    page = Page(f"Project {name}", f"{stamp(min(began))} to {stamp(max(began))}" if began else "")
    count = Counter(job.status for job in jobs)
    cpu_s = sum(job.cpu_s or 0 for job in jobs)
    page.facts([("jobs", len(jobs)), *count.most_common(), ("wall-clock time", duration_text(sum(job.wall_s or 0 for job in jobs))),
                *([("CPU time", duration_text(cpu_s))] if cpu_s else [])])  # fmt: skip
    for note in notes:
        page.warning(note)
    page.section("Jobs", "A job stands below the latest of those whose files it read; further ones are named beside it.")
    rows = [row(jobs, i, depth, beside) for i, depth in tree]
    shown = [c for c, name in enumerate(HEAD) if name not in OPTIONAL or any(r[c] not in ("", None) for r in rows)]
    page.table([HEAD[c] for c in shown], [[r[c] for c in shown] for r in rows])
    commands = [(jobs[i].name, jobs[i].command) for i, _ in tree if jobs[i].command]
    page.section("Commands")
    page.table(("job", "last command"), commands[:MOST_COMMANDS], fold=f"{len(commands)} commands")
    return page.html()


def row(jobs: Sequence[Any], i: int, depth: int, beside: Path) -> list[Any]:
    """The cells of a job."""
    job = jobs[i]
    name = escape(job.name) if job.report is None else link(job.name, href(job.report, beside))
    twig = f'<span class="soft" style="padding-left:{1.3 * (depth - 1):.1f}em">└ </span>' if depth else ""
    alias = f' <span class="soft">{escape(job.alias)}</span>' if job.alias else ""
    status = Markup(f'<b style="color:{COLOURS.get(job.status, OTHER)}">{escape(job.status)}</b>')
    cost = ((job.wall_s, duration_text), (job.cpu_s, duration_text), (job.peak_bytes, size_text))
    others = ", ".join(jobs[parent].name for parent in job.parents[1:])
    runs = [f"{job.n_runs} runs"] if job.n_runs > 1 else []
    return [in_line(f"{twig}{name}{alias}"), job.kind, status, in_line(stamp(job.began)),
            *(None if value is None else in_line(words(value)) for value, words in cost),
            job.result, others, "; ".join(runs + job.notes)]  # fmt: skip


def in_line(html: str) -> Markup:
    """A cell that is not broken into lines."""
    return Markup(f'<span style="white-space:nowrap">{html}</span>')


def stamp(when: datetime | None) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M}" if when else ""


def href(path: Path, beside: Path) -> str:
    """A relative link to a file, so that a project may be moved."""
    return quote(os.path.relpath(path, beside))
