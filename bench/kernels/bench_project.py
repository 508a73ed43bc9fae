"""Rate of project in million interpolated coefficients a second, and the memory rate that this means."""

import numpy as np
import pytest

from test_project import case
from vitreous.kernels import project

BYTES = 4 * 8 + 8  # four complex neighbours read, one coefficient written


@pytest.mark.parametrize("radius", [16, 32, 64])
def bench_project(benchmark, be, radius):
    reference, _, matrix, kx, ky, reach = case(n_class=20, n_row=1200, radius=2.0 * radius, band_radius=radius, box=2 * radius)
    class_of = np.repeat(np.arange(20, dtype=np.int32), 60)
    out = be.empty((1200, 2, len(kx)), np.float32)
    benchmark(lambda: project(be, reference, class_of, matrix, kx, ky, reach, out))
    rate = 1200 * len(kx) / benchmark.stats["min"]
    benchmark.extra_info["Mvalue/s"], benchmark.extra_info["GB/s"] = 1e-6 * rate, 1e-9 * rate * BYTES
    assert np.isfinite(out).all()
