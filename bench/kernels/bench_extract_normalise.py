"""Rate of extract_normalise in images a second and GB/s of the images, read and written once."""

import numpy as np
import pytest

from vitreous.engine.extract import outside_circle
from vitreous.kernels_extract import extract_normalise


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_extract_normalise(benchmark, be, box):
    n = 2**22 // box**2
    images = np.random.default_rng(1).normal(size=(n, box, box)).astype(np.float32)
    background = outside_circle(box, 0.375 * box)
    benchmark(lambda: (extract_normalise(be, images, background), be.sync()))
    benchmark.extra_info["image/s"] = n / benchmark.stats["min"]
    benchmark.extra_info["GB/s"] = 2e-9 * images.nbytes / benchmark.stats["min"]
    assert np.isfinite(images).all()
