"""Particle images with known truth: projections of a phantom or of a map, with CTF, shifts and noise.

The formulas of the image model (rotation, CTF, shift) are written here a second time, in float64 numpy, on purpose:
data that shared code with the programs they test would hide a wrong sign in both. Every random number is a function
of (seed, particle), so the batch changes nothing, and a larger set begins with the particles of a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import scipy.fft

from vitreous.errors import InputError

N_PILOT = 64  # particles from which the signal's variance is measured: 64 give it to about 2 % with mixed views
COLOUR_A = 30.0  # the coloured noise has half of its excess power beyond this period
NOISES = ("white", "coloured", "ice")  # the last one in micrographs only
ICE_A = 400.0  # particles lie at different heights in ice some 40 nm thick


@dataclass(frozen=True)
class Microscope:
    """One optics group: fixed optics and the ranges from which each micrograph's defocus is drawn."""

    voltage_kV: float = 300.0
    Cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    defocus_min_A: float = 8000.0
    defocus_max_A: float = 20000.0
    astigmatism_A: float = 300.0  # half of U - V is drawn from 0 to this
    phase_shift_deg: float = 0.0
    b_factor_A2: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What is simulated. ``views`` None draws directions evenly on the sphere, an int makes that many fixed ones."""

    n: int
    box: int
    pixel_size_A: float
    snr: float = 0.1  # variance of the signal over variance of the noise inside the particle's circle
    seed: int = 1
    views: int | None = None
    view_jitter_deg: float = 3.0  # scatter of the directions around a fixed view, per axis
    shift_std_A: float = 8.0
    particle_diameter_A: float | None = None  # None: 0.7 of the box
    noise: str = "white"  # one of NOISES
    particles_per_micrograph: int = 50
    scale_std: float = 0.0  # scatter of the contrast between micrographs, as a fraction
    ice_A: float = ICE_A  # thickness of the ice: the range of the particles' heights
    layer_A: float = 0.0  # heights are multiples of this; 0: any
    shares: tuple[float, ...] = (1.0,)  # of the states; they add up to 1
    microscopes: tuple[Microscope, ...] = (Microscope(),)

    @property
    def diameter_A(self) -> float:
        return self.particle_diameter_A or 0.7 * self.box * self.pixel_size_A

    def check(self) -> None:
        """Raise InputError for what cannot be simulated."""
        problems = (
            (self.n < 1, f"n is {self.n}, expected at least 1 particle"),
            (self.box % 2 or self.box < 16, f"box is {self.box}, expected an even number of at least 16"),
            (not self.pixel_size_A > 0, f"pixel size is {self.pixel_size_A} A, expected more than 0"),
            (not self.snr >= 0, f"SNR is {self.snr}, expected 0 or more"),
            (self.views is not None and self.views < 1, f"views is {self.views}, expected at least 1"),
            (self.noise not in NOISES, f"noise is {self.noise!r}, expected {', '.join(NOISES)}"),
            (not 0 < self.diameter_A < self.box * self.pixel_size_A,
             f"particle diameter is {self.diameter_A:g} A, expected less than the box, "
             f"{self.box * self.pixel_size_A:g} A: choose a larger box or a smaller particle"),
        )
        for wrong, text in problems:
            if wrong:
                raise InputError(f"simulate: {text}")


@dataclass(frozen=True, eq=False)
class Truth:
    """True parameters, one entry per particle; micrographs and optics groups are numbered from 0, views too."""

    rot_deg: np.ndarray
    tilt_deg: np.ndarray
    psi_deg: np.ndarray
    origin_x_A: np.ndarray  # shift to apply to the image to centre it
    origin_y_A: np.ndarray
    view: np.ndarray  # index of the nominal direction; -1 where directions are free
    micrograph: np.ndarray
    optics: np.ndarray
    defocus_u_A: np.ndarray
    defocus_v_A: np.ndarray
    defocus_angle_deg: np.ndarray
    scale: np.ndarray  # contrast of the particle's micrograph relative to the set
    height_A: np.ndarray  # what the particle's defocus has beyond that of its micrograph
    state: np.ndarray  # which source is shown

    def __len__(self):
        return len(self.psi_deg)

    def __getitem__(self, rows) -> Truth:
        return Truth(*(getattr(self, f.name)[rows] for f in fields(self)))


def generator(seed: int, stream: int) -> np.random.Generator:
    """Random numbers of one purpose, or of one particle."""
    # as uint64: numpy takes a list with a number from 2^63 on for float64, in which neighbouring streams are one
    return np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, stream], np.uint64)))


(PARTICLE_STREAM, MICROGRAPH_STREAM, VIEW_STREAM, SHIFT_STREAM, DEFOCUS_STREAM,
 STATE_STREAM) = (2**63 + i for i in range(6))  # fmt: skip


def euler_matrix(rot_deg, tilt_deg, psi_deg) -> np.ndarray:
    """(n, 3, 3) ZYZ matrices that map reference coordinates into the image frame; row 3 is the view direction."""
    angles = np.radians(np.broadcast_arrays(rot_deg, tilt_deg, psi_deg))
    (ca, cb, cg), (sa, sb, sg) = np.cos(angles), np.sin(angles)
    rows = [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb,
            -sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb,
            sb * ca, sb * sa, cb]
    return np.stack(rows, axis=-1).reshape(*np.shape(ca), 3, 3)


def view_directions(n: int) -> tuple[np.ndarray, np.ndarray]:
    """rot and tilt (deg) of n directions spread over a hemisphere, so that no two views are mirror images.

    The first is 20 degrees off the pole: exactly at a pole rot and psi would mean the same rotation.
    """
    height = 1 - (np.arange(n) + 0.5) / n
    rot_deg = np.mod(np.arange(n) * 180 * (3 - np.sqrt(5)) + 180, 360) - 180
    tilt_deg = np.degrees(np.arccos(height))
    return rot_deg, np.maximum(tilt_deg, 20.0)


def _directions(recipe, rng_view):
    """(rot, tilt, view) of every particle."""
    uniform = rng_view.random((recipe.n, 4))
    if recipe.views is None:
        return 360 * uniform[:, 0] - 180, np.degrees(np.arccos(1 - 2 * uniform[:, 1])), np.full(recipe.n, -1, np.int32)
    rot, tilt = view_directions(recipe.views)
    view = np.minimum((uniform[:, 0] * recipe.views).astype(np.int32), recipe.views - 1)
    # Box-Muller, as a fixed count of uniforms per particle keeps each one a function of its own number
    radius = recipe.view_jitter_deg * np.sqrt(-2 * np.log1p(-uniform[:, 1]))
    turn = 2 * np.pi * uniform[:, 2]
    nod_deg, swing_deg = radius * np.cos(turn), radius * np.sin(turn)
    tilt_deg = tilt[view] + nod_deg
    return rot[view] + swing_deg / np.sin(np.radians(tilt[view])), tilt_deg, view


def draw_truth(recipe: Recipe) -> Truth:
    """Poses, shifts and defocus of every particle.

    Returns
    -------
    Truth       columns of length recipe.n
    """
    recipe.check()
    n, seed = recipe.n, recipe.seed
    rot, tilt, view = _directions(recipe, generator(seed, VIEW_STREAM))
    psi = 360 * generator(seed, PARTICLE_STREAM).random(n) - 180
    shift = generator(seed, SHIFT_STREAM).random((n, 2))
    radius_A = recipe.shift_std_A * np.sqrt(-2 * np.log1p(-shift[:, 0]))
    micrograph = np.arange(n) // max(recipe.particles_per_micrograph, 1)
    n_micrographs = micrograph[-1] + 1
    optics = micrograph % len(recipe.microscopes)
    draw = generator(seed, MICROGRAPH_STREAM).random((n_micrographs, 4))[micrograph]
    low, high, astigmatism = (np.array([getattr(m, name) for m in recipe.microscopes])[optics]
                              for name in ("defocus_min_A", "defocus_max_A", "astigmatism_A"))
    height = recipe.ice_A * (generator(seed, DEFOCUS_STREAM).random(n) - 0.5)
    if recipe.layer_A:
        height = recipe.layer_A * np.rint(height / recipe.layer_A)
    defocus = low + draw[:, 0] * (high - low) + height
    astigmatism = astigmatism * draw[:, 1]
    edges = np.cumsum(recipe.shares)[:-1]
    state = np.searchsorted(edges, generator(seed, STATE_STREAM).random(n), side="right")
    return Truth(rot, tilt, psi, radius_A * np.cos(2 * np.pi * shift[:, 1]), radius_A * np.sin(2 * np.pi * shift[:, 1]),
                 view, micrograph.astype(np.int32), optics.astype(np.int32), defocus + astigmatism,
                 defocus - astigmatism, 180 * draw[:, 2], 1 + recipe.scale_std * np.sqrt(3) * (2 * draw[:, 3] - 1),
                 height, state)


def at_height_0(truth: Truth) -> Truth:
    """The rows with the defocus of their micrographs."""
    u, v, h = truth.defocus_u_A, truth.defocus_v_A, truth.height_A
    return replace(truth, defocus_u_A=u - h, defocus_v_A=v - h, height_A=np.zeros_like(h))


def wavelength_A(voltage_kV):
    """Of the electrons."""
    volts = 1000 * np.asarray(voltage_kV, float)
    return 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))


def ctf_images(truth: Truth, microscopes, box: int, pixel_size_A: float) -> np.ndarray:
    """Contrast transfer function -sin(gamma), positive at low frequency, on the half transform of each image.

    Returns
    -------
    (n, box, box//2 + 1) float64

    Source: docs/equations.md#ctf
    """
    return transfer(truth, microscopes, np.fft.rfftfreq(box, pixel_size_A), np.fft.fftfreq(box, pixel_size_A))


def transfer(truth: Truth, microscopes, fx_inv_A, fy_inv_A) -> np.ndarray:
    """``ctf_images`` at frequencies of one's own, (n, len(fy), len(fx)) float64."""
    fx, fy = np.asarray(fx_inv_A), np.asarray(fy_inv_A)[:, None]
    f2 = fx * fx + fy * fy
    voltage, Cs_mm, contrast, phase_deg, b_factor = (
        np.array([getattr(m, name) for m in microscopes], float)[truth.optics][:, None, None]
        for name in ("voltage_kV", "Cs_mm", "amplitude_contrast", "phase_shift_deg", "b_factor_A2"))
    length_A = wavelength_A(voltage)
    angle = np.radians(truth.defocus_angle_deg)[:, None, None]
    along = fx * np.cos(angle) + fy * np.sin(angle)  # component along the axis of defocus U
    u, v = truth.defocus_u_A[:, None, None], truth.defocus_v_A[:, None, None]
    defocus_f2 = u * along * along + v * (f2 - along * along)
    gamma = (-np.pi * length_A * defocus_f2 + np.pi / 2 * 1e7 * Cs_mm * length_A**3 * f2 * f2
             - np.radians(phase_deg) - np.arctan2(contrast, np.sqrt(1 - contrast * contrast)))
    return -np.sin(gamma) * np.exp(-0.25 * b_factor * f2)


def states(source) -> tuple:
    """A source as a tuple of its states."""
    return source if isinstance(source, tuple) else (source,)


def projections(source, truth: Truth, recipe: Recipe) -> np.ndarray:
    """Shifted projections of every particle's state, on the source's own grey scale.

    Returns
    -------
    (n, box, box) float32
    """
    rotations = euler_matrix(truth.rot_deg, truth.tilt_deg, truth.psi_deg)
    origins = np.stack([truth.origin_x_A, truth.origin_y_A], axis=1)
    images = np.empty((len(truth), recipe.box, recipe.box), np.float32)
    for i, state in enumerate(states(source)):
        rows = np.flatnonzero(truth.state == i)
        images[rows] = state.projections(rotations[rows], origins[rows], recipe.box, recipe.pixel_size_A)
    return images


def clean_images(source, truth: Truth, recipe: Recipe) -> np.ndarray:
    """Shifted projections multiplied by their CTF, without noise, on the source's own grey scale.

    Returns
    -------
    (n, box, box) float32
    """
    images = projections(source, truth, recipe)
    ctf = ctf_images(truth, recipe.microscopes, recipe.box, recipe.pixel_size_A).astype(np.float32)
    ft = scipy.fft.rfft2(images)
    ft *= ctf * truth.scale[:, None, None].astype(np.float32)
    return scipy.fft.irfft2(ft, s=images.shape[1:])


def _circle(recipe):
    """(box, box) bool: inside the particle's circle."""
    axis_A = (np.arange(recipe.box) - recipe.box // 2) * recipe.pixel_size_A
    return axis_A**2 + axis_A[:, None] ** 2 <= (recipe.diameter_A / 2) ** 2


def _noise(recipe, ids):
    """(n, box, box) float32 noise of unit variance, a function of (seed, particle)."""
    shape = (recipe.box, recipe.box)
    noise = np.stack([generator(recipe.seed, int(i)).standard_normal(shape, np.float32) for i in ids])
    if recipe.noise == "white":
        return noise
    box, pixel_size_A = recipe.box, recipe.pixel_size_A
    f2 = np.fft.rfftfreq(box, pixel_size_A) ** 2 + np.fft.fftfreq(box, pixel_size_A)[:, None] ** 2
    amplitude = np.sqrt(coloured_power(f2))
    amplitude /= np.sqrt(np.sum(amplitude**2 * half_weights(box)) / box**2)
    return scipy.fft.irfft2(scipy.fft.rfft2(noise) * amplitude.astype(np.float32), s=shape)


def half_weights(n: int) -> np.ndarray:
    """(n//2 + 1,) how often each column of a half transform of n columns stands for a column of the whole."""
    weights = np.full(n // 2 + 1, 2.0)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return weights


def coloured_power(f2_inv_A2) -> np.ndarray:
    """Power of the coloured noise at squared frequencies, relative to that at high ones."""
    # three parts of excess at the origin over a flat floor, as counted micrographs of thin ice have
    return 1 + 3 / (1 + f2_inv_A2 * COLOUR_A**2)


def signal_gain(source, truth: Truth, recipe: Recipe) -> float:
    """Factor that gives the clean images the recipe's variance inside the circle, measured on the first particles."""
    pilot = clean_images(source, truth[:N_PILOT], recipe)
    variance = pilot[:, _circle(recipe)].var(axis=1, dtype=np.float64).mean()
    if not variance > 0:
        raise InputError("simulate: the projections are empty inside the particle's circle, expected density there: "
                         "check that the map is centred and that the box holds it")
    return float(np.sqrt(recipe.snr / variance))


def simulate_batches(source, recipe: Recipe, truth: Truth | None = None, batch: int = 256) -> Iterator[np.ndarray]:
    """Noisy images, a batch at a time, in the order of the truth.

    Parameters
    ----------
    source : Phantom, MapSource or anything with their ``projections``; a tuple of them, where there are several states
    recipe : what to make
    truth : from ``draw_truth(recipe)``; drawn here if not given
    batch : images held at a time

    Yields
    ------
    (<= batch, box, box) float32    white on dark; mean 0 and standard deviation 1 outside the particle's circle
    """
    truth = draw_truth(recipe) if truth is None else truth
    gain = np.float32(signal_gain(source, truth, recipe))
    outside = ~_circle(recipe)
    for start in range(0, len(truth), batch):
        ids = np.arange(start, min(start + batch, len(truth)))
        images = clean_images(source, truth[ids], recipe) * gain
        images += _noise(recipe, ids)
        background = images[:, outside].astype(np.float64)
        images -= background.mean(axis=1).astype(np.float32)[:, None, None]
        images /= background.std(axis=1).astype(np.float32)[:, None, None]
        yield images


def simulate_particles(source, recipe: Recipe) -> tuple[np.ndarray, Truth]:
    """All images at once and their truth, see ``simulate_batches``.

    Returns
    -------
    (n, box, box) float32, Truth
    """
    truth = draw_truth(recipe)
    return np.concatenate(list(simulate_batches(source, recipe, truth))), truth
