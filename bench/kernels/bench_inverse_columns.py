"""Rate of inverse_columns in GFLOP/s, 2.5 n^2 log2 n for each map, for the maps of blobs and of a bank of templates."""

import numpy as np
import pytest

from test_inverse_columns import case
from vitreous.kernels_pick import inverse_columns


@pytest.mark.parametrize(("n", "m"), [(128, 11), (408, 11), (408, 200)])
def bench_inverse_columns(benchmark, be, n, m):
    ft, gain = case(n, m)
    out = inverse_columns(be, ft, gain, n, m // 2)
    benchmark(lambda: inverse_columns(be, ft, gain, n, m // 2, out))
    benchmark.extra_info["GFLOP/s"] = 2.5e-9 * m * n**2 * np.log2(n) / benchmark.stats["min"]
    assert np.isfinite(out).all()
