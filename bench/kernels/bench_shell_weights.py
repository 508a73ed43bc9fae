"""Memory rate of shell_weights."""

import numpy as np
import pytest

from vitreous.kernels_volume import shell_weights


@pytest.mark.parametrize("radius", [32, 64, 128])
def bench_shell_weights(benchmark, be, radius):
    n = radius + 2
    sums = np.random.default_rng(0).uniform(size=(2 * n + 1, 2 * n + 1, n + 1, 3)).astype(np.float32)
    total, count, _ = benchmark(lambda: shell_weights(be, sums, float(radius), 2.0, radius + 1))
    benchmark.extra_info["GB/s"] = 1e-9 * 12 * (2 / 3 * np.pi * radius**3) / benchmark.stats["min"]
    assert np.isfinite(total).all() and count.all()
