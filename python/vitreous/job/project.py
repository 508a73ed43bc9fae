"""Every job of a project folder: what ran, how it ended, what it cost and found, and whose files it read.

Our jobs are known by their event logs, RELION's by its pipeline and the files in their folders. Whatever of these cannot be
read is noted with the job, and the rest is shown.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vitreous.errors import InputError
from vitreous.io import pipeline_files as relion
from vitreous.io.star import read_star

FILES = (".star", ".mrc", ".mrcs", ".map", ".toml")  # how the names of inputs end
LONGEST_S = 30 * 86400  # a marker that is later than this after the start is a copy's
MOST_NOTE = 300  # characters of an error that are kept


@dataclass
class Found:
    """One job.

    Attributes
    ----------
    name : its folder in the project, with the start of its files' names where there may be several in it
    folder : absolute
    root : start of its files' names; "" for all in its folder
    kind : its program
    status : finished, running, failed, aborted, interrupted, killed, scheduled, missing or unknown
    began, ended : UTC, None where not known
    wall_s, cpu_s : of all its runs; None where not known
    peak_bytes : largest resident memory
    result : its key number in words
    inputs : files that it was given, absolute
    parents : indices of the jobs that made its inputs, the latest first
    report : its page
    notes : what is wrong with it or its files
    """

    name: str
    folder: Path
    root: str = ""
    kind: str = ""
    alias: str = ""
    status: str = "unknown"
    began: datetime | None = None
    ended: datetime | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    n_runs: int = 0
    result: str = ""
    command: str = ""
    inputs: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    report: Path | None = None
    notes: list[str] = field(default_factory=list)


def _resolution(value: Any) -> str:
    return f"{value:.2f} Å" if isinstance(value, (int, float)) and 0 < value < 999 else ""


def _iteration(event: Mapping[str, Any]) -> str:
    weights = event.get("class_weight") or []
    used = sum(weight > 0 for weight in weights if weight is not None)
    classes = f"{used} of {len(weights)} classes, " if len(weights) > 1 else ""
    return f"{classes}{_resolution(event.get('resolution_A')) or 'no resolution'} after {event.get('iteration')} iterations"


# Event -> its key number in words; the last one of a log counts.
RESULTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "iteration": _iteration,
    "picks": lambda e: f"{e['n_picks']:,} picks in {e['n_micrographs']:,} micrographs",
    "particles": lambda e: f"{e['n']:,} particles",
    "selected": lambda e: f"{e['n_after']:,} of {e['n_before']:,} {e['of']}",
    "imported": lambda e: f"{e['n']:,} micrographs",
    "fsc": lambda e: _resolution(e["resolution_A"]),
    "postprocess": lambda e: _resolution(e["resolution_A"]),
    "mask": lambda e: f"{100 * e['share']:.1f} % of the box",
    "detection": lambda e: f"symmetry {e['symmetry']}",
    "alignment": lambda e: f"symmetry {e['symmetry']}",
    "symmetry": lambda e: f"symmetry {e['symmetry']}",
}


def find_jobs(project: Path) -> tuple[list[Found], list[str]]:
    """Jobs of a folder and its subfolders, in the order in which they began, and notes on what else could not be read."""
    project = Path(os.path.realpath(project))
    jobs: list[Found] = []
    notes: list[str] = []
    marked: set[Path] = set()
    for where, folders, names in os.walk(project, onerror=lambda error: notes.append(f"{error.filename}: {error.strerror}")):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "Trash")
        folder = Path(where)
        logs = [folder / name for name in sorted(names) if name.endswith(".jsonl")]
        ours = [job for job in (of_log(path, project) for path in logs) if job is not None]
        jobs += ours
        if folder != project and not ours and not set(names).isdisjoint(relion.JOB_FILES):
            marked.add(folder)
    jobs += of_relion(project, marked, jobs, notes)
    name_apart(jobs)
    number = lambda name: name.rpartition("/job")[2]  # of jobs that began in one second
    jobs.sort(key=lambda job: (job.began is None, job.began.timestamp() if job.began else 0, number(job.name), job.name))
    link(jobs, project)
    return jobs, notes


def name_apart(jobs: list[Found]) -> None:
    """Add the start of their files' names to jobs that share a folder."""
    shared: dict[Path, list[Found]] = {}
    for job in jobs:
        shared.setdefault(job.folder, []).append(job)
    for together in shared.values():
        for job in together if len(together) > 1 else ():
            job.name = f"{job.name}/{job.root}" if job.name != "." else job.root


