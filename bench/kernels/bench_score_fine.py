"""Rate of the fine pass: scored points a second and GFLOP/s, for few and for many significant samples per image."""

import pytest
from expectation_bench import fine_case, peak_gflops

from vitreous.kernels import score_fine


@pytest.mark.parametrize("posterior", ["sharp", "flat"])
@pytest.mark.parametrize("n_k", [227, 454, 1608])
def bench_score_fine(benchmark, be, n_k, posterior):
    n_img = 192 * be.n_threads
    case, rest = fine_case(be, n_img, n_k, posterior)
    out = benchmark(lambda: score_fine(be, **case, **rest))
    points = len(rest["samples"][1]) * 8
    gflops = 4e-9 * points * n_k / benchmark.stats["min"]
    benchmark.extra_info |= {
        "Mpoint/s": 1e-6 * points / benchmark.stats["min"], "GFLOP/s": gflops, "share of peak": gflops / peak_gflops(be.n_threads),
        "points per image": points / n_img, "us per image": 1e6 * benchmark.stats["min"] / n_img,
    }
    assert (out[4] >= 0).all()
