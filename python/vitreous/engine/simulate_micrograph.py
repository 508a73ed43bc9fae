"""Micrographs with known truth: particles in ice under the microscope's transfer, with what disturbs a picker.

The image is formed over the whole field: projections are put where the particles stand, to a fraction of a pixel; each
layer of the ice is multiplied by the CTF of its own defocus, so a particle's fringes reach as far as they do; noise is
added; the result is modulated by what the ice lets through. Particles are dark on bright ice. Every random number is a
function of (seed, micrograph).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from vitreous.engine import simulate_scene
from vitreous.engine.simulate import (
    Recipe,
    Truth,
    at_height_0,
    coloured_power,
    generator,
    half_weights,
    projections,
    transfer,
    wavelength_A,
)
from vitreous.engine.simulate_scene import Scene

# Grey values: electrons counted at some 100 e per px have a tenth of their mean as noise; a noise of 100 leaves
# whole numbers (mode 1) a rounding error of 1e-5 of its variance.
MEAN, NOISE_SD = 1000.0, 100.0
BATCH = 64  # projections held at a time
ROWS = 64  # rows of a transform whose CTF is computed at a time: they stay in the cache
STREAM = 2**62  # of a micrograph's generators; those of particles and sets lie elsewhere
N_STREAMS = 4
# Ice relative to the flat noise of counting. A K2 micrograph of particles at 300 kV is fitted by 6 parts of structure,
# 6 / (1 + (100 A f)^2)^2, of which a third is taken for ice, and by Thon rings of half a part that fade towards 5 A.
STRUCTURE, STRUCTURE_A = 2.0, 100.0
RINGS_OF_ICE, RINGS_OF_ICE_A = 0.5, 10.0
RINGS_OF_CARBON, RINGS_OF_CARBON_A = 1.0, 6.0


@dataclass(frozen=True, eq=False)
class Micrograph:
    """One micrograph with its truth.

    Attributes
    ----------
    image : (ny, nx) float32         mean 1000 and noise of 100 in clear ice; particles are dark
    truth : of its particles; the origin is what is left of a pixel: a particle stands at place_px - origin
    place_px : (n, 2) int64          x, y from the first pixel
    around : Surroundings
    """

    image: np.ndarray
    truth: Truth
    place_px: np.ndarray
    around: simulate_scene.Surroundings


def simulate_micrograph(source, recipe: Recipe, scene: Scene, truth: Truth, gain: float, i: int) -> Micrograph:
    """The ``i``-th micrograph of a set.

    Parameters
    ----------
    source : Phantom, MapSource or a tuple of them, one per state
    recipe : of the particles; its box holds a projection, without fringes
    scene : of the set
    truth : from ``draw_truth(recipe)``, of all micrographs
    gain : from ``signal_gain``: noise then has a variance of 1

    Source: docs/equations.md#micrograph
    """
    streams = [generator(recipe.seed, STREAM + i * N_STREAMS + k) for k in range(N_STREAMS)]
    around = simulate_scene.draw_surroundings(scene, streams[0])
    rows = np.flatnonzero(truth.micrograph == i)
    place_A = simulate_scene.place(len(rows), scene, around, streams[1])
    place_px, mine = _on_pixels(truth[rows[: len(place_A)]], place_A, recipe.pixel_size_A)
    whole = at_height_0(truth[rows[:1]])
    pad = _padding(recipe, mine)
    shape = tuple(scipy.fft.next_fast_len(n + 2 * pad, real=True) for n in scene.shape)
    ft = _noise(recipe, whole, shape, streams[2])
    for height_A in np.unique(mine.height_A):
        layer = mine.height_A == height_A
        field = _field(source, recipe, mine[layer], place_px[layer] + pad, shape)
        field *= np.float32(-gain * whole.scale[0])
        _add_transferred(ft, field, mine[layer][:1], recipe)
    if around.hole is not None:
        texture = np.zeros(shape, np.float32)
        inner = tuple(slice(pad, pad + n) for n in scene.shape)
        texture[inner] = np.sqrt(RINGS_OF_CARBON) * streams[3].standard_normal(scene.shape, np.float32)
        texture[inner] *= simulate_scene.carbon(scene, around)
        _add_transferred(ft, texture, whole, recipe, RINGS_OF_CARBON_A)
    image = scipy.fft.irfft2(ft, s=shape, overwrite_x=True)[tuple(slice(pad, pad + n) for n in scene.shape)]
    through = simulate_scene.transmission(scene, around)
    return Micrograph(MEAN * through + NOISE_SD * np.sqrt(through) * image, mine, place_px, around)


def _on_pixels(truth, place_A, pixel_size_A):
    """The pixel nearest to each place, and the truth with what is left as its origin."""
    place_px = np.floor(place_A / pixel_size_A + 0.5).astype(np.int64)
    origin_A = place_px * pixel_size_A - place_A
    return place_px, replace(truth, origin_x_A=origin_A[:, 0], origin_y_A=origin_A[:, 1])


def _padding(recipe, truth):
    """px around a micrograph that hold particles at its edge and how far their fringes reach, at two pixels' period."""
    longest_A = wavelength_A(min(m.voltage_kV for m in recipe.microscopes))
    reach_A = longest_A * truth.defocus_u_A.max(initial=0) / (2 * recipe.pixel_size_A)
    return recipe.box // 2 + int(np.ceil(min(reach_A / recipe.pixel_size_A, recipe.box)))


