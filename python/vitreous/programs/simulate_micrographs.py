"""Micrographs with known truth: images, their CTF table, coordinates with angles, and the true map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import simulate as engine
from vitreous.engine.simulate_micrograph import Micrograph, simulate_micrograph
from vitreous.engine.simulate_scene import Scene
from vitreous.io.coordinates import write_coordinate_list, write_coordinates
from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star
from vitreous.job.job import Job
from vitreous.programs.simulate_options import PHANTOM_A, Options
from vitreous.programs.simulate_sources import check_fits, memory_parts, read_sources, write_truth_maps
from vitreous.programs.simulate_tables import (
    ctf_columns,
    micrograph_columns,
    micrograph_optics_columns,
    report_facts,
    truth_columns,
)
from vitreous.report.autopick import Shown, binned
from vitreous.report.simulate import Summary, micrograph_cards

SHOWN, CARD_REM = 4, 24  # micrographs of the report, and their width
BYTES_PER_PIXEL = 30  # of a micrograph with its margins: two transforms, three fields and what the ice lets through


@dataclass(frozen=True, eq=False)
class MicrographSet:
    """What was written.

    Attributes
    ----------
    micrographs : micrographs_ctf.star
    truth_file : truth_particles.star
    coordinates : list of the true coordinates, for --coord_list
    maps : the true map, or that of each state
    n : particles in all micrographs
    """

    micrographs: Path
    truth_file: Path
    coordinates: Path
    maps: list[Path]
    n: int
    recipe: engine.Recipe
    scene: Scene


def make(options: Options, job: Job) -> tuple[MicrographSet, Summary]:
    """Micrographs one after the other, then the tables."""
    source, shares = read_sources(options, options.particle_diameter or PHANTOM_A)
    recipe = options.recipe(max(state.diameter_A for state in engine.states(source)), shares)
    scene = options.scene(recipe.diameter_A)
    recipe.check()
    scene.check(recipe.particles_per_micrograph)
    check_fits(source, recipe)
    job.tell_memory(memory_of(source, recipe, scene), "give a smaller --size or --box")
    truth = engine.draw_truth(recipe)
    gain = engine.signal_gain(source, truth, recipe)
    folder = Path(options.output)
    (folder / "Micrographs").mkdir(exist_ok=True)
    names = [str(folder / "Micrographs" / f"mic_{i + 1:05d}.mrc") for i in range(options.micrographs)]
    files = [str(folder / "truth" / f"{Path(name).stem}_truth.star") for name in names]
    poses, shown = [], []
    for name, file in job_bar(job, list(zip(names, files))):
        made = simulate_micrograph(source, recipe, scene, truth, gain, len(poses))
        columns = columns_of(made, recipe)
        write_mrc(name, made.image, recipe.pixel_size_A, dtype_of(options))
        write_coordinates(file, columns)
        poses.append(columns | ctf_columns(made.truth, recipe))
        if len(shown) < SHOWN:
            shown.append(shown_of(name, made, recipe))
    whole = engine.at_height_0(truth[:: recipe.particles_per_micrograph])
    tables = write_tables(folder, names, files, poses, whole, recipe)
    maps = write_truth_maps(folder, source, recipe, gain)
    n = sum(map(count, poses))
    job.progress.line(f" {len(names)} micrographs with {n} particles: {tables[0]}; their truth: {tables[1]}")
    size = " x ".join(map(str, scene.shape[::-1]))
    what = f"{len(names)} micrographs of {size} px, {recipe.pixel_size_A:g} Å per pixel"
    return MicrographSet(*tables, maps, n, recipe, scene), Summary(what, report_facts(n, whole, recipe), micrograph_cards(shown), CARD_REM)


def job_bar(job: Job, items: list) -> Iterator:
    """The items, with a progress bar and a look for requests to stop after each."""
    with job.progress.bar("Simulating micrographs", len(items)) as bar:
        for item in items:
            yield item
            bar.advance(1)
            job.check_abort()


def dtype_of(options: Options) -> type:
    """Of the micrographs' pixels."""
    return np.float16 if options.float16 else np.int16 if options.int16 else np.float32


def memory_of(source: Any, recipe: engine.Recipe, scene: Scene) -> dict[str, int]:
    """What the peak is made of, bytes."""
    ny, nx = (n + 2 * recipe.box for n in scene.shape)
    return memory_parts(source, engine.N_PILOT, recipe.box) | {"one micrograph": BYTES_PER_PIXEL * ny * nx}


def count(columns: dict[str, np.ndarray]) -> int:
    """Rows of a table."""
    return len(columns["rlnCoordinateX"])


def write_tables(folder: Path, names: list[str], files: list[str], poses: list[dict], whole, recipe) -> tuple[Path, Path, Path]:
    """The micrographs' CTF, the truth of all particles, and the list of coordinate files."""
    paths = (folder / "micrographs_ctf.star", folder / "truth_particles.star", folder / "truth" / "coordinates.star")
    optics = micrograph_optics_columns(recipe)
    write_star(paths[0], {"optics": optics, "micrographs": micrograph_columns(names, whole, recipe)})
    columns = {"rlnMicrographName": np.repeat(names, list(map(count, poses)))}
    columns |= {label: np.concatenate([table[label] for table in poses]) for label in poses[0]}
    # with the size of their pixels, the rows are those of particles that can be extracted again
    optics["rlnImagePixelSize"] = optics["rlnMicrographPixelSize"]
    write_star(paths[1], {"optics": optics, "particles": columns})
    write_coordinate_list(paths[2], names, files)
    return paths


def shown_of(name: str, made: Micrograph, recipe: engine.Recipe) -> Shown:
    """A micrograph of the report."""
    small, factor = binned(made.image)
    x, y = made.place_px.T
    return Shown(name, small, factor, x, y, np.zeros(len(x)), recipe.diameter_A / recipe.pixel_size_A, "particles")


def columns_of(made: Micrograph, recipe: engine.Recipe) -> dict[str, Any]:
    """The particles of a micrograph: their pixels, poses and state. Without a CTF, at which relion_preprocess fails."""
    coordinates = {f"rlnCoordinate{axis}": made.place_px[:, i].astype(float) for i, axis in enumerate("XY")}
    return coordinates | truth_columns(made.truth, recipe) | {"rlnClassNumber": made.truth.state + 1}
