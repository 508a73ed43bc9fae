"""MRC: a stack streamed out and read back in batches, as a class2d run reads its particles."""

import numpy as np
import pytest

from vitreous.io.images import ImageSource
from vitreous.io.mrc import StackReader, StackWriter

N_BYTES = 200e6


def write(path, n, box, dtype=np.float32):
    images = np.random.default_rng(1).normal(size=(min(n, 256), box, box)).astype(np.float32)
    with StackWriter(path, n, box, 1.0, dtype) as writer:
        for begin in range(0, n, len(images)):
            writer.write(images[: n - begin])


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_stack_writer(benchmark, tmp_path, box):
    n = int(N_BYTES / (4 * box * box))
    benchmark.pedantic(lambda: write(tmp_path / "a.mrcs", n, box), rounds=2)
    benchmark.extra_info["MB/s"] = N_BYTES / 1e6 / benchmark.stats["min"]
    with StackReader(tmp_path / "a.mrcs") as reader:
        assert reader.n_readable == n


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("box", [64, 128, 256])
def bench_image_source(benchmark, tmp_path, box, dtype):
    n = int(N_BYTES / (4 * box * box))
    write(tmp_path / "a.mrcs", n, box, dtype)
    images = ImageSource(np.zeros(n), np.arange(1, n + 1), ["a.mrcs"], tmp_path)
    batches = [np.arange(i, min(i + 500, n)) for i in range(0, n, 500)]

    def read_all():
        return sum(len(bad) for _, _, bad in images.prefetch(batches))

    assert benchmark.pedantic(read_all, rounds=3) == 0
    benchmark.extra_info["images/s"] = n / benchmark.stats["min"]
    benchmark.extra_info["MB/s"] = N_BYTES / 1e6 / benchmark.stats["min"]


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_image_source_shuffled(benchmark, tmp_path, box):
    """The same images in random order, as subsets of the fast schedule are."""
    n = int(N_BYTES / (4 * box * box))
    write(tmp_path / "a.mrcs", n, box)
    images = ImageSource(np.zeros(n), np.arange(1, n + 1), ["a.mrcs"], tmp_path)
    order = np.random.default_rng(1).permutation(n)
    batches = [order[i : i + 500] for i in range(0, n, 500)]
    assert benchmark.pedantic(lambda: sum(len(bad) for _, _, bad in images.prefetch(batches)), rounds=3) == 0
    benchmark.extra_info["images/s"] = n / benchmark.stats["min"]
