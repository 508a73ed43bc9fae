"""Rate of thin_peaks in peaks per second, for the local maxima of a micrograph's map."""

import numpy as np
import pytest

from test_thin_peaks import case
from vitreous.kernels_pick import thin_peaks


@pytest.mark.parametrize("n", [1000, 10_000, 100_000])
def bench_thin_peaks(benchmark, be, n):
    points, fom = case(n, side=4 * np.sqrt(n))  # a maximum in every 16 pixels, as in noise
    kept = benchmark(lambda: thin_peaks(be, points, fom, 20.0, 28.0))
    benchmark.extra_info["peaks/s"] = n / benchmark.stats["min"]
    assert kept.any()
