"""What RELION leaves of its jobs: default_pipeline.star, job.star, note.txt and the markers of how a job ended."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from vitreous.io.star import read_star

MARKER = "RELION_JOB_EXIT_"
# A folder with one of these is a job's.
JOB_FILES = ("job.star", "run.job", "note.txt", "job_pipeline.star", *(MARKER + how for how in ("SUCCESS", "FAILURE", "ABORTED")))
STATUS_OF_MARKER = {"SUCCESS": "finished", "FAILURE": "failed", "ABORTED": "aborted"}
# By word since RELION 4, by number in 3.1.
STATUS_OF_PROCESS = {
    "Running": "running", "Scheduled": "scheduled", "Succeeded": "finished", "Failed": "failed", "Aborted": "aborted",
    "0": "running", "1": "scheduled", "2": "finished", "3": "failed", "4": "aborted",
}  # fmt: skip
TYPE_NUMBERS = {
    0: "import", 1: "motioncorr", 2: "ctffind", 3: "manualpick", 4: "autopick", 5: "extract", 7: "select", 8: "class2d",
    9: "class3d", 10: "refine3d", 12: "maskcreate", 13: "joinstar", 14: "subtract", 15: "postprocess", 16: "localres",
    18: "initialmodel", 19: "multibody", 20: "polish", 21: "ctfrefine",
}  # fmt: skip
DATE = re.compile(r"\+\+\+\+ .*? on (.+)")


@dataclass(frozen=True)
class Process:
    """A job as the pipeline has it.

    Attributes
    ----------
    folder : relative to the project, without a slash at its end
    kind : e.g. class2d, autopick.log
    status : running, scheduled, finished, failed, aborted or what else the file says
    alias : its second name, "" without one
    inputs : files that it read
    """

    folder: str
    kind: str = ""
    status: str = ""
    alias: str = ""
    inputs: list[str] = field(default_factory=list)


def read_pipeline(path: Path) -> list[Process]:
    """Every job of a pipeline file, in order; InputError or OSError where it cannot be read."""
    star = read_star(str(path))
    if "pipeline_processes" not in star:
        return []
    inputs = defaultdict(list)
    edges = star.get("pipeline_input_edges")
    for node, process in zip(edges["rlnPipeLineEdgeFromNode"], edges["rlnPipeLineEdgeProcess"]) if edges is not None else ():
        inputs[process.rstrip("/")].append(node)
    table = star["pipeline_processes"]
    old = "rlnPipeLineProcessTypeLabel" not in table
    kinds = table["rlnPipeLineProcessType" if old else "rlnPipeLineProcessTypeLabel"].tolist()
    states = table["rlnPipeLineProcessStatus" if old else "rlnPipeLineProcessStatusLabel"].tolist()
    found = []
    for i, name in enumerate(table["rlnPipeLineProcessName"]):
        alias = str(table["rlnPipeLineProcessAlias"][i]).rstrip("/")
        folder, state = name.rstrip("/"), str(states[i])
        status = STATUS_OF_PROCESS.get(state, state.lower())
        found.append(Process(folder, job_kind(kinds[i]), status, "" if alias == "None" else alias, inputs[folder]))
    return found


def job_kind(value: object) -> str:
    """The kind of a job from RELION's label or, in 3.1, number."""
    return TYPE_NUMBERS.get(value, str(value)) if isinstance(value, int) else str(value).removeprefix("relion.")


def read_job_star(path: Path) -> tuple[str, Mapping[str, str]]:
    """Kind and options of a job.star; InputError or OSError where it cannot be read."""
    star = read_star(str(path))
    general = star["job"]
    kind = general.value("rlnJobTypeLabel", None)
    kind = general.value("rlnJobType", "") if kind is None else kind
    options = star.get("joboptions_values")
    if options is None:
        return job_kind(kind), {}
    names, values = options["rlnJobOptionVariable"].tolist(), options["rlnJobOptionValue"].tolist()
    return job_kind(kind), dict(zip(map(str, names), map(str, values)))


def read_note(path: Path) -> tuple[datetime | None, str]:
    """When the last run of a job's note.txt began, local time as UTC, and its last command."""
    began, command, expected = None, "", False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        date = DATE.search(line)
        if date and "Executing" in line:
            began = note_date(date.group(1)) or began
        elif "with the following command(s)" in line:
            expected = True
        elif line.strip() == "++++":
            expected = False
        elif expected and line.strip():
            command = line.strip()
    return began, command


def note_date(text: str) -> datetime | None:
    """A date of C's ctime, e.g. Fri Nov 20 13:10:58 2026."""
    try:
        return datetime.strptime(text.strip(), "%a %b %d %H:%M:%S %Y").astimezone(timezone.utc)
    except ValueError:
        return None


def marker(folder: Path) -> tuple[str, datetime | None]:
    """How a job ended by its marker, "" without one, and when."""
    for ending, status in STATUS_OF_MARKER.items():
        path = folder / (MARKER + ending)
        if path.exists():
            return status, datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    return "", None
