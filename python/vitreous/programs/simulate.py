"""Particle stacks with known truth, for trying programs out and for judging them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vitreous.engine import simulate as engine
from vitreous.engine.phantom import make_phantom
from vitreous.errors import InputError
from vitreous.io.mrc import StackWriter, read_mrc, write_mrc
from vitreous.io.star import write_star
from vitreous.job.progress import Progress
from vitreous.programs.options import Common, ProgramOptions, again, option

PARTICLES_PER_STACK = 20_000
# Second and further optics groups differ from the first, so that a program which mixes them up is found out.
VOLTAGES_KV = (0.0, -100.0, -180.0)


class Options(ProgramOptions):
    """Particle images with known truth."""

    PROGRAM: ClassVar[str] = "simulate"
    SUMMARY: ClassVar[str] = "particle images with known truth, from a built-in molecule or a map"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous simulate --o sim --n 2000 --box 64 --angpix 4 --snr 0.1 --views 8",
        "vitreous simulate --o sim --n 5000 --box 128 --angpix 2 --map emd_1832.map --seed 2",
    )

    output: str = option(
        "simulated",
        "folder for particles.star, particles_truth.star, truth.mrc and the stacks",
        group="output",
        flag="o",
        metavar="FOLDER",
    )
    float16: bool = option(False, "write the stacks in half precision (mode 12), half the size", group="output")
    verb: int = again(Common, "verb")
    map: str | None = option(
        None, "density to project, white on dark, centred", group="input", metavar="FILE", unset="the built-in molecule"
    )
    map_angpix: float | None = option(None, "voxel of --map", group="input", unit="A", unset="from its header", gt=0)
    n: int = option(2000, "number of particles", group="basic", ge=1)
    box: int = option(64, "side of the images; even", group="basic", unit="px", ge=16, le=4096)
    angpix: float = option(4.0, "pixel of the images", group="basic", unit="A", gt=0)
    snr: float = option(
        0.1, "variance of the signal over that of the noise, inside the particle's circle", group="basic", ge=0
    )
    particle_diameter: float | None = option(
        None,
        "diameter of the circle, and of the built-in molecule",
        group="basic",
        unit="A",
        unset="0.7 of the box",
        gt=0,
    )
    views: int | None = option(
        None, "number of fixed view directions", group="basic", ge=1, unset="directions spread over the sphere"
    )
    view_jitter: float = option(3.0, "scatter around a fixed view, per axis", group="basic", unit="deg", ge=0)
    shift_std: float = option(8.0, "scatter of the origins, per axis", group="basic", unit="A", ge=0)
    noise: str = option("white", "white or coloured", group="basic")
    seed: int = option(1, "seed of all random numbers", group="basic", ge=0)
    optics_groups: int = option(1, "number of optics groups; they differ in voltage", group="expert", ge=1, le=3)
    kV: float = option(
        300.0, "acceleration voltage of the first optics group", group="expert", unit="kV", ge=80, le=1000
    )
    cs: float = option(2.7, "spherical aberration", group="expert", unit="mm", ge=0)
    Q0: float = option(0.1, "amplitude contrast", group="expert", ge=0, lt=1)
    defocus_min: float = option(8000.0, "least underfocus", group="expert", unit="A", gt=0)
    defocus_max: float = option(20000.0, "largest underfocus", group="expert", unit="A", gt=0)
    astigmatism: float = option(300.0, "largest astigmatism, half of U - V", group="expert", unit="A", ge=0)
    phase_shift: float = option(0.0, "phase shift of a phase plate", group="expert", unit="deg")
    bfactor: float = option(0.0, "B-factor of the contrast transfer", group="expert", unit="A^2")
    scale_std: float = option(
        0.0, "scatter of the contrast between micrographs, as a fraction", group="expert", ge=0, le=0.5
    )
    particles_per_micrograph: int = option(50, "particles that share a defocus", group="expert", ge=1)

    def recipe(self) -> engine.Recipe:
        """What the engine is to make."""
        microscopes = tuple(
            engine.Microscope(
                max(self.kV + VOLTAGES_KV[i], 100.0), self.cs, self.Q0, self.defocus_min,
                max(self.defocus_max, self.defocus_min), self.astigmatism, self.phase_shift, self.bfactor,
            )
            for i in range(self.optics_groups)
        )  # fmt: skip
        return engine.Recipe(
            n=self.n, box=self.box, pixel_size_A=self.angpix, snr=self.snr, seed=self.seed, views=self.views,
            view_jitter_deg=self.view_jitter, shift_std_A=self.shift_std, particle_diameter_A=self.particle_diameter,
            noise=self.noise, particles_per_micrograph=self.particles_per_micrograph, scale_std=self.scale_std,
            microscopes=microscopes,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result:
    """What was written, and the truth behind it."""

    particles: Path
    truth_file: Path
    truth: engine.Truth
    recipe: engine.Recipe
    source: Any  # what was projected; its grey scale is that of the particles
    gain: float


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Simulate and write; ``be`` and ``comm`` are those of every program and not needed here."""
    recipe = options.recipe()
    recipe.check()
    source = _source(options, recipe)
    truth = engine.draw_truth(recipe)
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--o {folder}: cannot be made ({error.strerror}), expected a folder; give another --o"
        ) from None
    names = _write_stacks(folder, source, recipe, truth, options)
    gain = engine.signal_gain(source, truth, recipe)
    if options.map is None:
        write_mrc(
            folder / "truth.mrc", source.volume(recipe.box, recipe.pixel_size_A) * np.float32(gain), recipe.pixel_size_A
        )
    if recipe.views:
        views = nominal_views(source, recipe) * np.float32(gain)
        write_mrc(folder / "truth_views.mrcs", views, recipe.pixel_size_A, stack=True)
    particles, truth_file = folder / "particles.star", folder / "particles_truth.star"
    columns = particle_columns(names, truth, recipe)
    write_star(truth_file, {"optics": optics_columns(recipe), "particles": columns | truth_columns(truth)})
    write_star(particles, {"optics": optics_columns(recipe), "particles": columns})
    Progress(options.verb).line(f" {recipe.n} particles: {particles}; their truth: {truth_file}")
    return Result(particles, truth_file, truth, recipe, source, gain)


