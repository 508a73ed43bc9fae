"""The part of postprocess that --locres asks for: maps of the local resolution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitreous.engine import local_resolution as engine
from vitreous.engine import postprocess
from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star
from vitreous.job.job import Job
from vitreous.programs.postprocess_options import Options


@dataclass(frozen=True, eq=False)
class LocalResult:
    """Names of the maps, and what they hold."""

    files: list[Path]
    found: engine.LocalResolution
    resolution_A: np.ndarray
    filtered: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Spacing of the points, and radius and edge of the balls, px; the shell from which phases are random."""

    step_px: int
    radius_px: float
    edge_px: float
    first_random: int


def grid_of(options: Options, n: int, shape: tuple[int, ...], pixel_size_A: float) -> Grid:
    """The grid that the options ask for.

    Raises  InputError: points nearer than voxels, balls larger than the box, or random phases beyond its shells.
    """
    step_px = int(np.floor(options.locres_sampling / pixel_size_A + 0.5))
    radius_A = 0.5 * options.locres_sampling if options.locres_maskrad is None else options.locres_maskrad
    edge_A = options.locres_sampling if options.locres_edgwidth is None else options.locres_edgwidth
    if step_px < 1:
        raise InputError(f"--locres_sampling: found {options.locres_sampling:g} A, expected at least a voxel of "
                         f"{pixel_size_A:g} A; give more")  # fmt: skip
    if radius_A / pixel_size_A >= min(shape) / 2:
        raise InputError(f"--locres_maskrad: found {radius_A:g} A, expected less than half the box, "
                         f"{min(shape) * pixel_size_A / 2:g} A; give less")  # fmt: skip
    first = int(n * pixel_size_A / options.locres_randomize_at)
    if not 1 <= first <= n // 2:
        raise InputError(f"--locres_randomize_at: found {options.locres_randomize_at:g} A, expected "
                         f"{2 * pixel_size_A:g} to {n * pixel_size_A:g} A; give e.g. "
                         "three times the resolution")  # fmt: skip
    return Grid(step_px, radius_A / pixel_size_A, edge_A / pixel_size_A, first)


def run_local(
    options: Options, halves: tuple[np.ndarray, np.ndarray], pixel_size_A: float, mtf, seed: int, job: Job
) -> LocalResult:
    """Find the local resolution and write <o>_locres.mrc, <o>_locres_filtered.mrc and <o>_locres_points.star."""
    shape, n = halves[0].shape, max(halves[0].shape)
    grid = grid_of(options, n, shape, pixel_size_A)
    n_points = len(engine.grid_points(shape, grid.step_px, grid.radius_px))
    with job.progress.bar(f"Calculating local resolution in {n_points} sampling points", n_points, "points") as bar:

        def advance():
            bar.advance()
            job.check_abort()

        found = engine.local_resolution(
            halves, pixel_size_A, grid.step_px, grid.radius_px, grid.edge_px, first_random=grid.first_random,
            least_A=options.locres_minres, seed=seed, advance=advance,
        )  # fmt: skip
    resolution_A, _ = engine.resolution_map(shape, found, grid.radius_px, grid.edge_px)
    average = (halves[0] + halves[1]) / np.float32(2)
    recipe = postprocess.Recipe(mtf=mtf, b_factor_A2=options.adhoc_bfac)
    sharp = postprocess.sharpened(average, pixel_size_A, recipe).volume
    filtered = engine.locally_filtered(sharp, pixel_size_A, resolution_A, options.filter_edge_width)
    files = [job.dir.file("locres.mrc"), job.dir.file("locres_filtered.mrc"), job.dir.file("locres_points.star")]
    for path, volume in zip(files, (resolution_A, filtered)):
        write_mrc(path, volume, pixel_size_A, stack=False)
    places = {f"rlnCoordinate{axis}": found.points_px[:, i] + shape[2 - i] // 2 for i, axis in enumerate("XYZ")}
    columns = {label: values.astype(float) for label, values in places.items()}
    write_star(files[2], {"locres": {**columns, "rlnAngstromResolution": found.resolution_A}})
    for path in files:
        job.progress.line(f"  + {'Written:':<30} {path}")
    return LocalResult(files, found, resolution_A, filtered)
