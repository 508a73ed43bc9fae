"""Small micrographs with particles at known places, a table of them, and references; for tests of picking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star

PIXEL_A, BOX, DIAMETER_A = 5.0, 32, 100.0
GRID = [(x, y) for x in range(35, 225, 45) for y in range(35, 225, 45)]


def reference(seed: int = 0) -> np.ndarray:
    """(BOX, BOX) float32 white particle of about DIAMETER_A on 0, with a circle of constant corners."""
    x = np.arange(BOX) - BOX // 2
    r = np.hypot(x[:, None], x)
    blob = 2 * gaussian_filter(np.random.default_rng(seed).normal(size=(BOX, BOX)), 2) + 0.4 * (r < 10)
    return np.where(r < 10, blob, 0).astype(np.float32) * 3


def truth(seed: int) -> list[tuple[float, float, float, int]]:
    """x, y, angle in degrees and reference of every particle of a micrograph."""
    rng = np.random.default_rng(seed)
    return [
        (x + rng.integers(-6, 7), y + rng.integers(-6, 7), float(rng.integers(4)) * 90, int(rng.integers(2)))
        for x, y in GRID
    ]


def micrograph(seed: int, shape=(256, 256), noise: float = 0.7) -> np.ndarray:
    """(ny, nx) float32 dark particles at ``truth(seed)``."""
    rng = np.random.default_rng([seed, 1])
    image = rng.normal(size=shape) * noise
    for x, y, angle, i in truth(seed):
        particle = np.rot90(reference(i)[1:, 1:], int(angle) // 90)
        y0, x0 = y - BOX // 2 + 1, x - BOX // 2 + 1
        image[y0 : y0 + BOX - 1, x0 : x0 + BOX - 1] -= particle
    return (image * 10 + 100).astype(np.float32)


def write_case(folder: Path, n: int = 3, shape=(256, 256)) -> Path:
    """mics.star, refs.mrcs and M/mic1.mrc ... in the folder; returns it."""
    (folder / "M").mkdir()
    for i in range(n):
        write_mrc(folder / f"M/mic{i + 1}.mrc", micrograph(i, shape), PIXEL_A, stack=False)
    write_mrc(folder / "refs.mrcs", np.stack([reference(0), reference(1)]), PIXEL_A, stack=True)
    write_table(folder / "mics.star", [f"M/mic{i + 1}.mrc" for i in range(n)])
    return folder


def write_table(path: Path, names: list[str], pixel_size_A: float = PIXEL_A) -> None:
    """A micrographs_ctf.star."""
    optics = {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["a"], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
              "rlnAmplitudeContrast": [0.1], "rlnMicrographPixelSize": [pixel_size_A]}  # fmt: skip
    n = len(names)
    table = {"rlnMicrographName": names, "rlnOpticsGroup": [1] * n, "rlnDefocusU": [15000.0] * n, "rlnDefocusV": [14500.0] * n,
             "rlnDefocusAngle": [30.0] * n}  # fmt: skip
    write_star(path, {"optics": optics, "micrographs": table})


def hits(x, y, seed: int, reach_px: float = 6.0) -> tuple[int, int]:
    """Particles of a micrograph that have a pick within reach, and picks that have no particle there."""
    points = np.stack([x, y], 1).reshape(-1, 2)
    places = np.array([t[:2] for t in truth(seed)], float)
    near = np.hypot(*(points[:, None] - places[None]).transpose(2, 0, 1)) < reach_px
    return int(near.any(0).sum()), int((~near.any(1)).sum())
