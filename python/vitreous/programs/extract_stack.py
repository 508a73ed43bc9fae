"""The last steps of an extraction on images that are in a stack already: ``vitreous extract --operate_on``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import extract as engine
from vitreous.errors import InputError
from vitreous.io.extracted import write_particle_star
from vitreous.io.micrographs import CountedStackWriter
from vitreous.io.mrc import StackReader
from vitreous.io.star import read_star
from vitreous.io.table import Table, beside
from vitreous.job.progress import Progress
from vitreous.programs.extract_options import Options, background_radius, even

AT_ONCE_BYTES = 64 << 20


@dataclass(frozen=True)
class StackResult:
    """The stack that was written, its number of images, and its STAR file where the input had one."""

    stack: Path
    n: int
    star: Path | None


def operate(options: Options, be: Any) -> StackResult:
    """Rescale, re-window, normalise and invert the images of a stack or STAR file."""
    source = Path(options.operate_on)
    if not source.is_file():
        raise InputError(
            f"--operate_on {source}: is not there, expected a stack or a STAR file of particles; check the name"
        )
    star = read_star(source) if source.suffix == ".star" else None
    names = _image_names(source, star)
    with StackReader(beside(source, names[0][1]) if star else str(source)) as first:
        shape, pixel_A, n = first.shape, first.pixel_size_A or 1.0, first.n_sections
    if shape[0] != shape[1]:
        raise InputError(
            f"--operate_on {source}: images are {shape[1]} x {shape[0]} px, expected square ones; window them first"
        )
    names = names or [(i, str(source)) for i in range(1, n + 1)]
    if star is not None:
        pixel_A = float(star["optics"]["rlnImagePixelSize"][0]) if "optics" in star else pixel_A
    recipe = _recipe(options, shape[0])
    out = Path(options.operate_out)
    out.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(options.verb)
    with progress.bar("Working on particles", len(names)) as bar:
        _stream(names, source if star else None, out, pixel_A * shape[0] / recipe.rescaled, recipe, options, be, bar)
    made = _write_star(star, source, out, recipe, shape[0], len(names)) if star else None
    progress.line(f" {len(names)} particles: {out}" + (f"; {made}" if made else ""))
    return StackResult(out, len(names), made)


def _recipe(options: Options, box: int) -> engine.Recipe:
    recipe = engine.Recipe(
        box, even(options.scale), even(options.window), options.norm, not options.no_ramp, 0.0,
        options.white_dust or 0.0, options.black_dust or 0.0, options.invert_contrast, seed=options.random_seed,
    )  # fmt: skip
    return engine.Recipe(**{**vars(recipe), "bg_radius_px": background_radius(options, recipe.final)})


def _image_names(source: Path, star) -> list[tuple[int, str]]:
    if star is None:
        return []
    table = Table(str(source), star.first("particles", "images", ""))
    table.require("rlnImageName", "the image of every particle", "give a particle STAR file")
    found = []
    for row, name in enumerate(table.strings("rlnImageName")):
        section, at, file = name.partition("@")
        if not at or not section.isdigit():
            raise table.bad_value("rlnImageName", row, "a name such as 000001@stack.mrcs", "put it right")
        found.append((int(section), file))
    return found


def _stream(names, star_path, out, pixel_A, recipe, options, be, bar) -> None:
    background = engine.outside_circle(recipe.final, recipe.bg_radius_px if recipe.normalise else 0.0)
    at_once = max(1, AT_ONCE_BYTES // (4 * max(recipe.box, recipe.rescaled, recipe.final) ** 2))
    with CountedStackWriter(
        out, len(names), recipe.final, pixel_A, np.float16 if options.float16 else np.float32
    ) as writer:
        for first in range(0, len(names), at_once):
            part = names[first : first + at_once]
            images = engine.rewindow(
                engine.resize(_read(part, star_path, recipe.box), recipe.rescaled, be.n_threads), recipe.final
            )
            ids = np.arange(first, first + len(part), dtype=np.uint64)
            engine.normalise(be, images, background, recipe, ids)
            writer.write(images)
            bar.advance(len(part))


def _read(names: list[tuple[int, str]], star_path: Path | None, box: int) -> np.ndarray:
    out = np.empty((len(names), box, box), np.float32)
    by_file: dict[str, list[int]] = {}
    for i, (_, file) in enumerate(names):
        by_file.setdefault(file, []).append(i)
    for file, rows in by_file.items():
        with StackReader(beside(star_path, file) if star_path else file) as reader:
            if reader.shape != (box, box):
                raise InputError(
                    f"{file}: images are {reader.shape[1]} x {reader.shape[0]} px, expected {box} as the "
                    "first; work on "
                    "each size apart"
                )
            out[rows] = reader.read([names[i][0] for i in rows])
    return out


def _write_star(star, source: Path, out: Path, recipe: engine.Recipe, box: int, n: int) -> Path:
    block = star.first("particles", "images", "")
    columns = dict(block.columns) | {"rlnImageName": np.array([f"{i:06d}@{out}" for i in range(1, n + 1)], object)}
    path = out.with_suffix(".star")
    if "optics" not in star:
        raise InputError(
            f"{source}: has no data_optics, expected one to hold the new pixel size; convert the file "
            "with "
            "relion_convert_star, or give the stack"
        )
    optics = dict(star["optics"].columns)
    optics["rlnImagePixelSize"] = optics["rlnImagePixelSize"] * (box / recipe.rescaled)
    optics["rlnImageSize"] = np.full(len(optics["rlnImagePixelSize"]), recipe.final)
    write_particle_star(path, optics, columns)
    return path
