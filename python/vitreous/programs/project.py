"""Projections of a map: as particles see it, in random directions, or one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine.reconstruct3d import reference_transform
from vitreous.engine.slices3d import CtfChoice, model_noise, project, white_noise
from vitreous.errors import InputError
from vitreous.io.images import ImageSource
from vitreous.io.mrc import StackWriter, write_mrc
from vitreous.io.optics_star import optics_columns
from vitreous.io.particles import ParticleInput, find_root, read_particles, write_particles
from vitreous.io.star import read_star, write_star
from vitreous.job.batches import BYTES_PER_PIXEL, batch_size
from vitreous.job.job import Job
from vitreous.job.memory import human, peak_bytes
from vitreous.job.progress import duration
from vitreous.job.volume_sums import view_batch
from vitreous.model.band import round_half_up
from vitreous.model.dataset import Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup
from vitreous.model.sampling import random_orientations
from vitreous.model.volume import VolumeLattice
from vitreous.programs.launch import made_with
from vitreous.programs.map_files import open_map_job, read_map, same_grid
from vitreous.programs.project_options import Options
from vitreous.programs.reconstruct import tell_quarantined

__all__ = ["Options", "Result", "run"]

INTERPRETER = 150 << 20  # Python and its libraries, as measured after the imports
SHOWN = 24  # projections on the page
DIRECTION_STREAM, OFFSET_STREAM = 41, 42  # of the random numbers of --nr_uniform and --sigma_offset


@dataclass(frozen=True, eq=False)
class Result:
    """What was written: the stack or the one image, and the particle file (None for one image)."""

    images: Path
    particles: Path | None
    n_images: int


def run(options: Options, be: Any, comm: Any = None) -> Result:
    """Read the map, project, write."""
    began = time.monotonic()
    root = (
        str(Path(options.output).with_suffix(""))
        if Path(options.output).suffix in (".mrc", ".mrcs", ".star")
        else options.output
    )
    with open_map_job(options, root, backend=be.name, threads=be.n_threads) as job:
        volume, pixel_size_A = read_reference(options)
        lattice = make_lattice(options, len(volume), pixel_size_A)
        dataset = with_offsets(make_dataset(options, lattice.box, pixel_size_A), options, pixel_size_A)
        tell(job, dataset, lattice, pixel_size_A)
        projector = Projector(be, options, volume, lattice, pixel_size_A)
        single = options.ang is None and options.nr_uniform is None
        path = Path(f"{root}.mrc" if single else f"{root}.mrcs")
        if single:
            image = projector.images(dataset, np.arange(1))
            write_mrc(path, image[0], pixel_size_A, projector.dtype, stack=True)
            shown, kept, star = image, np.arange(1), None
        else:
            shown, kept = write_stack(job, options, projector, dataset, path)
            star = Path(f"{root}.star")
            write_table(star, path, dataset.subset(kept), projector)
        write_report(job, options, path, shown, len(kept), pixel_size_A, time.monotonic() - began)
        job.progress.line(f" {path}: {len(kept)} projections, {duration(time.monotonic() - began)}")
    return Result(path, star, len(kept))


# ---- what is projected, and how it is seen ---------------------------------------------------------------------------


def read_reference(options: Options) -> tuple[np.ndarray, float]:
    """The map times --mask, and its pixel, A."""
    volume, pixel_size_A = read_map(options.map, "i", options.angpix)
    shape = " x ".join(map(str, volume.shape[::-1]))
    if len(set(volume.shape)) != 1 or len(volume) % 2:
        raise InputError(
            f"--i {options.map}: is {shape} px, expected an even cube; use vitreous image-handler --new_box"
        )
    if not pixel_size_A > 0:
        raise InputError(f"--i {options.map}: the header has no pixel size, expected one; give --angpix")
    if options.mask:
        mask, _ = read_map(options.mask, "mask")
        same_grid(options.mask, "mask", mask, volume.shape, f"the map {options.map}")
        volume = volume * mask
    return volume, pixel_size_A


def make_lattice(options: Options, box: int, pixel_size_A: float) -> VolumeLattice:
    """The map's lattice out to --maxres."""
    radius_px = box / 2
    if options.maxres:
        radius_px = min(radius_px, float(round_half_up(box * pixel_size_A / options.maxres)))
    return VolumeLattice(box, options.pad, max(radius_px, 1.0))


def make_dataset(options: Options, box: int, pixel_size_A: float) -> Dataset:
    """The particles of --ang, or made-up ones."""
    if options.ang:
        return read_views(options, pixel_size_A)
    n = options.nr_uniform or 1
    euler_deg = np.array([[options.rot, options.tilt, options.psi]])
    shift_A = np.array([[options.xoff, options.yoff]]) * pixel_size_A
    if options.nr_uniform:
        euler_deg = random_orientations(np.arange(n), options.random_seed, DIRECTION_STREAM) - [180, 0, 180]
        shift_A = np.zeros((n, 2))
    optics = [OpticsGroup("opticsGroup1", 1, 300.0, 2.7, 0.1, pixel_size_A, box)]
    particles = Particles.default(n, euler_deg=euler_deg, shift_A=shift_A)
    columns = {"rlnImageName": np.full(n, "", object), "rlnOpticsGroup": np.ones(n, int)}
    columns |= dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), euler_deg.T))
    table = ParticleInput("", {}, optics_columns(optics), columns)
    return Dataset(optics, ["made up"], Exposures.single(1), particles, [""], ["all"], input=table)


