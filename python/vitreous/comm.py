"""How processes share a job: four verbs, called by the driver loop alone; and who was started with this process.

Under ``mpirun -n N`` every process calls the same verbs in the same order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from vitreous.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Where launchers tell a process how many there are and which it is, and the MPI library that understands that launcher.
# Slurm's are those of a step, as of srun: a batch script that starts one process has no step of several tasks.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "libmpi.so.40"),
    ("PMI_SIZE", "PMI_RANK", "libmpi.so.12"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", ""),
)
# A process whose rank is not 0 speaks of an error only after this time: one that all have found is told by rank 0.
GRACE_S = 1.0


class Comm(Protocol):
    """What a driver loop may ask of the processes that run it.

    Attributes
    ----------
    rank, size : number of this process, and of all
    node_rank, node_size : the same among the processes on this machine
    n_threads : threads that this process should take where the user has not said; 0 = all that it may
    """

    rank: int
    size: int
    node_rank: int
    node_size: int
    n_threads: int

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of the items: a run of neighbours; every item goes to exactly one process."""

    def sum(self, value: Any) -> Any:
        """The sum of every process's value, on all of them: numbers and arrays, and those in tuples, dicts, dataclasses.

        Use the result, and not the value again: of its arrays the large ones may have become the sum, the others have not.
        """

    def gather(self, rows: Sequence[Item]) -> list[Item]:
        """The rows of all processes in the order of the shared items, on all of them."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """function(item) for every item, each computed on one process, in order, on all of them.

        One item is computed by rank 0.
        """

    def stop(self, exit_code: int) -> None:
        """End all processes, whatever they do: one of them cannot go on."""


@dataclass(frozen=True)
class LocalComm:
    """One process: each verb is the identity."""

    rank: int = 0
    size: int = 1
    node_rank: int = 0
    node_size: int = 1
    n_threads: int = 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        return items

    def sum(self, value: Any) -> Any:
        return value

    def gather(self, rows: Sequence[Item]) -> list[Item]:
        return list(rows)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return [function(item) for item in items]

    def stop(self, exit_code: int) -> None:
        pass


def usable_cores() -> frozenset[int]:
    """Cores that this process may use; a launcher may have bound it to some."""
    known = hasattr(os, "sched_getaffinity")
    return frozenset(os.sched_getaffinity(0) if known else range(os.cpu_count() or 1))


def fair_share(mine: frozenset[int], of_node: Sequence[frozenset[int]]) -> int:
    """Threads of a process: its cores divided by the processes of its machine that may use some of them too."""
    return max(1, len(mine) // max(1, sum(bool(mine & other) for other in of_node)))


def launched_size(environment=os.environ) -> tuple[int, int, str]:
    """Number of processes that a launcher has started, which of them this is, and the MPI library it needs; (1, 0, "") alone."""
    for size, rank, library in LAUNCHERS:  # the innermost first: mpirun may itself have been started by srun
        if environment.get(size, "").isdigit():
            return int(environment[size]), int(environment.get(rank) or 0), library
    return 1, 0, ""


def launched() -> Comm:
    """The processes that mpirun, mpiexec or srun has started with this one, or this one alone.

    Raises  InputError: several were started, but MPI cannot be used or does not join them. Rank 0 raises it; the others
    leave in silence, as they have nothing to add.
    """
    size, rank, _ = launched_size()
    if size == 1:
        return LocalComm()
    try:
        from vitreous.comm_mpi import MPI, MpiComm, library_name
    except (ImportError, RuntimeError) as error:
        why = f"one of {size} processes was started by a launcher of MPI, but mpi4py cannot be used"
        raise _refusal(rank, f"{why} ({error}), expected it to join them; pip install 'vitreous[mpi]'") from None
    if MPI.COMM_WORLD.size != size:
        found = f"the launcher started {size} processes, but {library_name()} sees {MPI.COMM_WORLD.size}"
        todo = "start them with the mpirun of that library, or srun --mpi=pmix or pmi2; vitreous doctor names both"
        raise _refusal(rank, f"{found}, expected the same number; {todo}")
    return MpiComm()


def _refusal(rank: int, text: str) -> BaseException:
    if rank == 0:
        return InputError(f"MPI: {text}")
    time.sleep(GRACE_S)
    return SystemExit(2)
