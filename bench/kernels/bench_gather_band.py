"""Rate of gather_band in million coefficients a second."""

import numpy as np
import pytest
from scipy import fft

from vitreous.kernels_image import gather_band
from vitreous.model.band import Band


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_gather_band(benchmark, be, box):
    band, n_i = Band(box, box / 2), 2**20 // box**2 * 4
    ft = fft.rfft2(np.random.default_rng(1).normal(size=(n_i, box, box)).astype(np.float32))
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    shift = np.full((n_i, 2), 0.3, np.float32)
    out = be.empty((n_i, 2, len(band)), np.float32)
    benchmark(lambda: (gather_band(be, ft, band.index, kx, ky, shift, box, out=out), be.sync()))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * n_i * len(band) / benchmark.stats["min"]
    assert np.isfinite(be.to_host(out)).all()
