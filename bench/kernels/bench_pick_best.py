"""Rate of pick_best in GFLOP/s of its product, for the templates of a few references at 5 degrees on one map's rows."""

import numpy as np
import pytest

from test_pick_best import case
from vitreous.kernels_pick import pick_best


@pytest.mark.parametrize("n_ref", [1, 4, 10])
def bench_pick_best(benchmark, be, n_ref):
    basis, coefficients, start = case(n_basis=36 * n_ref // 2, n_px=390 * 390, counts=(72,) * n_ref)
    out = be.empty((n_ref, 390 * 390), np.float32), be.empty((n_ref, 390 * 390), np.int32)
    benchmark(lambda: pick_best(be, basis, coefficients, start, None, *out))
    benchmark.extra_info["GFLOP/s"] = 2e-9 * coefficients.size * basis.shape[1] / benchmark.stats["min"]
    assert np.isfinite(out[0]).all()