def _field(source, recipe, truth, place_px, shape):
    """(ny, nx) float32: the sum of the particles' projections, each with its box's centre at place_px."""
    field = np.zeros(shape, np.float32)
    half = recipe.box // 2
    for start in range(0, len(truth), BATCH):
        part = slice(start, start + BATCH)
        for (x, y), image in zip(place_px[part] - half, projections(source, truth[part], recipe)):
            field[y : y + recipe.box, x : x + recipe.box] += image
    return field


def _frequencies(shape, pixel_size_A):
    """fx, and (rows, fy) for every few rows of a half transform."""
    fx, fy = scipy.fft.rfftfreq(shape[1], pixel_size_A), scipy.fft.fftfreq(shape[0], pixel_size_A)
    return fx, [(slice(r, r + ROWS), fy[r : r + ROWS]) for r in range(0, shape[0], ROWS)]


def _add_transferred(ft, field, truth, recipe, envelope_A=0.0):
    """Add the transform of a field, multiplied by the CTF of the one row of ``truth``, to ``ft``."""
    added = scipy.fft.rfft2(field)
    fx, parts = _frequencies(field.shape, recipe.pixel_size_A)
    for rows, fy in parts:
        ctf = transfer(truth, recipe.microscopes, fx, fy)[0]
        if envelope_A:
            ctf *= np.exp(-0.5 * envelope_A**2 * (fx * fx + (fy * fy)[:, None]))
        ft[rows] += added[rows] * ctf.astype(np.float32)


def ice_power(f2_inv_A2: np.ndarray, ctf: np.ndarray) -> np.ndarray:
    """Power of a micrograph without particles at squared frequencies, relative to that of counting alone."""
    structure = STRUCTURE / (1 + STRUCTURE_A**2 * f2_inv_A2) ** 2
    return 1 + structure + RINGS_OF_ICE * ctf * ctf * np.exp(-(RINGS_OF_ICE_A**2) * f2_inv_A2)


def _noise(recipe, truth, shape, rng):
    """Transform of noise of unit variance, (ny, nx//2 + 1) complex64, not divided by the number of pixels."""
    ft = scipy.fft.rfft2(rng.standard_normal(shape, np.float32), overwrite_x=True)
    if recipe.noise == "white":
        return ft
    fx, parts = _frequencies(shape, recipe.pixel_size_A)
    weights = half_weights(shape[1])
    total = 0.0
    for rows, fy in parts:
        f2 = fx * fx + (fy * fy)[:, None]
        if recipe.noise == "ice":
            ctf = transfer(truth, recipe.microscopes, fx, fy)[0]
            power = ice_power(f2, ctf)
        else:
            power = coloured_power(f2)
        total += float((power * weights).sum())
        ft[rows] *= np.sqrt(power).astype(np.float32)
    ft *= np.float32(np.sqrt(shape[0] * shape[1] / total))
    return ft
