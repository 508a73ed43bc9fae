"""Memory of a run: bounded whatever the number of particles, and as predicted before the start."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star

NO_REPORT = "import vitreous.programs.class2d as program\nprogram.write_report = lambda *_: None\n"
MB = 1 << 20
N, BOX = 8000, 48


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Function n -> particle file of n images of noise, from one stack of N."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(1)
    write_mrc(folder / "noise.mrcs", rng.standard_normal((N, BOX, BOX), np.float32), 4.0, stack=True)
    optics = {
        "rlnOpticsGroupName": ["one"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [4.0], "rlnImageSize": [BOX], "rlnImageDimensionality": [2],
    }  # fmt: skip

    def table(n):
        particles = {
            "rlnImageName": [f"{i + 1:06d}@{folder / 'noise.mrcs'}" for i in range(n)],
            "rlnMicrographName": [f"m{i // 100}.mrc" for i in range(n)],
            "rlnOpticsGroup": np.ones(n, int), "rlnDefocusU": np.full(n, 15000.0),
        }  # fmt: skip
        blocks = {"optics": {label: np.array(column) for label, column in optics.items()}, "particles": particles}
        write_star(folder / f"{n}.star", blocks)
        return str(folder / f"{n}.star")

    return table


@pytest.fixture
def measure(case, command, events):
    """Function (file, root, **options) -> measured peak and predicted peak in bytes."""

    def run(file, root, **options):
        done = command(case.words(root, i=file, particle_diameter=150, verb=1, **options), code=NO_REPORT)
        assert done.returncode == 0, done.stderr
        assert " Memory at the peak:" in done.stdout
        log = events(root)
        predicted = next(e["total"] for e in log if e["event"] == "memory forecast")
        return log[-1]["peak_memory_bytes"], predicted

    return run


QUICK = {"K": 1, "iter": 1, "psi_step": 90, "offset_range": 1, "oversampling": 0}


def test_memory_does_not_grow_with_the_stack(noise, measure, tmp_path):
    few, _ = measure(noise(2000), tmp_path / "few" / "run", **QUICK)
    many, _ = measure(noise(N), tmp_path / "many" / "run", **QUICK)
    # Numbers and text of a row take below 2 kB, its image here 9 kB; 10 MB for the allocator's whims.
    assert many - few < (N - 2000) * 2048 + 10 * MB < (N - 2000) * BOX * BOX * 4


def test_preread_images_are_kept_and_predicted(noise, measure, tmp_path):
    files, predicted = measure(noise(N), tmp_path / "files" / "run", **QUICK)
    memory, with_images = measure(noise(N), tmp_path / "memory" / "run", preread_images=True, **QUICK)
    size = N * BOX * BOX * 4
    assert with_images - predicted == size
    assert memory - files > 0.8 * size


@pytest.mark.parametrize("options", [
    {"K": 10, "psi_step": 10, "offset_range": 4, "n": 300}, {"K": 40, "psi_step": 15, "offset_range": 3, "n": 400},
])  # fmt: skip
def test_forecast_holds_the_peak_and_is_not_far_above(noise, measure, tmp_path, options):
    # incr_size makes the first iteration use all shells, for which the forecast is; noise keeps nearly all poses.
    options = dict(options)
    peak, predicted = measure(noise(options.pop("n")), tmp_path / "run", iter=1, incr_size=BOX, **options)
    assert peak <= predicted <= 2 * peak, f"peak {peak / MB:.0f} MB, predicted {predicted / MB:.0f} MB"


def test_run_that_cannot_fit_is_refused_before_it_starts(case, command, noise, tmp_path):
    done = command(case.words(tmp_path / "run", i=noise(1000), K=2_000_000))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: memory: found ") and "available, expected" in last and "--K" in last


def test_peak_is_that_of_this_process(tmp_path):
    """A program started from a large process, a notebook say, does not report that one's memory as its own."""
    child = "from vitreous.job.memory import peak_bytes; print(peak_bytes())"
    parent = "import subprocess, sys\nx = bytearray(b'x') * (400 << 20)\n"
    parent += f"subprocess.run([sys.executable, '-c', {child!r}])"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200 * MB
