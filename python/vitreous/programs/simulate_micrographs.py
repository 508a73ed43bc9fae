"""Micrographs with known truth: images, their CTF table, coordinates with angles, and the true map."""

from __future__ import annotations

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
from vitreous.programs.simulate_sources import read_sources, write_truth_maps
from vitreous.programs.simulate_tables import ctf_columns, micrograph_columns, micrograph_optics_columns, truth_columns


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


def make(options: Options, job: Job) -> MicrographSet:
    """Micrographs one after the other, then the tables."""
    source, shares = read_sources(options, options.particle_diameter or PHANTOM_A)
    recipe = options.recipe(max(state.diameter_A for state in engine.states(source)), shares)
    scene = options.scene(recipe.diameter_A)
    check(recipe, scene)
    truth = engine.draw_truth(recipe)
    whole = engine.at_height_0(truth[:: recipe.particles_per_micrograph])
    gain = engine.signal_gain(source, truth, recipe)
    folder = Path(options.output)
    dtype = np.float16 if options.float16 else np.int16 if options.int16 else np.float32
    names, files, poses = [], [], []
    (folder / "Micrographs").mkdir(exist_ok=True)
    with job.progress.bar("Simulating micrographs", options.micrographs) as bar:
        for i in range(options.micrographs):
            made = simulate_micrograph(source, recipe, scene, truth, gain, i)
            name, file = folder / "Micrographs" / f"mic_{i + 1:05d}.mrc", folder / "truth" / f"mic_{i + 1:05d}_truth.star"
            write_mrc(name, made.image, recipe.pixel_size_A, dtype)
            poses.append(columns_of(made, recipe))
            write_coordinates(file, poses[-1])
            names.append(str(name))
            files.append(str(file))
            bar.advance(1)
            job.check_abort()
    tables = (folder / "micrographs_ctf.star", folder / "truth_particles.star", folder / "truth" / "coordinates.star")
    write_star(tables[0], {"optics": micrograph_optics_columns(recipe), "micrographs": micrograph_columns(names, whole, recipe)})
    all_columns = {label: np.concatenate([columns[label] for columns in poses]) for label in poses[0]}
    micrograph = np.repeat(names, [len(next(iter(columns.values()))) for columns in poses])
    particles = {"rlnMicrographName": micrograph} | all_columns
    # with the size of their pixels, the rows are those of particles that can be extracted again
    optics = micrograph_optics_columns(recipe) | {"rlnImagePixelSize": np.full(len(recipe.microscopes), recipe.pixel_size_A)}
    write_star(tables[1], {"optics": optics, "particles": particles})
    write_coordinate_list(tables[2], names, files)
    maps = write_truth_maps(folder, source, recipe, gain)
    job.progress.line(f" {len(names)} micrographs with {len(micrograph)} particles: {tables[0]}; their truth: {tables[1]}")
    return MicrographSet(*tables, maps, len(micrograph), recipe, scene)


def check(recipe: engine.Recipe, scene: Scene) -> None:
    """Raise InputError for micrographs that cannot be made."""
    recipe.check()
    scene.check(recipe.particles_per_micrograph)


def columns_of(made: Micrograph, recipe: engine.Recipe) -> dict[str, Any]:
    """The particles of a micrograph: their pixels, poses, CTF and state."""
    coordinates = {f"rlnCoordinate{axis}": made.place_px[:, i].astype(float) for i, axis in enumerate("XY")}
    return coordinates | truth_columns(made.truth, recipe) | ctf_columns(made.truth, recipe)
