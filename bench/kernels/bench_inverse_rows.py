"""Rate of inverse_rows in GFLOP/s, 2.5 n^2 log2 n for each map, for the maps of blobs and of a bank of templates."""

import numpy as np
import pytest

from test_inverse_rows import case
from vitreous.kernels_pick import inverse_rows


@pytest.mark.parametrize(("n", "m"), [(128, 11), (408, 11), (408, 200)])
def bench_inverse_rows(benchmark, be, n, m):
    half = case(n, n // 2 + 1, m)
    out = be.empty((m, n, n), np.float32)
    benchmark(lambda: inverse_rows(be, half, n // 2 + 1, n, out=out))
    benchmark.extra_info["GFLOP/s"] = 2.5e-9 * m * n**2 * np.log2(n) / benchmark.stats["min"]
    assert np.isfinite(out).all()
