"""The four verbs over MPI. Imported only where a launcher has started several processes; the only file that knows mpi4py."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import mpi4py
import numpy as np

from vitreous.comm import Item, Result, fair_share, launched_size, usable_cores

# Open MPI and MPICH may both be here, in this environment and in the system; mpi4py would take either.
if library := launched_size()[2]:
    own = os.path.join(sys.prefix, "lib", library)
    os.environ.setdefault("MPI4PY_LIBMPI", os.pathsep.join([own, library, ""]))
mpi4py.rc.thread_level = "funneled"  # reading ahead is a thread, but speaks with nobody
from mpi4py import MPI  # noqa: E402

CHUNK_BYTES = 64 << 20  # of one message: MPI counts in 32 bits, and a message is buffered again on its way
# Arrays of less than this travel together, as every message costs more than its bytes.
FEW_BYTES, ALIGNMENT = 1 << 20, 64
LONGEST_SLEEP_S = 0.005
FORWARDED_S = 0.3  # MPICH now and then drops what a process wrote just before it ended all: its last words need this long


class MpiComm:
    """The processes of a launcher of MPI, as a Comm."""

    def __init__(self) -> None:
        self._world = MPI.COMM_WORLD
        self.rank, self.size = self._world.rank, self._world.size
        node = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self.node_rank, self.node_size = node.rank, node.size
        self.n_threads = fair_share(usable_cores(), node.allgather(usable_cores()))
        node.Free()

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        n = len(items)
        return items[n * self.rank // self.size : n * (self.rank + 1) // self.size]

    def sum(self, value: Any) -> Any:
        self._meet()
        arrays = [np.asarray(leaf) for leaf in leaves(value)]
        mine = [(array.shape, array.dtype.str) for array in arrays]
        if (first := self._from(0, mine)) != mine:
            raise RuntimeError(
                f"sum: process 0 brings {first}, process {self.rank} {mine}, expected the same; is vitreous of one "
                "version on all machines? Go on with --continue"
            )
        few = [i for i, array in enumerate(arrays) if array.nbytes < FEW_BYTES and array.dtype.kind in "fiu"]
        together = self._add(np.concatenate([arrays[i].ravel() for i in few], dtype=float) if few else np.zeros(0))
        ends = np.cumsum([arrays[i].size for i in few])
        parts = {i: together[end - arrays[i].size : end] for i, end in zip(few, ends)}
        summed = [
            parts[i].reshape(array.shape).astype(array.dtype) if i in parts else self._add(array)
            for i, array in enumerate(arrays)
        ]
        return rebuilt(value, iter(summed))

    def gather(self, rows: Sequence[Item]) -> list[Item]:
        self._meet()
        return [row for rank in range(self.size) for row in self._from(rank, list(rows))]

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        items = list(items)
        mine = {i: function(item) for i, item in enumerate(items) if i % self.size == self.rank}
        self._meet()
        return [self._from(i % self.size, mine.get(i)) for i in range(len(items))]

    def stop(self, exit_code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(FORWARDED_S)
        self._world.Abort(exit_code)

    def _done(self, request: Any) -> None:
        """Wait for a message on its way, and let others have the core: blocking calls of MPI do not, nor see signals."""
        while not request.Test():
            os.sched_yield()

    def _meet(self) -> None:
        """Wait for all processes, asleep, as it may take long."""
        request, pause_s = self._world.Ibarrier(), 0.0
        while not request.Test():
            time.sleep(pause_s)
            pause_s = min(2 * pause_s + 1e-5, LONGEST_SLEEP_S)

    def _add(self, array: np.ndarray) -> np.ndarray:
        """The sum of an array, in place where that can be; to one process and from there to all: the same bits everywhere."""
        if not (array.flags.c_contiguous and array.flags.writeable):
            array = array.copy(order="C")
        for part in chunks(array.reshape(-1)):
            sent, received = (MPI.IN_PLACE, part) if self.rank == 0 else (part, None)
            self._done(self._world.Ireduce(sent, received))
            self._done(self._world.Ibcast(part))
        return array

    def _from(self, rank: int, value: Any) -> Any:
        """The value of one process, on all of them; large arrays travel as they lie in memory, in chunks."""
        buffers: list[Any] = []
        if self.rank == rank:
            kept: list[pickle.PickleBuffer] = []
            text = pickle.dumps(value, protocol=5, buffer_callback=kept.append)
            buffers = [np.frombuffer(b, np.uint8) for b in (text, *(k.raw() for k in kept))]
        sizes = np.array([b.nbytes for b in buffers])
        n_sizes = np.array(len(sizes))
        self._done(self._world.Ibcast(n_sizes, rank))
        sizes = sizes if self.rank == rank else np.empty(n_sizes, np.int64)
        self._done(self._world.Ibcast(sizes, rank))
        padded = [-(-n // ALIGNMENT) * ALIGNMENT if n < FEW_BYTES else 0 for n in sizes]
        starts = np.cumsum(padded) - padded
        together = np.zeros(sum(padded), np.uint8)
        places = [together[start : start + n] if n < FEW_BYTES else None for start, n in zip(starts, sizes)]
        if self.rank == rank:
            for place, buffer in zip(places, buffers):
                if place is not None:
                    place[:] = buffer
        else:
            buffers = [np.empty(n, np.uint8) if place is None else place for place, n in zip(places, sizes)]
        for message in (together, *(b for b in buffers if b.nbytes >= FEW_BYTES)):
            for part in chunks(message):
                self._done(self._world.Ibcast(part, rank))
        return value if self.rank == rank else pickle.loads(buffers[0], buffers=buffers[1:])


def chunks(flat: np.ndarray) -> list[np.ndarray]:
    """A vector in pieces of CHUNK_BYTES."""
    step = CHUNK_BYTES // flat.itemsize
    return [flat[i : i + step] for i in range(0, flat.size, step)]


def leaves(value: Any) -> Iterator[Any]:
    """The numbers and arrays in a value, all of which can be summed; TypeError where there is something else."""
    expected = "expected numbers, arrays of numbers, or tuples, dicts, dataclasses of them"
    if isinstance(value, (np.ndarray, np.generic, int, float, complex)):
        if (dtype := np.asarray(value).dtype).kind not in "fiuc":
            raise TypeError(f"sum: found {dtype} in a {type(value).__name__}, {expected}; bools count once made integers")
        yield value
    elif isinstance(value, dict):
        for key in value:
            yield from leaves(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
    else:
        raise TypeError(f"sum: found a {type(value).__name__}, {expected}")


def rebuilt(value: Any, summed: Iterator[np.ndarray]) -> Any:
    """The value with other numbers and arrays, in the order of ``leaves``."""
    if isinstance(value, dict):
        return {key: rebuilt(item, summed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([rebuilt(item, summed) for item in value])
    if is_dataclass(value):
        return replace(value, **{f.name: rebuilt(getattr(value, f.name), summed) for f in fields(value)})
    return next(summed) if isinstance(value, np.ndarray) else next(summed).item()


def library_name() -> str:
    """Name and version of the MPI library, e.g. Open MPI v4.1.4."""
    return " ".join(MPI.Get_library_version().replace("\0", "").split("\n")[0].split(",")[0].split())
