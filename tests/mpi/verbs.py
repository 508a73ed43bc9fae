"""What every process of test_mpi_verbs.py runs: the four verbs, against what they must give."""

from dataclasses import dataclass

import numpy as np

from vitreous import comm_mpi
from vitreous.comm import launched


@dataclass
class Sums:
    small: np.ndarray
    large: np.ndarray
    n: int
    x: float
    by_name: dict
    pair: tuple


comm = launched()
comm_mpi.CHUNK_BYTES = 1 << 16  # so that arrays of a megabyte take many messages
size, rank = comm.size, comm.rank
assert 0 <= comm.node_rank < comm.node_size == size and comm.n_threads >= 1

for n in (0, 1, 7, 100):
    mine = comm.share(np.arange(n))
    assert len(mine) in (n // size, -(-n // size))
    assert comm.gather(list(mine)) == list(range(n))

large = np.arange(200_000.0)
mine = Sums(
    np.full((2, 3), rank, np.float32), large.copy(), rank + 1, 0.5, {"k": np.array([1, 2])}, (np.ones(2) * 1j, large[::2])
)
total = comm.sum(mine)
assert total.small.dtype == np.float32 and (total.small == size * (size - 1) / 2).all()
assert (total.large == size * large).all() and (total.pair[1] == size * large[::2]).all()
assert (type(total.n), total.n, total.x) == (int, size * (size + 1) // 2, 0.5 * size)
assert total.by_name["k"].tolist() == [size, 2 * size] and total.by_name["k"].dtype.kind == "i"
assert (total.pair[0] == 1j * size).all()

# What has no sum is refused: MPI's of bools would be another bool.
for wrong in (True, np.bool_(True), np.ones(3, bool), {"k": (1, np.zeros(2, bool))}, np.array(["a"]), "a"):
    try:
        comm.sum(wrong)
    except TypeError as error:
        assert "sum: found " in str(error) and ", expected numbers" in str(error), error
    else:
        raise AssertionError(f"the sum of {wrong!r} was not refused")

# Sums whose order matters, to the bit the same everywhere.
uneven = comm.sum(np.random.default_rng(rank).normal(size=300_000).astype(np.float32))
assert len(set(comm.gather([uneven.tobytes()]))) == 1

squares = comm.map(lambda i: {"i": i, "by": rank, "square": np.full(150_001, i * i), "text": "x" * 2_000_000}, range(5))
assert [s["i"] for s in squares] == list(range(5)) and [s["by"] for s in squares] == [i % size for i in range(5)]
for i, s in enumerate(squares):
    assert (s["square"] == i * i).all() and s["square"].flags.writeable and len(s["text"]) == 2_000_000
assert comm.map(lambda _: rank, [0]) == [0]

print(f"ok {rank}", flush=True)
