"""The project of an automatic run: its job folders, what is done, and how it goes on after a stop.

auto_state.json holds, for each step, the folder, the options it was run with, and what later steps need to know. It is
replaced as a whole, so that it is right at every moment; a step is done when RELION_JOB_EXIT_SUCCESS is in its folder
and the state says so.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.job.rundir import RunDir

STATE = "auto_state.json"
FORMAT = 2
SUCCESS = "RELION_JOB_EXIT_SUCCESS"


@dataclass
class Record:
    """One step as it was, or is being, run.

    Attributes
    ----------
    folder : of the job, in the project
    options : what decides the result: field names and values
    reasons : option or choice -> why
    done : whether all of it is there
    facts : what later steps need
    said : the outcome in one line
    seconds : that it took, over all attempts
    """

    folder: str
    options: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    done: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    seconds: float = 0.0


class State:
    """All steps of a project, in the order in which they were begun.

    Attributes
    ----------
    steps : name -> the step as it is now
    n_jobs : the last job's number
    folders : of all jobs, those of earlier attempts among them
    """

    def __init__(self, steps: dict[str, Record] | None = None, n_jobs: int = 0, folders: list[str] | None = None):
        self.steps, self.n_jobs = steps or {}, n_jobs
        self.folders = folders or [record.folder for record in self.steps.values()]

    @classmethod
    def read(cls) -> State:
        """The state in the working directory; that of a new project where there is none."""
        path = Path(STATE)
        if not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text())
            if found["format"] != FORMAT:
                raise ValueError(f"its format is {found['format']}")
            steps = {name: Record(**record) for name, record in found["steps"].items()}
            return cls(steps, found["n_jobs"], found.get("folders"))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path.absolute()}: cannot be read ({error}), expected what this version of vitreous auto writes; give "
                "another --o, or remove the file to begin again"
            ) from None

    def write(self) -> None:
        """Replace the file by what is known now."""
        steps = {name: asdict(record) for name, record in self.steps.items()}
        text = json.dumps({"format": FORMAT, "n_jobs": self.n_jobs, "folders": self.folders, "steps": steps}, indent=1)
        with atomic_write(STATE) as file:
            file.write(text.encode())

    def begin(self, name: str, kind: str, options: dict[str, Any], reasons: dict[str, str]) -> Record:
        """A new job folder for a step; those of earlier attempts with other options stay."""
        self.n_jobs += 1
        while any(Path().glob(f"*/job{self.n_jobs:03d}")):  # made by hand, or by RELION
            self.n_jobs += 1
        record = Record(f"{kind}/job{self.n_jobs:03d}", options, reasons)
        Path(record.folder).mkdir(parents=True, exist_ok=True)
        self.steps[name] = record
        self.folders.append(record.folder)
        self.write()
        return record

    def finish(self, record: Record, facts: dict[str, Any], said: str) -> None:
        """Mark a step as done, in its folder and then here."""
        record.done, record.facts, record.said = True, facts, said
        (Path(record.folder) / SUCCESS).touch()
        self.write()

    def is_done(self, name: str) -> bool:
        record = self.steps.get(name)
        return record is not None and record.done and (Path(record.folder) / SUCCESS).exists()

    def drop(self, names: list[str]) -> None:
        """Forget steps, so that they are done again; their folders stay."""
        for name in names:
            self.steps.pop(name, None)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], flags: Mapping[str, str] | None = None) -> list[str]:
    """What differs between two sets of options, in words.

    Parameters
    ----------
    flags : field name -> flag
    """
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{(flags or {}).get(name, name)} was {shown(old.get(name))}, is {shown(new.get(name))}" for name in names]


def shown(value: Any) -> str:
    return "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def last_whole(root: str, n_iterations: int | None) -> str | None:
    """The optimiser file from which a stopped run goes on, None where it must begin again.

    Of a run whose last iteration is there but whose report is not, it is the one before, so that the report is made.

    Parameters
    ----------
    n_iterations : of the whole run; None where the run decides
    """
    run = RunDir(root)
    numbers = [number for number in run.iterations() if number != n_iterations]
    return str(run.iteration_file(numbers[-1], "optimiser.star")) if numbers else None


def note(folder: str, program: str, options: Mapping[str, Any], flags: Mapping[str, str]) -> None:
    """Append the command that does the same step by hand to note.txt, as RELION's jobs have it.

    Parameters
    ----------
    options : field name -> value
    flags : field name -> flag
    """
    words = ["vitreous", program]
    for name, value in options.items():
        if value is not None and value is not False:
            words += [f"--{flags[name]}", *([] if value is True else [str(value)])]
    text = f" ++++ Executing new job on {time.ctime()}\n ++++ with the following command(s):\n{shlex.join(words)}\n ++++\n"
    with (Path(folder) / "note.txt").open("a") as file:
        file.write(text)


@contextmanager
def working_in(folder: str) -> Iterator[None]:
    """Work in a project folder, which is made where it is not there; file names in it start from there, as RELION's do."""
    before = os.getcwd()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise InputError(f"--o {folder}: cannot be made or entered ({error.strerror}), expected a folder; give another --o") from None
    try:
        yield
    finally:
        os.chdir(before)
