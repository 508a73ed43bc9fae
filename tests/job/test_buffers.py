import numpy as np

from vitreous.job.buffers import Buffers


def test_buffers_use_memory_again():
    buffers = Buffers()
    first = buffers.take((2, 30, 40))
    buffers.give_back(first)
    smaller = buffers.take((1, 30, 30))
    assert np.shares_memory(first, smaller) and smaller.dtype == np.float32 and smaller.shape == (1, 30, 30)
    assert not np.shares_memory(buffers.take((1, 10, 10)), smaller)  # in use


def test_buffers_let_go_of_what_is_too_small():
    buffers = Buffers()
    buffers.give_back(buffers.take((10,)))
    buffers.give_back(buffers.take((20,)))
    assert len(buffers._free) == 1


def test_buffers_ignore_foreign_arrays():
    buffers = Buffers()
    buffers.give_back(np.zeros((3, 4), np.float32))
    buffers.give_back(np.zeros(8)[:4])
    assert not buffers._free
