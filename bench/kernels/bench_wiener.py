"""Memory rate of wiener."""

import numpy as np
import pytest

from vitreous.kernels_volume import wiener


@pytest.mark.parametrize("radius", [32, 64, 128])
def bench_wiener(benchmark, be, radius):
    n = radius + 2
    sums = np.random.default_rng(0).uniform(size=(2 * n + 1, 2 * n + 1, n + 1, 3)).astype(np.float32)
    bins = np.ones(radius + 1, np.float32)
    out = np.empty(sums.shape[:3], np.complex64)
    benchmark(lambda: wiener(be, sums, bins, bins, float(radius), 2.0, 1.0, out))
    benchmark.extra_info["GB/s"] = 1e-9 * 20 * (2 / 3 * np.pi * radius**3) / benchmark.stats["min"]
    assert np.isfinite(out).all() and out.any()