# ---- our jobs --------------------------------------------------------------------------------------------------------


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Events of a log, and the number of lines that are none; OSError where it cannot be read."""
    events, n_bad = [], 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                event = None
            if isinstance(event, dict) and "event" in event:
                events.append(event)
            elif line.strip():
                n_bad += 1
    return events, n_bad


def of_log(path: Path, project: Path) -> Found | None:
    """The job of a log; None where the file is another program's."""
    folder, root = path.parent, path.name.removesuffix(".jsonl")
    job = Found(str(folder.relative_to(project)), folder, root)
    recorded = folder / f"{root}_options.toml"
    try:
        events, n_bad = read_log(path)
    except OSError as error:
        job.notes.append(f"{path.name} cannot be read: {error.strerror}")
        events, n_bad = [], 0
    if not any("program" in event for event in events) and not recorded.exists():
        return None
    if n_bad:
        job.notes.append(f"{path.name}: {n_bad} line{'s are' if n_bad > 1 else ' is'} truncated or not readable")
    page = folder / "report.html"
    job.report = page if page.exists() else None
    try:
        tell(job, events, project)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        job.notes.append(f"{path.name}: an event is not as expected ({type(error).__name__}: {error})")
    return job


def tell(job: Found, events: list[dict[str, Any]], project: Path) -> None:
    """What a log says of its job; of several runs the last one's ending, and the times of all together."""
    starts = [i for i, event in enumerate(events) if event["event"] == "start"] or [0] * bool(events)
    job.n_runs = len(starts)
    told, ended = relion.marker(job.folder)  # for a log that does not say it
    if not events:
        job.status = told or "unknown"
        return
    runs = [events[a:b] for a, b in zip(starts, [*starts[1:], len(events)])]
    first, last = runs[0][0], runs[-1]
    job.kind = str(last[0].get("program", ""))
    job.command = str(last[0].get("command", ""))
    job.began, job.ended = time_of(first), time_of(last[-1])
    job.wall_s = sum(float(run[-1].get("elapsed_s") or 0) for run in runs)
    cpu = [run[-1]["cpu_s"] for run in runs if "cpu_s" in run[-1]]
    job.cpu_s = sum(cpu) if len(cpu) == len(runs) else None
    job.peak_bytes = max((event["peak_memory_bytes"] for event in events if event.get("peak_memory_bytes")), default=None)
    end = last[-1] if last[-1]["event"] == "end" else None
    job.status = str(end.get("status", "unknown")) if end else told or status_without_end(last[0])
    if end is None:
        job.ended = ended
    error = end.get("error") if end else None
    if error:
        job.notes.append(str(error)[:MOST_NOTE])
    n_warnings = sum(event["event"] == "warning" for event in last)
    if n_warnings:
        job.notes.append(f"{n_warnings} warning{'s' if n_warnings > 1 else ''}")
    job.inputs = next(filter(None, (inputs_of(run, project) for run in reversed(runs))), [])
    job.result = next(filter(None, (result_of(event) for event in reversed(events))), "")


def result_of(event: Mapping[str, Any]) -> str:
    """The key number of an event, "" where it has none."""
    return RESULTS[event["event"]](event) if event["event"] in RESULTS else ""


