"""STAR reading and writing: a particle table of 26 columns as refinement writes it after every iteration."""

import numpy as np
import pytest

from vitreous.io.star import Block, read_star, write_star


def particle_table(n: int, seed: int = 1) -> Block:
    """26 columns of the usual kinds: names, integers, small and large numbers."""
    rng = np.random.default_rng(seed)
    block = Block("particles")
    names = [f"Movies/20170629_{i // 300:05d}_frameImage.mrc" for i in range(n)]
    block["rlnImageName"] = [f"{i % 300 + 1:06d}@Extract/job009/{name}s" for i, name in enumerate(names)]
    block["rlnMicrographName"] = [f"MotionCorr/job002/{name}" for name in names]
    block["rlnGroupName"] = [f"group_{i // 3000:04d}" for i in range(n)]
    for label in ("rlnOpticsGroup", "rlnClassNumber", "rlnGroupNumber", "rlnRandomSubset", "rlnNrOfSignificantSamples"):
        block[label] = rng.integers(1, 200, n)
    for label in ("rlnCoordinateX", "rlnCoordinateY", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnAngleRot",
                  "rlnAngleTilt", "rlnCtfMaxResolution", "rlnLogLikeliContribution"):
        block[label] = rng.uniform(0, 20000, n)
    block["rlnLogLikeliContribution"] = rng.uniform(1e5, 5e5, n)
    for label in ("rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnCtfBfactor", "rlnPhaseShift"):
        block[label] = rng.normal(0, 10, n)
    for label in ("rlnCtfFigureOfMerit", "rlnCtfScalefactor", "rlnNormCorrection", "rlnMaxValueProbDistribution"):
        block[label] = rng.uniform(0, 1, n)
    assert len(block.columns) == 26
    return block


@pytest.mark.parametrize("n", [10_000, 100_000, 1_000_000])
def bench_write_star(benchmark, tmp_path, n):
    table = particle_table(n)
    benchmark.pedantic(lambda: write_star(tmp_path / "a.star", [table]), rounds=2 if n > 100_000 else 3)
    benchmark.extra_info["rows/s"] = n / benchmark.stats["min"]
    benchmark.extra_info["MB/s"] = (tmp_path / "a.star").stat().st_size / 1e6 / benchmark.stats["min"]


@pytest.mark.parametrize("n", [10_000, 100_000, 1_000_000])
def bench_read_star(benchmark, tmp_path, n):
    table = particle_table(n)
    write_star(tmp_path / "a.star", [table])
    file = benchmark.pedantic(lambda: read_star(tmp_path / "a.star"), rounds=2 if n > 100_000 else 3)
    benchmark.extra_info["rows/s"] = n / benchmark.stats["min"]
    assert file["particles"].n_rows == n
    assert file["particles"]["rlnImageName"][-1] == table["rlnImageName"][-1]
    np.testing.assert_allclose(file["particles"]["rlnDefocusU"], table["rlnDefocusU"], atol=6e-7)
