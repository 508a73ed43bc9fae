"""One run of a program: its folder, log, progress, requests to stop, and how it ended."""

from __future__ import annotations

import io
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from vitreous.io.atomic import atomic_write
from vitreous.job import memory
from vitreous.job.log import EventLog
from vitreous.job.progress import Progress, duration
from vitreous.job.rundir import RunDir

ABORT_REQUEST = "RELION_JOB_ABORT_NOW"


class Aborted(KeyboardInterrupt):
    """The pipeline asked for a stop. A KeyboardInterrupt, so that no ``except Exception`` on the way can hold it up."""

    exit_code = 2  # RELION's for an aborted job


class Job:
    """Use as ``with Job("class2d", root, ...) as job:`` around everything that a program does.

    On entry it makes the folder, removes temporary files of a killed run, opens the log and writes the options' record.
    On exit it logs how the run ended, how long it took and its peak memory.

    Parameters
    ----------
    program : its name, for the log and the line that tells how to go on
    root : start of the output names
    rank : of this process; only rank 0 writes and prints
    n_processes, n_on_machine : processes of this job, and those that share this machine's memory
    verb : 0 is silent
    pipeline_control : folder where RELION_JOB_ABORT_NOW may appear; None = nowhere
    record : text for root_options.toml; None = none is written
    start : values of the log's first event: options, versions, seed
    """

    def __init__(
        self,
        program: str,
        root: str,
        *,
        rank: int = 0,
        n_processes: int = 1,
        n_on_machine: int = 1,
        verb: int = 1,
        pipeline_control: str | None = None,
        record: str | None = None,
        start: dict[str, Any] | None = None,
    ):
        self.program, self.rank = program, rank
        self.n_processes, self._n_on_machine = n_processes, n_on_machine
        self.dir = RunDir(root)
        self.progress = Progress(verb) if rank == 0 else Progress(0, err=io.StringIO())
        self.log = EventLog(None)
        # Rank 0 alone looks, and takes the others with it: they might see the request an iteration earlier or later.
        self._abort_file = Path(pipeline_control) / ABORT_REQUEST if pipeline_control and rank == 0 else None
        self._record, self._start, self._began = record, start or {}, math.inf
        self._cpu_began_s = 0.0

    def __enter__(self) -> Job:
        self._began, self._cpu_began_s = time.time(), time.process_time()
        if self.rank != 0:
            return self
        self.dir.make()
        removed = self.dir.clean_stale()
        self.log = EventLog(self.dir.log)
        machine = {"host": platform.node(), "python": platform.python_version(), "pid": os.getpid()}
        command = {"processes": self.n_processes, "program": self.program, "command": command_line(), "folder": os.getcwd()}
        self.log.event("start", **command, **machine, **self._start)
        if removed:
            self.log.event("stale files removed", files=removed)
        if self._record is not None:
            try:
                self.write_record(self._record)
            except BaseException:
                self.log.close()
                raise
        return self

    def write_record(self, text: str) -> None:
        """Write root_options.toml; again when the program has worked out more of its options."""
        if self.rank == 0:
            with atomic_write(self.dir.options) as file:
                file.write(text.encode())

    def check_memory(self, parts: Mapping[str, int], shrink: str) -> str:
        """``memory.check_memory`` within this process's part of what the machine has left."""
        free = memory.available_bytes()
        return memory.check_memory(parts, shrink, free and free // self._n_on_machine)

    def warning(self, text: str, **values: Any) -> None:
        """Tell the user and the log."""
        self.progress.warning(text)
        self.log.event("warning", text=text, **values)

    def tell_memory(self, parts: Mapping[str, int], shrink: str) -> None:
        """Tell the log and the user the predicted peak; InputError where it does not fit.

        Parameters
        ----------
        parts, shrink : as ``check_memory`` has them
        """
        self.log.event("memory forecast", bytes=parts, total=sum(parts.values()))
        self.progress.line(self.check_memory(parts, shrink))

    def write_report(self, page: str) -> Path:
        """Write report.html beside the outputs; returns its path."""
        with atomic_write(self.dir.report) as file:
            file.write(page.encode())
        self.log.event("report", path=str(self.dir.report))
        return self.dir.report

    def should_abort(self) -> bool:
        """Whether the pipeline has asked for a stop; ask at least once per iteration."""
        return self._abort_file is not None and self._abort_file.exists()

    def check_abort(self) -> None:
        """Raise Aborted when the pipeline has asked for a stop."""
        if self.should_abort():
            raise Aborted(f"{self._abort_file} was found")

    def how_to_continue(self) -> str:
        """The command that goes on from the last complete iteration; empty where there is none."""
        last = self.dir.last_complete()
        return f"vitreous {self.program} --continue {shlex.quote(str(last))}" if last else ""

    def _tell_todo(self) -> None:
        """How to go on after a failure, where the last complete iteration is of this job, not of an earlier one here."""
        last = self.dir.last_complete()
        if last is not None and last.stat().st_mtime >= self._began:
            print(f"the last complete iteration is whole; to go on: {self.how_to_continue()}", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "finished"
        if isinstance(error, Aborted):
            status = "aborted"
        elif isinstance(error, (KeyboardInterrupt, SystemExit)):
            status = "interrupted"
        elif error is not None:
            status = "failed"
        text = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
        cpu_s = round(time.process_time() - self._cpu_began_s, 2)
        cost = {"cpu_s": cpu_s, "peak_memory_bytes": memory.peak_bytes()}  # of this process
        self.log.event("end", status=status, **cost, **text)
        if status in ("aborted", "interrupted") and self.rank == 0:
            again = self.how_to_continue()
            todo = f"to go on: {again}" if again else "no iteration is complete: start again"
            print(f"\nstopped after {duration(self.log.elapsed_s)}; {todo}", file=sys.stderr, flush=True)
            error.told = True  # the command line need not say it again
        elif status == "failed":
            error.tell_todo = self._tell_todo
            if self.rank == 0:  # for others the command line asks it, should rank 0 not have failed itself
                self._tell_todo()
        self.log.close()


def command_line() -> str:
    """The command that started this process, as one could type it."""
    return shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])
