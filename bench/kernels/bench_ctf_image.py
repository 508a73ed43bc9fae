"""Rate of ctf_image in million CTF values a second; a value costs about 40 floating-point operations."""

import numpy as np
import pytest

from vitreous.kernels_image import ctf_image
from vitreous.model.band import Band


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_ctf_image(benchmark, be, box):
    band, n_i = Band(box, box / 2), 256
    fx, fy = band.kx / (3.0 * box), band.ky / (3.0 * box)
    parameters = np.tile([2e4, 1.9e4, 30, 300, 2.7, 0.1, 0, 0, 1], (n_i, 1))
    parameters[:, 0] += np.arange(n_i)
    out = be.empty((n_i, len(band)), np.float32)
    benchmark(lambda: (ctf_image(be, fx, fy, parameters, out=out), be.sync()))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * out.size / benchmark.stats["min"]
    assert np.isfinite(be.to_host(out)).all()
