"""Rate of the coarse pass: image-pose-shift triples a second, GFLOP/s, and the share of the rate of large products.

Two rates: of the products that are done, and of what the scores would need without the use of the half turn (twice that).
"""

import pytest
from expectation_bench import N_PIXEL_3D, N_ROW_3D, N_SHIFT, coarse_case, peak_gflops

from vitreous.kernels import score_coarse


@pytest.mark.parametrize("posterior", ["sharp", "flat"])
@pytest.mark.parametrize("n_k", [227, 454, 1608])
def bench_score_coarse(benchmark, be, n_k, posterior):
    n_img = 192 * be.n_threads
    timed(benchmark, be, coarse_case(n_img, n_k, posterior), n_img, n_k)


@pytest.mark.parametrize("posterior", ["sharp", "flat"])
def bench_score_coarse_3d(benchmark, be, posterior):
    """A global search with one map: all orientations at 15 degrees."""
    n_img = 192 * be.n_threads
    timed(benchmark, be, coarse_case(n_img, N_PIXEL_3D, posterior, 1, N_ROW_3D), n_img, N_PIXEL_3D)


def timed(benchmark, be, case, n_img, n_k):
    """Time a case and state its rates."""
    start, *_ = benchmark(lambda: score_coarse(be, **case))
    products = n_img * N_SHIFT * len(case["bank"])
    gflops = 4e-9 * products * n_k / benchmark.stats["min"]
    benchmark.extra_info |= {
        "Mscore/s": 2e-6 * products / benchmark.stats["min"], "GFLOP/s": gflops, "GFLOP/s of plain scores": 2 * gflops,
        "share of peak": gflops / peak_gflops(be.n_threads), "significant": float(start[-1]) / n_img,
    }
    assert start[-1] >= n_img