def nominal_views(source, recipe: engine.Recipe) -> np.ndarray:
    """(n_views, box, box) float32 projections along the fixed view directions, unturned, without CTF."""
    rot, tilt = engine.view_directions(recipe.views)
    rotations = engine.euler_matrix(rot, tilt, np.zeros(recipe.views))
    return source.projections(rotations, np.zeros((recipe.views, 2)), recipe.box, recipe.pixel_size_A)


def _source(options, recipe):
    if options.map is None:
        return make_phantom(recipe.diameter_A)
    volume, header_A = read_mrc(options.map)
    pixel_size_A = options.map_angpix or header_A
    if not pixel_size_A > 0:
        raise InputError(
            f"{options.map}: the header says {header_A} A per voxel, expected more than 0; give --map_angpix"
        )
    return engine.MapSource(volume, pixel_size_A)


def _write_stacks(folder, source, recipe, truth, options):
    """Write the images; returns the name of each, as rlnImageName has it."""
    batches = engine.simulate_batches(source, recipe, truth)
    held = np.zeros((0, recipe.box, recipe.box), np.float32)
    names: list[str] = []
    dtype = np.float16 if options.float16 else np.float32
    with Progress(options.verb).bar("Simulating particles", recipe.n) as bar:
        for start in range(0, recipe.n, PARTICLES_PER_STACK):
            n = min(PARTICLES_PER_STACK, recipe.n - start)
            path = folder / f"particles_{start // PARTICLES_PER_STACK + 1:03d}.mrcs"
            with StackWriter(path, n, recipe.box, recipe.pixel_size_A, dtype) as writer:
                done = 0
                while done < n:
                    images = held if len(held) else next(batches)
                    images, held = images[: n - done], images[n - done :]
                    writer.write(images)
                    done += len(images)
                    bar.advance(len(images))
            names += [f"{i:06d}@{path}" for i in range(1, n + 1)]
    return names


def optics_columns(recipe: engine.Recipe) -> dict[str, Any]:
    """data_optics of the simulated particles."""
    n = len(recipe.microscopes)

    def of(name):
        return np.array([getattr(m, name) for m in recipe.microscopes])

    return {
        "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(n)],
        "rlnOpticsGroup": np.arange(1, n + 1),
        "rlnVoltage": of("voltage_kV"),
        "rlnSphericalAberration": of("Cs_mm"),
        "rlnAmplitudeContrast": of("amplitude_contrast"),
        "rlnImagePixelSize": np.full(n, recipe.pixel_size_A),
        "rlnImageSize": np.full(n, recipe.box),
        "rlnImageDimensionality": np.full(n, 2),
    }


def particle_columns(names: list[str], truth: engine.Truth, recipe: engine.Recipe) -> dict[str, Any]:
    """data_particles without anything that a classification has to find."""
    columns = {
        "rlnImageName": names,
        "rlnMicrographName": [f"micrograph_{i + 1:05d}.mrc" for i in truth.micrograph],
        "rlnOpticsGroup": truth.optics + 1,
        "rlnDefocusU": truth.defocus_u_A,
        "rlnDefocusV": truth.defocus_v_A,
        "rlnDefocusAngle": truth.defocus_angle_deg,
    }
    for label, name in (("rlnPhaseShift", "phase_shift_deg"), ("rlnCtfBfactor", "b_factor_A2")):
        values = np.array([getattr(m, name) for m in recipe.microscopes])[truth.optics]
        if values.any():
            columns[label] = values
    return columns


def truth_columns(truth: engine.Truth) -> dict[str, np.ndarray]:
    """Columns that only the truth has; rlnClassNumber is the view, from 1, or 0 where views are free."""
    columns = {
        "rlnAngleRot": truth.rot_deg,
        "rlnAngleTilt": truth.tilt_deg,
        "rlnAnglePsi": truth.psi_deg,
        "rlnOriginXAngst": truth.origin_x_A,
        "rlnOriginYAngst": truth.origin_y_A,
        "rlnClassNumber": truth.view + 1,
    }
    if np.ptp(truth.scale) > 0:
        columns["rlnGroupScaleCorrection"] = truth.scale
    return columns
