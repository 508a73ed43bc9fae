"""Rate of shell_power in million coefficients a second."""

import numpy as np
import pytest
from scipy import fft

from vitreous.kernels_image import shell_power


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_shell_power(benchmark, be, box):
    n_i = 2**20 // box**2 * 4
    ft = fft.rfft2(np.random.default_rng(1).normal(size=(n_i, box, box)).astype(np.float32))
    ky = fft.fftfreq(box, 1 / box)
    shell_of = np.rint(np.hypot(ky[:, None], np.arange(box // 2 + 1))).astype(np.int32)
    out = be.empty((n_i, box // 2 + 1), np.float64)
    benchmark(lambda: (shell_power(be, ft, shell_of, box // 2 + 1, out=out), be.sync()))
    benchmark.extra_info["Mvalue/s"] = 1e-6 * ft.size / benchmark.stats["min"]
    assert (be.to_host(out) > 0).all()
