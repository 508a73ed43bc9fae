"""Rate of coloured_noise in million coefficients (two normal numbers each) a second."""

import numpy as np
import pytest
from scipy import fft

from vitreous.kernels_image import coloured_noise


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_coloured_noise(benchmark, be, box):
    n_i = 2**20 // box**2 * 4
    ky = fft.fftfreq(box, 1 / box)
    shell_of = np.rint(np.hypot(ky[:, None], np.arange(box // 2 + 1))).astype(np.int32)
    sigma, ids = np.ones(box // 2 + 1, np.float32), np.arange(n_i, dtype=np.uint64)
    out = be.empty((n_i, box, box // 2 + 1), np.complex64)
    benchmark(lambda: (coloured_noise(be, 1, ids, sigma, shell_of, box, out=out), be.sync()))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * out.size / benchmark.stats["min"]
    assert np.isfinite(be.to_host(out)).all()
