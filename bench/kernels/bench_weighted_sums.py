"""Rate of the weighted sums: kept points and poses a second, for few and for many of them per image."""

import numpy as np
import pytest
from expectation_bench import posterior_case

from vitreous.kernels import weighted_sums


@pytest.mark.parametrize("posterior", ["sharp", "flat"])
@pytest.mark.parametrize("n_k", [227, 454, 1608])
def bench_weighted_sums(benchmark, be, n_k, posterior):
    n_img = 192 * be.n_threads
    case, found = posterior_case(be, n_img, n_k, posterior)
    shell = np.sort(np.random.default_rng(0).integers(0, 20, n_k)).astype(np.int32)
    data, weight = np.zeros_like(case["bank"]), np.zeros_like(case["bank"][:, 0])
    shifts, scale_shells = np.zeros((len(case["phases"]), 2), np.float32), np.ones((20, 20), np.uint8)
    benchmark(lambda: weighted_sums(
        be, case["bank"], case["row_class"], case["images"], case["images"], case["ctf"], case["half_inv_var"], case["phases"],
        shifts, shell, scale_shells, found, premultiplied=False, data=data, weight=weight))
    benchmark.extra_info |= {
        "Mpoint/s": 1e-6 * len(found[1]) / benchmark.stats["min"], "points per image": len(found[1]) / n_img,
        "us per image": 1e6 * benchmark.stats["min"] / n_img,
    }
    assert np.isfinite(data).all() and weight.any()
