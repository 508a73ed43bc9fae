"""Rate of backproject in million inserted coefficients a second."""

import numpy as np
import pytest

from test_project import case
from vitreous.kernels import backproject


@pytest.mark.parametrize("radius", [16, 32, 64])
def bench_backproject(benchmark, be, radius):
    reference, _, matrix, kx, ky, reach = case(n_class=20, n_row=1200, radius=2.0 * radius, band_radius=radius, box=2 * radius)
    class_of = np.repeat(np.arange(20, dtype=np.int32), 60)
    rows, weights = np.ones((1200, 2, len(kx)), np.float32), np.ones((1200, len(kx)), np.float32)
    data, weight = np.zeros((*reference.shape, 2)), np.zeros(reference.shape)
    benchmark(lambda: backproject(be, rows, weights, class_of, matrix, kx, ky, reach, data, weight))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * 1200 * len(kx) / benchmark.stats["min"]
    assert np.isfinite(data).all() and weight.any()
