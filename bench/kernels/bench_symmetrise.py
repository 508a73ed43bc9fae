"""Rate of symmetrise in million interpolated samples a second, for the seven-fold axis of D7."""

import numpy as np
import pytest

from vitreous.kernels_volume import symmetrise
from vitreous.model.rotation import euler_to_matrix


@pytest.mark.parametrize("radius", [32, 64, 128])
def bench_symmetrise(benchmark, be, radius):
    n = radius + 2
    sums = np.random.default_rng(0).normal(size=(2 * n + 1, 2 * n + 1, n + 1, 3)).astype(np.float32)
    operators = euler_to_matrix(np.array([[0, 0, 360 / 7 * i] for i in range(7)])).astype(np.float32)
    out = np.empty_like(sums)
    benchmark(lambda: symmetrise(be, sums, operators, float(radius), out))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * 7 * (2 / 3 * np.pi * radius**3) / benchmark.stats["min"]
    assert np.isfinite(out).all()
