import numpy as np

from vitreous.comm import Comm, LocalComm


def test_local_comm_is_the_identity_of_each_verb():
    comm: Comm = LocalComm()
    total = np.arange(3.0)
    assert (comm.rank, comm.size) == (0, 1)
    assert list(comm.share(range(4))) == [0, 1, 2, 3]
    assert comm.sum(total) is total
    assert comm.gather([1, 2]) == [1, 2]
    assert comm.map(lambda x: x * x, range(3)) == [0, 1, 4]


def test_local_comm_shares_lazily():
    def batches():
        yield 1
        raise AssertionError("the second batch was read before it was asked for")

    assert next(LocalComm().share(batches())) == 1