def read_views(options: Options, pixel_size_A: float) -> Dataset:
    """The particles of --ang; their images need not exist, unless they are to be subtracted from."""
    star = read_star(options.ang)
    found = [block for block in star.values() if block.kind == "loop" and "rlnAngleRot" in block]
    if not found:
        raise InputError(f"--ang {options.ang}: found no column rlnAngleRot, expected orientations; give a data.star")
    root = None if options.subtract_exp else "."
    if "rlnImageName" in found[0]:
        return read_particles(options.ang, need_ctf=options.ctf, need_box=options.subtract_exp, root=root)
    if options.subtract_exp:
        raise InputError(f"--ang {options.ang}: found no column rlnImageName, expected one for --subtract_exp")
    n = found[0].n_rows
    found[0].columns["rlnImageName"] = np.array([f"{i:06d}@none" for i in range(1, n + 1)], object)
    if "optics" not in star and "rlnDetectorPixelSize" not in found[0]:
        group = OpticsGroup("opticsGroup1", 1, 300.0, 2.7, 0.1, pixel_size_A, 0)
        star = {"optics": optics_columns([group]), "particles": found[0].columns | {"rlnOpticsGroup": np.ones(n, int)}}
    path = Path(f"{options.output}_views.star")  # the list with names for the images that are made now
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_star(path, star, allow_nan=True)
        return read_particles(path, need_ctf=options.ctf, need_box=False, root=".")
    finally:
        path.unlink(missing_ok=True)


def with_offsets(dataset: Dataset, options: Options, pixel_size_A: float) -> Dataset:
    """The particles with the random offsets of --sigma_offset, a function of the seed and the row."""
    p = dataset.particles
    shift_A = p.shift_A.copy()
    if options.sigma_offset:
        draw = np.random.Generator(np.random.Philox(key=[options.random_seed, OFFSET_STREAM]))
        shift_A[:, :2] += options.sigma_offset * pixel_size_A * draw.standard_normal((int(p.row.max()) + 1, 2))[p.row]
    return dataset.with_particles(shift_A=shift_A)


# ---- the work --------------------------------------------------------------------------------------------------------


class Projector:
    """Images of a map for any particles of a dataset, with noise."""

    def __init__(self, be, options: Options, volume, lattice: VolumeLattice, pixel_size_A: float):
        self.be, self.options, self.lattice, self.pixel_size_A = be, options, lattice, pixel_size_A
        self.volume_ft, _ = reference_transform(volume, lattice, be.n_threads)
        self.choice = CtfChoice(options.ctf, options.ctf_intact_first_peak, options.ctf_phase_flip)
        self.dtype = np.float16 if options.float16 else np.float32
        self.spectra = read_spectra(options.model_noise, lattice.n_shells) if options.model_noise else None

    def images(self, dataset: Dataset, indices) -> np.ndarray:
        """(n, box, box) float32 projections for the particles at ``indices``, in their order."""
        box, i_optics = self.lattice.box, dataset.particles.optics[indices]
        out = np.empty((len(indices), box, box), np.float32)
        for group in np.unique(i_optics):
            same = np.flatnonzero(i_optics == group)
            views = view_batch(dataset, indices[same])
            squared = self.options.ctf2 or (self.options.subtract_exp and views.optics.premultiplied)
            on_grid = replace(
                views.optics, box=box, pixel_size_A=self.pixel_size_A, ctf_corrected=False, phase_flipped=False
            )
            views = replace(views, optics=on_grid)
            out[same] = project(
                self.be, self.volume_ft, views, self.lattice, self.pixel_size_A, self.choice, squared_ctf=squared
            )
            if self.options.add_noise:
                out[same] += self.noise(dataset.particles.row[indices[same]], int(group))
        return out

    def noise(self, rows, group: int) -> np.ndarray:
        """(n, box, box) float32, a function of the seed and the particle."""
        box, options = self.lattice.box, self.options
        if self.spectra is None:
            return white_noise(rows, options.random_seed, box) * np.float32(options.white_noise)
        if group >= len(self.spectra):
            raise InputError(
                f"--model_noise {options.model_noise}: holds {len(self.spectra)} noise spectra, expected one for "
                f"optics group {group + 1}; give the model.star of these particles"
            )
        return model_noise(self.be, rows, options.random_seed, self.spectra[group], box)


