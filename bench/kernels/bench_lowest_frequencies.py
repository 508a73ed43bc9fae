"""Rate of lowest_frequencies in GFLOP/s, 2.5 n log2 n for each row, and in GB/s of the image, for micrographs' sizes."""

import numpy as np
import pytest

from vitreous.kernels_pick import lowest_frequencies


@pytest.mark.parametrize("n", [1024, 3840, 4096])
def bench_lowest_frequencies(benchmark, be, n):
    image = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32)
    around = np.zeros(0, np.float32)
    kept = n // 10 * 2 // 2
    out = benchmark(lambda: lowest_frequencies(be, image, around, (0, 0), n, kept))
    flop = 2.5 * n * np.log2(n) * n + 5 * n * np.log2(n) * (kept // 2 + 1)
    benchmark.extra_info["GFLOP/s"] = 1e-9 * flop / benchmark.stats["min"]
    benchmark.extra_info["GB/s"] = 1e-9 * image.nbytes / benchmark.stats["min"]
    assert np.isfinite(out).all()
