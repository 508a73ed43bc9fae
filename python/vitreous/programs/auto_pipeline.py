"""default_pipeline.star of an automatic run, so that RELION's interface shows its jobs, and what each made from what."""

from __future__ import annotations

from pathlib import Path

from vitreous.errors import InputError
from vitreous.io.pipeline_files import Process, locked, node_type, read_pipeline, write_pipeline
from vitreous.programs.auto_project import Record, State

PIPELINE = Path("default_pipeline.star")


def write_state(state: State, current: str) -> str:
    """Write the pipeline of the steps so far; where that is not ours to do, why.

    Parameters
    ----------
    current : status of the steps that are not done: running, or aborted where nobody works on them any more
    """
    records = list(state.steps.values())
    try:
        listed = {process.folder: process for process in read_pipeline(PIPELINE)} if PIPELINE.exists() else {}
    except InputError as error:
        return f"{error}; {PIPELINE} is left as it is"
    others = set(listed) - set(state.folders)
    if others:
        return f"{PIPELINE}: has jobs of others, {min(others)} for one, and is left as it is"
    inputs = [[file for file in map(node, record.options.values()) if file] for record in records]
    processes = [
        Process(
            record.folder, record.folder.partition("/")[0].lower(), "finished" if record.done else current,
            listed[record.folder].alias if record.folder in listed else "", read, outputs(record, inputs),
        )
        for record, read in zip(records, inputs)
    ]  # fmt: skip
    with locked(Path()) as mine:
        if not mine:
            return f"{PIPELINE}: is locked by RELION and is left as it is; where no RELION runs, remove .relion_lock"
        write_pipeline(PIPELINE, processes, state.n_jobs + 1)
    return ""


def outputs(record: Record, inputs: list[list[str]]) -> list[str]:
    """Files of a job's folder that later steps may read, or have read."""
    named = [file for file in map(node, record.facts.values()) if file] + [file for files in inputs for file in files]
    return [file for file in dict.fromkeys(named) if file.startswith(f"{record.folder}/") and Path(file).exists()]


def node(value: object) -> str:
    """A file of the project that RELION lists; empty for other values."""
    is_ours = isinstance(value, str) and not Path(value).is_absolute() and Path(value).exists()
    return str(value) if is_ours and node_type(value) else ""
