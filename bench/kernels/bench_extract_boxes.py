"""Rate of extract_boxes with rescaling by 4, in particles a second and GFLOP/s of its products."""

import numpy as np
import pytest

from vitreous.engine.extract import shrink_tables
from vitreous.kernels_extract import extract_boxes


@pytest.mark.parametrize("box", [128, 256, 512])
def bench_extract_boxes(benchmark, be, box):
    rng = np.random.default_rng(1)
    micrograph = rng.normal(100, 10, (2048, 2048)).astype(np.float32)
    n, side = 2**22 // box**2, box // 4
    centre = rng.integers(box // 2, 2048 - box // 2, (n, 2))
    tables = shrink_tables(box, side)
    out = be.empty((n, side, side), np.float32)
    benchmark(lambda: (extract_boxes(be, micrograph, centre, box, tables, offset=100, out=out), be.sync()))
    benchmark.extra_info["particle/s"] = n / benchmark.stats["min"]
    benchmark.extra_info["GFLOP/s"] = 2e-9 * n * (box * box * side + box * side * side) / benchmark.stats["min"]
    assert np.isfinite(out).all()
