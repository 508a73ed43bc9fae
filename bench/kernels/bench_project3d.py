"""Rate of project3d in million interpolated coefficients a second, and the memory rate that this means."""

import numpy as np
import pytest

from vitreous.kernels_volume import project3d
from volume_case import case

BYTES = 8 * 8 + 8  # eight complex neighbours read, one coefficient written


@pytest.mark.parametrize("radius", [16, 32, 64])
def bench_project3d(benchmark, be, radius):
    volume, class_of, matrix, kx, ky, reach = case(
        n_vol=1, n_row=400, radius=2.0 * radius, band_radius=radius, box=2 * radius
    )
    out = be.empty((400, 2, len(kx)), np.float32)
    benchmark(lambda: project3d(be, volume, class_of, matrix, kx, ky, reach, out))
    rate = 400 * len(kx) / benchmark.stats["min"]
    benchmark.extra_info["Mvalue/s"], benchmark.extra_info["GB/s"] = 1e-6 * rate, 1e-9 * rate * BYTES
    assert np.isfinite(out).all()