def read_spectra(path: str, n_shells: int) -> list[np.ndarray]:
    """(n_shells,) sigma2 of each optics group (or group, before RELION 3.1) of a model.star; the last one goes on."""
    spectra = []
    for block in read_star(path).values():
        if "rlnSigma2Noise" in block.columns:
            found = np.atleast_1d(np.asarray(block.columns["rlnSigma2Noise"], float))[:n_shells]
            if not (np.isfinite(found) & (found >= 0)).all():
                raise InputError(
                    f"--model_noise {path}: rlnSigma2Noise holds values below 0 or none, expected 0 or more"
                )
            spectra.append(np.r_[found, np.full(n_shells - len(found), found[-1])])
    if not spectra:
        raise InputError(f"--model_noise {path}: found no rlnSigma2Noise, expected noise spectra; give a model.star")
    return spectra


def write_stack(job: Job, options: Options, projector: Projector, dataset: Dataset, path: Path):
    """Write the projections, or the particles less them; returns the first few, and which particles they are of."""
    box, order = projector.lattice.box, np.flatnonzero(dataset.usable)
    chunks = [order[i : i + batch_size(box)] for i in range(0, len(order), batch_size(box))]
    shown: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    bad_of_all: dict[int, str] = {}
    with (
        StackWriter(path, None, box, projector.pixel_size_A, projector.dtype) as writer,
        job.progress.bar("Projecting", len(order)) as bar,
    ):
        for indices, experiment, bad in particle_images(options, dataset, chunks, box):
            bad_of_all |= bad
            good = ~np.isin(indices, list(bad))
            images = projector.images(dataset, indices[good])
            if experiment is not None:
                images = experiment[good] - images
            writer.write(images)
            kept.append(indices[good])
            if sum(map(len, shown)) < SHOWN:
                shown.append(images[:SHOWN])
            bar.advance(len(indices))
            job.check_abort()
        if not any(map(len, kept)):
            raise InputError(
                f"--ang {options.ang}: no image could be used, the first: {next(iter(bad_of_all.values()), 'none')}"
            )
    tell_quarantined(job, dataset.quarantine(bad_of_all), set(dataset.quarantined))
    return np.concatenate(shown)[:SHOWN], np.concatenate(kept)


def particle_images(options: Options, dataset: Dataset, chunks, box: int) -> Iterator[tuple]:
    """(indices, images or None, bad) of each chunk; images are read ahead with --subtract_exp."""
    if not options.subtract_exp:
        yield from ((indices, None, {}) for indices in chunks)
        return
    for optics in dataset.optics:
        if optics.box != box:
            raise InputError(
                f"--ang {options.ang}: optics group {optics.name} has images of {optics.box} px, expected {box} as the "
                "map has, for --subtract_exp; rescale the map"
            )
    p = dataset.particles
    root = find_root(options.ang, dataset.image_files)
    with ImageSource(p.image_file, p.image_section, dataset.image_files, root, box=box) as source:
        yield from source.prefetch(chunks)


def write_table(path: Path, stack: Path, dataset: Dataset, projector: Projector) -> None:
    """The particle file: the input's columns, the new image names, the map's pixel and box."""
    names = np.empty(len(dataset.input.particles["rlnOpticsGroup"]), object)
    rows = dataset.particles.row
    names[rows] = [f"{i:06d}@{stack}" for i in range(1, len(rows) + 1)]
    columns = dict(dataset.input.particles) | {"rlnImageName": names}
    for i, label in enumerate(("rlnOriginXAngst", "rlnOriginYAngst")):
        columns[label] = np.zeros(len(names))
        columns[label][rows] = dataset.particles.shift_A[:, i]
    n = len(dataset.optics)
    sizes = {"rlnImagePixelSize": np.full(n, projector.pixel_size_A), "rlnImageSize": np.full(n, projector.lattice.box)}
    optics = dict(dataset.input.optics) | sizes | {"rlnImageDimensionality": np.full(n, 2)}
    source = replace(dataset.input, particles=columns, optics=optics)
    write_particles(path, replace(dataset, input=source, quarantined={}), results=False)


# ---- what is told ----------------------------------------------------------------------------------------------------


def tell(job: Job, dataset: Dataset, lattice: VolumeLattice, pixel_size_A: float) -> None:
    """Print what will be made and the memory it takes; InputError where that is not there."""
    for note in getattr(dataset.input, "notes", ()):
        job.warning(note)
    n = batch_size(lattice.box)
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": len(dataset) * 700,
        "map and its transform": 8 * lattice.box**3 + 8 * lattice.n_samples + 8 * lattice.box * lattice.ny * lattice.nx,
        "batches of images": int(n * lattice.box**2 * 2 * BYTES_PER_PIXEL),
        "pieces being transformed": 128 << 20,
    }
    job.progress.line(f" {len(dataset)} projections of {lattice.box} px, {pixel_size_A:g} A per px")
    job.tell_memory(parts, "give --pad 1 or a larger --maxres")


def write_report(
    job: Job, options: Options, path: Path, images, n_images: int, pixel_size_A: float, seconds: float
) -> None:
    """report.html beside the stack."""
    from vitreous.report.reconstruct import project_report

    rows = made_with(options, seconds, ("memory", human(peak_bytes()), "", ""))
    job.write_report(project_report(str(path), images, n_images, pixel_size_A, rows))
