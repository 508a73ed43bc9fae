"""Rate of backproject3d in million inserted coefficients a second, and the memory rate that this means."""

import numpy as np
import pytest

from vitreous.kernels_volume import backproject3d
from volume_case import case

BYTES = 8 * 2 * 12 + 12  # eight neighbours of three numbers read and written, one coefficient and its weight read


@pytest.mark.parametrize("radius", [16, 32, 64])
def bench_backproject3d(benchmark, be, radius):
    volume, class_of, matrix, kx, ky, reach = case(
        n_vol=1, n_row=400, radius=2.0 * radius, band_radius=radius, box=2 * radius
    )
    rows, weights = np.ones((400, 2, len(kx)), np.float32), np.ones((400, len(kx)), np.float32)
    sums = np.zeros((*volume.shape, 3), np.float32)
    benchmark(lambda: backproject3d(be, rows, weights, class_of, matrix, kx, ky, reach, sums))
    rate = 400 * len(kx) / benchmark.stats["min"]
    benchmark.extra_info["Mvalue/s"], benchmark.extra_info["GB/s"] = 1e-6 * rate, 1e-9 * rate * BYTES
    assert np.isfinite(sums).all() and sums[..., 2].any()
