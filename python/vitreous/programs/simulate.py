"""Particle stacks and micrographs with known truth, for trying programs out and for judging them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import simulate as engine
from vitreous.errors import InputError
from vitreous.io.mrc import StackWriter, read_mrc, write_mrc
from vitreous.io.star import write_star
from vitreous.job.job import Job
from vitreous.job.memory import human, peak_bytes
from vitreous.programs import simulate_micrographs
from vitreous.programs.launch import made_with
from vitreous.programs.map_files import open_map_job
from vitreous.programs.simulate_micrographs import MicrographSet
from vitreous.programs.simulate_options import Options
from vitreous.programs.simulate_sources import check_fits, memory_parts, read_sources, write_truth_maps
from vitreous.programs.simulate_tables import optics_columns, particle_columns, report_facts, truth_columns
from vitreous.report.simulate import Summary, particle_cards, simulate_report

__all__ = ["MicrographSet", "Options", "Result", "run"]

PARTICLES_PER_STACK = 20_000
SHOWN = 24  # particles of the report
BATCH, BATCH_PIXELS = 256, 1 << 22  # particles made at a time, and their pixels


@dataclass(frozen=True, eq=False)
class Result:
    """What was written, and the truth behind it."""

    particles: Path
    truth_file: Path
    maps: list[Path]
    truth: engine.Truth
    recipe: engine.Recipe
    source: Any  # what was projected; its grey scale is that of the particles
    gain: float


def run(options: Options, be: Any = None, comm: Any = None) -> Result | MicrographSet:
    """Simulate and write; ``be`` and ``comm`` are those of every program and not needed here."""
    options.check()
    began = time.monotonic()
    with open_map_job(options, os.path.join(options.output, "run")) as job:
        make = simulate_micrographs.make if options.micrographs else make_particles
        result, summary = make(options, job)
        maps = [read_mrc(path)[0] for path in result.maps]
        rows = made_with(options, time.monotonic() - began, ("memory", human(peak_bytes()), "", ""))
        job.write_report(simulate_report(summary, maps, rows))
        return result


def make_particles(options: Options, job: Job) -> tuple[Result, Summary]:
    """Stacks, their table, and the truth."""
    recipe = options.recipe()
    recipe.check()
    source, shares = read_sources(options, recipe.diameter_A)
    recipe = options.recipe(shares=shares)
    if options.views and len(shares) > 1:
        raise InputError(f"--views {options.views}: found with {len(shares)} states, expected one; leave --views out")
    check_fits(source, recipe)
    job.tell_memory(memory_parts(source, batch_size(recipe.box), recipe.box), "give a smaller --box")
    truth = engine.draw_truth(recipe)
    folder = Path(options.output)
    names, first = _write_stacks(job, folder, source, recipe, truth, options)
    gain = engine.signal_gain(source, truth, recipe)
    maps = write_truth_maps(folder, source, recipe, gain)
    if recipe.views:
        views = nominal_views(source, recipe) * np.float32(gain)
        write_mrc(folder / "truth_views.mrcs", views, recipe.pixel_size_A, stack=True)
    particles, truth_file = folder / "particles.star", folder / "particles_truth.star"
    columns = particle_columns(names, truth, recipe)
    write_star(truth_file, {"optics": optics_columns(recipe), "particles": columns | truth_columns(truth, recipe)})
    write_star(particles, {"optics": optics_columns(recipe), "particles": columns})
    job.progress.line(f" {recipe.n} particles: {particles}; their truth: {truth_file}")
    what = f"{recipe.n:,} particles of {recipe.box} px, {recipe.pixel_size_A:g} Å per pixel"
    summary = Summary(what, report_facts(recipe.n, truth, recipe), particle_cards(first))
    return Result(particles, truth_file, maps, truth, recipe, source, gain), summary


def nominal_views(source, recipe: engine.Recipe) -> np.ndarray:
    """(n_views, box, box) float32 projections along the fixed view directions, unturned, without CTF."""
    rot, tilt = engine.view_directions(recipe.views)
    rotations = engine.euler_matrix(rot, tilt, np.zeros(recipe.views))
    return source.projections(rotations, np.zeros((recipe.views, 2)), recipe.box, recipe.pixel_size_A)


def batch_size(box: int) -> int:
    """Particles made at a time."""
    return max(1, min(BATCH, BATCH_PIXELS // box**2))


def _write_stacks(job, folder, source, recipe, truth, options):
    """Write the images; returns the name of each, as rlnImageName has it, and the first few images."""
    batches = engine.simulate_batches(source, recipe, truth, batch_size(recipe.box))
    first = None
    held = np.zeros((0, recipe.box, recipe.box), np.float32)
    names: list[str] = []
    dtype = np.float16 if options.float16 else np.float32
    with job.progress.bar("Simulating particles", recipe.n) as bar:
        for start in range(0, recipe.n, PARTICLES_PER_STACK):
            n = min(PARTICLES_PER_STACK, recipe.n - start)
            path = folder / f"particles_{start // PARTICLES_PER_STACK + 1:03d}.mrcs"
            with StackWriter(path, n, recipe.box, recipe.pixel_size_A, dtype) as writer:
                done = 0
                while done < n:
                    images = held if len(held) else next(batches)
                    images, held = images[: n - done], images[n - done :]
                    writer.write(images)
                    first = images[:SHOWN].copy() if first is None else first
                    done += len(images)
                    bar.advance(len(images))
                    job.check_abort()
            names += [f"{i:06d}@{path}" for i in range(1, n + 1)]
    return names, first
