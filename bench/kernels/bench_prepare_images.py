"""Rate of prepare_images in images a second and GB/s of its three arrays."""

import numpy as np
import pytest

from vitreous.kernels_image import prepare_images
from vitreous.model.masks import soft_circle


@pytest.mark.parametrize("box", [64, 128, 256])
def bench_prepare_images(benchmark, be, box):
    n_i = 2**20 // box**2 * 4
    images = np.random.default_rng(1).normal(size=(n_i, box, box)).astype(np.float32)
    gain, shift = np.ones(n_i, np.float32), np.full((n_i, 2), 2, np.int32)
    mask = soft_circle(box, box * 0.4)
    out = tuple(be.empty(images.shape, np.float32) for _ in range(2))
    benchmark(lambda: (prepare_images(be, images, gain, shift, mask, out=out), be.sync()))
    benchmark.extra_info["image/s"] = n_i / benchmark.stats["min"]
    benchmark.extra_info["GB/s"] = 3e-9 * images.nbytes / benchmark.stats["min"]
    assert np.isfinite(be.to_host(out[1])).all()
