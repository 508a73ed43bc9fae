"""Small micrographs with picks, and how a user extracts from them."""

import os
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from vitreous.backend import cpu
from vitreous.comm import LocalComm
from vitreous.io.mrc import write_mrc
from vitreous.io.star import Block, write_star
from vitreous.programs import extract
from vitreous.programs.option_parser import parse

PIXEL_A = 2.0
SHAPES = ((300, 260), (256, 256))  # ny, nx: one is not square
N_PICKS = 14
SPOTS = (100, 500)  # how much dust is put in


def write_micrograph(path: Path, shape, seed: int, level: float = 500.0) -> np.ndarray:
    """Coloured noise on a slope, with some hot and cold pixels."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=shape), 0.7)
    y, x = np.indices(shape)
    image = level + 30 * image / image.std() + 0.1 * x - 0.05 * y
    for value in SPOTS:
        image[rng.integers(0, shape[0], 3), rng.integers(0, shape[1], 3)] += value - 300
    image = image.astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(path, image, PIXEL_A)
    return image


def picks(shape, seed: int, n: int = N_PICKS) -> dict:
    """Picks with fractions, some over the edge; the corners are among them."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1, (n, 2)) * np.array(shape[::-1])
    xy[:4] = [(1.2, 2.9), (shape[1] - 1.1, 0.4), (0.9, shape[0] - 0.2), (shape[1] - 0.3, shape[0] - 0.7)]
    return {
        "rlnCoordinateX": xy[:, 0], "rlnCoordinateY": xy[:, 1], "rlnAutopickFigureOfMerit": np.linspace(1, 0, n),
        "rlnClassNumber": np.full(n, 1), "rlnAnglePsi": rng.uniform(-180, 180, n),
    }  # fmt: skip


def optics(n_groups: int = 1) -> Block:
    n = np.arange(1, n_groups + 1)
    columns = {
        "rlnOpticsGroupName": np.array([f"opticsGroup{i}" for i in n], object), "rlnOpticsGroup": n,
        "rlnMicrographOriginalPixelSize": np.full(n_groups, PIXEL_A), "rlnVoltage": np.full(n_groups, 300.0),
        "rlnSphericalAberration": np.full(n_groups, 2.7), "rlnAmplitudeContrast": np.full(n_groups, 0.1),
        "rlnMicrographPixelSize": np.full(n_groups, PIXEL_A),
    }  # fmt: skip
    return Block("optics", "loop", columns)


def micrograph_columns(names) -> dict:
    n = len(names)
    return {
        "rlnMicrographName": np.array(names, object), "rlnOpticsGroup": np.ones(n, int),
        "rlnDefocusU": 12000.0 + 1000 * np.arange(n), "rlnDefocusV": 11500.0 + 1000 * np.arange(n),
        "rlnDefocusAngle": np.full(n, 30.0), "rlnCtfFigureOfMerit": np.full(n, 0.1),
        "rlnCtfMaxResolution": np.full(n, 4.0),
    }  # fmt: skip


def make_project(
    folder: Path, job: str = "MotionCorr/job002/", shapes=SHAPES, coordinates: str = "AutoPick/job006/"
) -> list[str]:
    """micrographs_ctf.star, its micrographs and their picks below ``folder``; returns the micrographs' names."""
    names = []
    for i, shape in enumerate(shapes):
        name = f"{job}Movies/mic_{i + 1:02d}.mrc"
        write_micrograph(folder / name, shape, i)
        path = folder / coordinates / "Movies" / f"mic_{i + 1:02d}_autopick.star"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_star(path, [Block("", columns=picks(shape, 10 + i))])
        names.append(name)
    write_table(folder, names)
    return names


def write_table(folder: Path, names, **columns) -> None:
    """micrographs_ctf.star again, with other or additional columns."""
    block = Block("micrographs", columns=micrograph_columns(names) | columns)
    write_star(folder / "micrographs_ctf.star", [optics(), block])


PICKED = "--i micrographs_ctf.star --coord_dir AutoPick/job006/ --coord_suffix _autopick.star "


def run_extract(words: str, n_threads: int = 2):
    """The result of a command in the working directory."""
    options = parse(extract.Options, [*words.split(), "--verb", "0"])
    return extract.run(options, cpu(n_threads), LocalComm())


def stack_of(folder: str, name: str) -> str:
    """The stack that a job makes of a micrograph of ``make_project``."""
    return os.path.join(folder, "Movies", Path(name).stem + ".mrcs")
