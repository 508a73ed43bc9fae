"""Particle stacks in which some pictures are junk: noise, edges of carbon, ice, and picks beside a particle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from vitreous.engine import simulate as engine
from vitreous.engine.phantom import make_phantom
from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star
from vitreous.programs.simulate import optics_columns, particle_columns

KINDS = ("noise", "carbon", "ice", "beside")


def carbon(rng, box: int) -> np.ndarray:
    """An edge of any direction with Fresnel's bright line, and a rough film on one side."""
    y, x = np.mgrid[:box, :box] - box // 2
    angle = rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) * 64 / box - rng.uniform(-15, 15)
    rough = gaussian_filter(rng.standard_normal((box, box)), 1.5 * box / 64)
    return (1 + 0.7 * rough / rough.std()) / (1 + np.exp(-along)) + np.exp(-along * along / 8)


def ice(rng, box: int) -> np.ndarray:
    """A smooth bright blob of any size with a ragged edge."""
    y, x = np.mgrid[:box, :box] - box // 2
    ragged = gaussian_filter(rng.standard_normal((box, box)), 4 * box / 64)
    radius = rng.uniform(10, 26) * box / 64
    dy, dx = rng.normal(0, 3, 2) * box / 64
    edge = np.hypot(y - dy, x - dx) - radius * (1 + 0.12 * ragged / ragged.std())
    return rng.uniform(1, 4) / (1 + np.exp(edge * 32 / box))


def make(folder: Path, recipe: engine.Recipe, junk_share: float) -> np.ndarray:
    """Write particles.star and its stack; returns what each picture is, "particle" or one of KINDS.

    Junk is drawn evenly from all kinds; particles are those of ``vitreous simulate`` with the same recipe. The relative
    names in the table ask for a run in ``folder``'s parent.
    """
    source, truth = make_phantom(recipe.diameter_A), engine.draw_truth(recipe)
    images = np.concatenate(list(engine.simulate_batches(source, recipe, truth)))
    rng = np.random.default_rng(recipe.seed)
    what = np.full(recipe.n, "particle", object)
    junk = rng.permutation(recipe.n)[: round(junk_share * recipe.n)]
    what[junk] = rng.choice(KINDS, len(junk))
    angle = rng.uniform(0, 2 * np.pi, recipe.n)
    off_A = rng.uniform(0.3, 0.5, recipe.n) * recipe.box * recipe.pixel_size_A
    moved = replace(truth, origin_x_A=off_A * np.cos(angle), origin_y_A=off_A * np.sin(angle))
    gain = engine.signal_gain(source, truth, recipe)
    axis_A = (np.arange(recipe.box) - recipe.box // 2) * recipe.pixel_size_A
    outside = np.hypot(axis_A, axis_A[:, None]) > recipe.diameter_A / 2
    for i in junk:
        image = rng.standard_normal((recipe.box, recipe.box))
        if what[i] == "beside":
            image += gain * engine.clean_images(source, moved[i : i + 1], recipe)[0]
        elif what[i] != "noise":
            image += {"carbon": carbon, "ice": ice}[what[i]](rng, recipe.box)
        images[i] = (image - image[outside].mean()) / image[outside].std()
    folder.mkdir(parents=True, exist_ok=True)
    write_mrc(folder / "particles.mrcs", images, recipe.pixel_size_A, stack=True)
    names = [f"{i:06d}@{folder / 'particles.mrcs'}" for i in range(1, recipe.n + 1)]
    blocks = {"optics": optics_columns(recipe), "particles": particle_columns(names, truth, recipe)}
    write_star(folder / "particles.star", blocks)
    return what
