"""What RELION leaves of its jobs: default_pipeline.star, job.star, note.txt and the markers of how a job ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from vitreous.io.star import Block, read_star, write_star

VERSION = 50001  # of the tables, as RELION 4 writes them
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
    18: "initialmodel", 19: "multibody", 20: "polish", 21: "ctfrefine", 99: "external",
}  # fmt: skip
OTHER = "external"  # the kind of programs that RELION does not have
# Ending of a file's name -> what RELION takes it for: number in 3.1, label since 4. The first that fits counts.
NODES = (
    ("autopick.star", 2, "MicrographCoordsGroup.star.relion.autopick"),
    ("micrographs.star", 1, "MicrographGroupMetadata.star.relion"),
    ("particles.star", 3, "ParticleGroupMetadata.star.relion"),
    ("_data.star", 3, "ParticleGroupMetadata.star.relion"),
    ("class_averages.star", 5, "Image2DGroupMetadata.star.relion.classaverages"),
    ("templates.star", 5, "Image2DGroupMetadata.star.relion.classaverages"),
    ("_optimiser.star", 9, "OptimiserData.star.relion"),
    ("_model.star", 8, "OptimiserData.star.relion"),
    ("postprocess.star", 14, "ProcessData.star.relion.postprocess"),
    ("mask.mrc", 7, "Mask3D.mrc.relion"),
    ("_unfil.mrc", 10, "DensityMap.mrc.relion.halfmap"),
    ("postprocess.mrc", 11, "DensityMap.mrc.relion.postprocess"),
    (".mrc", 6, "DensityMap.mrc.relion"),
)
LOCK, LOCK_FILE = ".relion_lock", "lock_default_pipeline.star"
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
    inputs, outputs : files that it read, and made
    """

    folder: str
    kind: str = ""
    status: str = ""
    alias: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def read_pipeline(path: Path) -> list[Process]:
    """Every job of a pipeline file, in order; InputError or OSError where it cannot be read."""
    star = read_star(str(path))
    if "pipeline_processes" not in star:
        return []
    inputs = files_of(star.get("pipeline_input_edges"), "rlnPipeLineEdgeFromNode")
    outputs = files_of(star.get("pipeline_output_edges"), "rlnPipeLineEdgeToNode")
    table = star["pipeline_processes"]
    old = "rlnPipeLineProcessTypeLabel" not in table
    kinds = table["rlnPipeLineProcessType" if old else "rlnPipeLineProcessTypeLabel"].tolist()
    states = table["rlnPipeLineProcessStatus" if old else "rlnPipeLineProcessStatusLabel"].tolist()
    found = []
    for i, name in enumerate(table["rlnPipeLineProcessName"]):
        alias = str(table["rlnPipeLineProcessAlias"][i]).rstrip("/")
        folder, state = name.rstrip("/"), str(states[i])
        status = STATUS_OF_PROCESS.get(state, state.lower())
        alias = "" if alias == "None" else alias
        found.append(Process(folder, job_kind(kinds[i]), status, alias, inputs.get(folder, []), outputs.get(folder, [])))
    return found


def files_of(edges: Block | None, label: str) -> dict[str, list[str]]:
    """Folder of a job -> the files of its edges."""
    found: dict[str, list[str]] = {}
    for node, process in zip(edges[label], edges["rlnPipeLineEdgeProcess"]) if edges is not None else ():
        found.setdefault(process.rstrip("/"), []).append(node)
    return found


def write_pipeline(path: Path, processes: Sequence[Process], next_number: int) -> None:
    """Write a pipeline that RELION 3.1 reads by its numbers, and later ones by their labels.

    Parameters
    ----------
    processes : in order, of a status that RELION has, with files that ``node_type`` knows
    next_number : of the next job
    """
    numbers = {kind: number for number, kind in TYPE_NUMBERS.items()}
    kinds = [process.kind if process.kind.partition(".")[0] in numbers else OTHER for process in processes]
    words = {status: word for word, status in STATUS_OF_PROCESS.items() if not word.isdigit()}
    states = {status: int(word) for word, status in STATUS_OF_PROCESS.items() if word.isdigit()}
    nodes = {name: node_type(name) for process in processes for name in (*process.inputs, *process.outputs)}
    inputs = [(name, f"{process.folder}/") for process in processes for name in process.inputs]
    outputs = [(f"{process.folder}/", name) for process in processes for name in process.outputs]
    tables = {
        "pipeline_processes": {
            "rlnPipeLineProcessName": [f"{process.folder}/" for process in processes],
            "rlnPipeLineProcessAlias": [f"{process.alias}/" if process.alias else "None" for process in processes],
            "rlnPipeLineProcessType": [numbers[kind.partition(".")[0]] for kind in kinds],
            "rlnPipeLineProcessTypeLabel": [f"relion.{kind}" for kind in kinds],
            "rlnPipeLineProcessStatus": [states[process.status] for process in processes],
            "rlnPipeLineProcessStatusLabel": [words[process.status] for process in processes],
        },
        "pipeline_nodes": {
            "rlnPipeLineNodeName": list(nodes),
            "rlnPipeLineNodeType": [number for number, _ in nodes.values()],
            "rlnPipeLineNodeTypeLabel": [label for _, label in nodes.values()],
            "rlnPipeLineNodeTypeLabelDepth": [1] * len(nodes),
        },
        "pipeline_input_edges": columns(inputs, ("rlnPipeLineEdgeFromNode", "rlnPipeLineEdgeProcess")),
        "pipeline_output_edges": columns(outputs, ("rlnPipeLineEdgeProcess", "rlnPipeLineEdgeToNode")),
    }
    general = Block("pipeline_general", "list", {"rlnPipeLineJobCounter": next_number}, VERSION)
    write_star(path, [general, *(Block(name, "loop", table, VERSION) for name, table in tables.items())])


def columns(pairs: Sequence[tuple[str, str]], labels: tuple[str, str]) -> dict[str, list[str]]:
    """Columns of a table of pairs, which may have none."""
    return {label: [pair[i] for pair in pairs] for i, label in enumerate(labels)}


def node_type(name: str) -> tuple[int, str] | None:
    """What RELION takes a file for: its number in 3.1 and its label since 4; None for what it does not list."""
    return next(((number, label) for ending, number, label in NODES if name.endswith(ending)), None)


@contextmanager
def locked(project: Path) -> Iterator[bool]:
    """Hold the lock that RELION takes to change a pipeline; False where somebody else has it."""
    folder = project / LOCK
    try:
        folder.mkdir()
    except FileExistsError:
        yield False
        return
    try:
        (folder / LOCK_FILE).touch()
        yield True
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
