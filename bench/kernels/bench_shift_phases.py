"""Rate of shift_phases in million phase factors a second."""

import numpy as np
import pytest

from vitreous.kernels import shift_phases
from vitreous.model.band import Band


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_shift_phases(benchmark, be, box):
    band = Band(box, box / 2)
    kx, ky = (be.to_device(k.astype(np.float32)) for k in (band.kx, band.ky))
    shifts = be.to_device(np.random.default_rng(0).uniform(-5, 5, (84, 2)).astype(np.float32))
    out = be.empty((84, 2, len(band)), np.float32)
    benchmark(lambda: (shift_phases(be, kx, ky, shifts, box, out), be.sync()))
    benchmark.extra_info["Mphase/s"] = 84e-6 * len(band) / benchmark.stats["min"]
    assert np.isfinite(be.to_host(out)).all()