def time_of(event: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(event["time"]) if "time" in event else None


def status_without_end(start: Mapping[str, Any]) -> str:
    """Of a run whose log does not end: running where its process is there, killed where it is not, unknown elsewhere."""
    if start.get("host") != platform.node() or not start.get("pid"):
        return "unknown"
    try:
        words = Path(f"/proc/{start['pid']}/cmdline").read_bytes()
    except OSError:
        return "killed"
    return "running" if b"vitreous" in words or str(start.get("program")).encode() in words else "killed"


def inputs_of(run: list[dict[str, Any]], project: Path) -> list[str]:
    """Files that the options of a run name, absolute."""
    options: dict[str, Any] = {}
    for event in run:
        if event["event"] in ("start", "options") and isinstance(event.get("options"), dict):
            options |= event["options"]
    there = str(run[0].get("folder", project))
    values = [option.get("value") for option in options.values() if isinstance(option, dict)]
    texts = [text for value in values if isinstance(value, str) for text in value.split()]
    return sorted({path for text in texts if is_path(text) for path in places(text, there, project)})


def is_path(text: str) -> bool:
    return os.sep in text or text.endswith(FILES)


def places(text: str, there: str, project: Path) -> Iterable[str]:
    """Where a file may be that a job named when it ran in ``there``, should the project have been moved since."""
    relative = os.path.relpath(text, there) if os.path.isabs(text) else text
    return {os.path.realpath(os.path.join(base, relative)) for base in (there, project)}


# ---- RELION's jobs ---------------------------------------------------------------------------------------------------


def of_relion(project: Path, marked: set[Path], ours: list[Found], notes: list[str]) -> list[Found]:
    """Jobs of the pipeline and of folders with RELION's files; those of ours among them take their alias and inputs."""
    path = project / "default_pipeline.star"
    listed: list[relion.Process] = []
    if path.exists():
        try:
            listed = relion.read_pipeline(path)
        except (InputError, OSError) as error:
            notes.append(f"{path.name} cannot be read: {error}")
    known = {project / process.folder: process for process in listed}
    for folder in marked - set(known):
        known[folder] = relion.Process(str(folder.relative_to(project)))
    for job in ours:
        process = known.get(job.folder, relion.Process(job.name))
        job.alias = process.alias
        job.inputs += nodes_of(process, project)
    seen = {job.folder for job in ours}
    return [_of_folder(folder, process, project) for folder, process in known.items() if folder not in seen]


def nodes_of(process: relion.Process, project: Path) -> list[str]:
    """Files that the pipeline gives as a job's inputs, absolute."""
    return [path for node in process.inputs for path in places(node, str(project), project)]


def _of_folder(folder: Path, process: relion.Process, project: Path) -> Found:
    job = Found(process.folder, folder, kind=process.kind, alias=process.alias, status=process.status or "unknown")
    job.inputs = nodes_of(process, project)
    if not folder.is_dir():
        job.notes.append("its folder is not there")
        job.status = "missing"
        return job
    told, job.ended = relion.marker(folder)
    job.status = told or job.status
    _read(job, "note.txt", lambda path: _take_note(job, path))
    _read(job, "job.star", lambda path: _take_options(job, path, project))
    job.result = relion_result(job, folder)
    page = next((path for path in (folder / "report.html", folder / "logfile.pdf") if path.exists()), None)
    job.report = page
    if job.began and job.ended and 0 <= (job.ended - job.began).total_seconds() < LONGEST_S:
        job.wall_s = (job.ended - job.began).total_seconds()
    return job


def _read(job: Found, name: str, take: Callable[[Path], None]) -> None:
    """Take what a file of a job says, or note that it cannot be read."""
    try:
        if (job.folder / name).exists():
            take(job.folder / name)
    except (InputError, OSError, KeyError, ValueError) as error:
        job.notes.append(f"{name} cannot be read: {str(error)[:MOST_NOTE]}")


def _take_note(job: Found, path: Path) -> None:
    began, job.command = relion.read_note(path)
    job.began = began


def _take_options(job: Found, path: Path, project: Path) -> None:
    kind, options = relion.read_job_star(path)
    job.kind = job.kind or kind
    if not job.inputs:
        named = filter(is_path, options.values())
        job.inputs = [place for value in named for place in places(value, str(project), project)]


def relion_result(job: Found, folder: Path) -> str:
    """Resolution and classes by the last model, or resolution by postprocess.star."""
    models = sorted(path.name for path in folder.glob("run*_model.star") if "_half2_" not in path.name)
    last = [name for name in models if re.fullmatch(r"run(_half1)?_model\.star", name)] or models[-1:]
    found: list[str] = []
    for name in ("postprocess.star", *last[:1]):
        _read(job, name, lambda path: found.append(_star_result(path)))
    return next(filter(None, found), "")


def _star_result(path: Path) -> str:
    star = read_star(str(path), ("general", "model_general", "model_classes"))
    general = star.first("general", "model_general")
    resolution = general.value("rlnFinalResolution", general.value("rlnCurrentResolution", None))
    n = star["model_classes"].n_rows if "model_classes" in star else 1
    return ", ".join(filter(None, (f"{n} classes" if n > 1 else "", _resolution(resolution))))


# ---- what was made from what -----------------------------------------------------------------------------------------


def link(jobs: list[Found], project: Path) -> None:
    """Set the parents: a job whose input lies in another job's folder is its child."""
    by_folder: dict[Path, list[int]] = {}
    for i, job in enumerate(jobs):
        by_folder.setdefault(job.folder, []).append(i)
    for i, job in enumerate(jobs):
        found = {maker(Path(path), i, jobs, by_folder, project) for path in job.inputs} - {None, i}
        job.parents = sorted(found, reverse=True)


def maker(path: Path, child: int, jobs: list[Found], by_folder: Mapping[Path, list[int]], project: Path) -> int | None:
    """Which job made a file: of those in the nearest folder above it the one whose files' names begin so, else the last
    that began before the child. The project's own folder and the child's hold other files too: there the name decides."""
    for folder in (path, *path.parents):
        there = by_folder.get(folder, [])
        named = [i for i in there if _begins(jobs[i].root, path.name)] if path.parent == folder else []
        if named:
            return max(named, key=lambda i: len(jobs[i].root))
        if child in there or folder == project:
            return None
        earlier = [i for i in there if i < child]
        if earlier:
            return earlier[-1]
    return None


def _begins(root: str, name: str) -> bool:
    """Whether a file is one of a job's by its name."""
    return bool(root) and re.match(re.escape(root) + r"([_.]|$)", name) is not None


def tree(jobs: list[Found]) -> list[tuple[int, int]]:
    """(index, depth) of every job, children below the latest of their parents that began before them."""
    children: dict[int | None, list[int]] = {}
    for i, job in enumerate(jobs):
        children.setdefault(next((parent for parent in job.parents if parent < i), None), []).append(i)
    out, stack = [], [(i, 0) for i in reversed(children.get(None, []))]
    while stack:
        i, depth = stack.pop()
        out.append((i, depth))
        stack += [(child, depth + 1) for child in reversed(children.get(i, []))]
    return out
