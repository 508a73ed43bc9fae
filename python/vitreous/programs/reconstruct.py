"""A map from particle images with known orientations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine.fsc import GOLD_STANDARD, fourier_shell_correlation
from vitreous.engine.reconstruct3d import reconstruct, reference_transform
from vitreous.engine.slices3d import CtfChoice
from vitreous.errors import InputError
from vitreous.io.images import ImageSource
from vitreous.io.mrc import write_mrc
from vitreous.io.particles import find_root, read_particles
from vitreous.io.star import read_star
from vitreous.job import batches
from vitreous.job.job import Job
from vitreous.job.memory import human, peak_bytes
from vitreous.job.progress import duration
from vitreous.job.volume_sums import insert_particles
from vitreous.model.band import round_half_up
from vitreous.model.dataset import Dataset
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice
from vitreous.programs.launch import made_with
from vitreous.programs.map_files import open_map_job, output_name, read_map
from vitreous.programs.reconstruct_options import Options

__all__ = ["Options", "Result", "run"]

INTERPRETER = 150 << 20  # Python and its libraries, as measured after the imports
PER_PARTICLE = 700  # bytes of a particle's row: its columns as numbers and as the text that was read
WORK = 256 << 20  # pieces of transforms that are worked on at once
FSC_LABELS = ("rlnFourierShellCorrelationCorrected", "rlnFourierShellCorrelation", "rlnGoldStandardFsc")
ANGLE_STREAM = 31  # of the random numbers of --angular_error and --shift_error


@dataclass(frozen=True, eq=False)
class Result:
    """What was written; the FSC of the halves is None without --half_maps."""

    path: Path
    volume: np.ndarray
    pixel_size_A: float
    n_particles: int
    half_paths: tuple[Path, ...]
    fsc: np.ndarray | None
    resolution_A: float | None


def run(options: Options, be: Any, comm: Any) -> Result:
    """Read, insert, divide, write."""
    began = time.monotonic()
    symmetry = Symmetry.parse(options.sym)
    path = Path(output_name(options.output))
    root = str(path.with_suffix(""))
    with open_map_job(options, root, comm, backend=be.name, threads=be.n_threads) as job:
        dataset = read(options)
        for note in getattr(dataset.input, "notes", ()):
            job.warning(note)
        order, dataset = chosen(options, dataset)
        lattice, pixel_size_A = make_lattice(options, dataset)
        if not options.ctf and not all(o.ctf_corrected for o in dataset.optics):
            job.warning("the contrast transfer is not corrected; give --ctf where the images need it")
        tell(job, options, dataset, order, lattice, pixel_size_A, symmetry)
        prior = read_fsc(options.fsc, lattice) if options.fsc else None
        sums, dataset = insert_all(be, comm, job, options, dataset, order, lattice, pixel_size_A)
        halves, fsc, resolution_A = [], None, None
        if comm.rank == 0:
            if options.half_maps:
                halves, fsc, resolution_A = write_halves(be, job, root, sums, lattice, pixel_size_A, symmetry)
            job.progress.line(" Reconstructing the map")
            volume = finish(be, sums, lattice, symmetry, prior)
            write_mrc(path, volume, pixel_size_A, stack=False)
            result = Result(path, volume, pixel_size_A, len(order), tuple(halves), fsc, resolution_A)
            write_report(job, options, result, lattice, time.monotonic() - began)
            took = duration(time.monotonic() - began)
            job.progress.line(f" {path}: {len(order)} particles, {took}, {human(peak_bytes())} of memory")
            return result
    return Result(path, np.zeros(0, np.float32), pixel_size_A, len(order), (), None, None)


# ---- what goes in ----------------------------------------------------------------------------------------------------


def read(options: Options) -> Dataset:
    """The particles, all 2D images with an even box."""
    dataset = read_particles(
        options.particles, need_ctf=options.ctf, root=options.img, max_bad_fraction=options.max_bad_fraction
    )
    for optics in dataset.optics:
        if optics.dimensionality != 2 or optics.box % 2:
            raise InputError(
                f"{options.particles}: optics group {optics.name} has {optics.dimensionality}D images of box "
                f"{optics.box}, expected 2D images with an even box; extract the particles again"
            )
    if not any(label in dataset.input.particles for label in ("rlnAngleRot", "rlnAngleTilt")):
        raise InputError(
            f"{options.particles}: found no column rlnAngleRot or rlnAngleTilt, expected 3D orientations; "
            "give the data.star of a 3D refinement"
        )
    return dataset


def chosen(options: Options, dataset: Dataset) -> tuple[np.ndarray, Dataset]:
    """Positions of the particles that --subset and --class leave, and the data with their halves and random errors."""
    p = dataset.particles
    kept = dataset.usable
    if options.subset:
        kept &= p.half == options.subset
    if options.only_class:
        kept &= p.class_number == options.only_class
    order = np.flatnonzero(kept)
    if not len(order):
        halves, classes = sorted(set(p.half.tolist())), sorted(set(p.class_number.tolist()))
        raise InputError(
            f"{options.particles}: found no particle with --subset {options.subset} and --class {options.only_class}, "
            f"expected some: halves are {halves[:4]}, classes {classes[:8]} (0 = none); give another, or leave them out"
        )
    if options.half_maps and not np.isin(p.half[order], (1, 2)).all():
        dataset = dataset.split_halves(options.random_seed)
    if options.half_maps and len(set(dataset.particles.half[order].tolist())) < 2:
        raise InputError(
            f"{options.particles}: found particles of one half alone, expected both; leave --half_maps out"
        )
    return order, with_errors(dataset, options)


def with_errors(dataset: Dataset, options: Options) -> Dataset:
    """The particles with the random errors of --angular_error and --shift_error, a function of the seed and the row."""
    if not options.angular_error and not options.shift_error:
        return dataset
    p = dataset.particles
    draw = np.random.Generator(np.random.Philox(key=[options.random_seed, ANGLE_STREAM]))
    normal = draw.standard_normal((int(p.row.max()) + 1, 5))[p.row]
    return dataset.with_particles(
        euler_deg=p.euler_deg + options.angular_error * normal[:, :3],
        shift_A=p.shift_A + options.shift_error * normal[:, 3 : 3 + p.shift_A.shape[1]],
    )


def make_lattice(options: Options, dataset: Dataset) -> tuple[VolumeLattice, float]:
    """Box of the first optics group, out to --maxres; and the map's pixel, A."""
    first = dataset.optics[0]
    pixel_size_A = options.angpix or first.pixel_size_A
    if not pixel_size_A > 0:
        raise InputError(
            f"{options.particles}: found a pixel size of {pixel_size_A} A, expected more than 0; give --angpix"
        )
    radius_px = first.box / 2
    if options.maxres:
        radius_px = min(radius_px, float(round_half_up(first.box * pixel_size_A / options.maxres)))
        if radius_px < 1:
            raise InputError(
                f"--maxres {options.maxres:g} A: is beyond the box of {first.box * pixel_size_A:g} A; give less"
            )
    return VolumeLattice(first.box, options.pad, radius_px), pixel_size_A


def weights(options: Options, dataset: Dataset) -> np.ndarray | None:
    """(n,) rlnParticleFigureOfMerit of --fom_weighting."""
    if not options.fom_weighting:
        return None
    column = dataset.input.particles.get("rlnParticleFigureOfMerit")
    if column is None:
        raise InputError(
            f"{options.particles}: found no column rlnParticleFigureOfMerit, expected it for "
            "--fom_weighting; leave the option out"
        )
    weight = np.asarray(column, float)[dataset.particles.row]
    if not (np.isfinite(weight) & (weight >= 0)).all():
        i = int(np.flatnonzero(~(weight >= 0))[0])
        raise InputError(
            f"{options.particles}: rlnParticleFigureOfMerit of particle {i + 1} is {weight[i]}, expected "
            "0 or more; correct it"
        )
    return weight


def read_fsc(path: str, lattice: VolumeLattice) -> np.ndarray:
    """(n_shells,) FSC of --fsc, kept between 0.001 and 0.999; 0.001 beyond its end."""
    for block in read_star(path).values():
        for label in FSC_LABELS:
            if label in block.columns:
                found = np.atleast_1d(np.asarray(block.columns[label], float))
                fsc = np.full(lattice.n_shells, 0.001)
                n = min(len(found), lattice.n_shells)
                fsc[:n] = np.clip(np.nan_to_num(found[:n]), 0.001, 0.999)
                return fsc
    raise InputError(
        f"--fsc {path}: found none of {', '.join(FSC_LABELS)}, expected one; give a postprocess.star or model.star"
    )


# ---- the work --------------------------------------------------------------------------------------------------------


def insert_all(
    be, comm, job: Job, options: Options, dataset: Dataset, order, lattice: VolumeLattice, pixel_size_A: float
):
    """Sums of all chosen particles, one volume per half with --half_maps; and the dataset with bad ones set aside."""
    particles = dataset.particles
    choice = CtfChoice(options.ctf, options.ctf_intact_first_peak, options.ctf_phase_flipped, options.only_flip_phases)
    subtract_ft = None
    if options.subtract:
        volume, _ = read_map(options.subtract, "subtract")
        if volume.shape != (lattice.box,) * 3:
            shape = " x ".join(map(str, volume.shape[::-1]))
            raise InputError(f"--subtract {options.subtract}: is {shape} px, expected {lattice.box} cubed; rescale it")
        subtract_ft, _ = reference_transform(volume, lattice, be.n_threads)
    boxes = np.array([o.box for o in dataset.optics])[particles.optics]
    folder = Path(options.img) if options.img else find_root(options.particles, dataset.image_files)
    known = set(dataset.quarantined)
    source = ImageSource(particles.image_file, particles.image_section, dataset.image_files, folder, box=boxes)
    with source, job.progress.bar("Inserting images", len(order)) as bar:

        def advance(n: int) -> None:
            bar.advance(n)
            job.check_abort()

        sums, dataset = insert_particles(
            be, comm, dataset, source, lattice, pixel_size_A, choice, order=order,
            volume_of=(particles.half - 1).astype(np.int32) if options.half_maps else None,
            weight=weights(options, dataset), subtract_ft=subtract_ft, max_bad=options.max_bad_fraction,
            advance=advance,
        )  # fmt: skip
    tell_quarantined(job, dataset, known)
    return sums, dataset


def finish(be, sums, lattice: VolumeLattice, symmetry: Symmetry, fsc=None) -> np.ndarray:
    """(box, box, box) float32 map of all volumes' sums together, which are used up."""
    total = sums[0]
    for other in sums[1:]:
        total += other
    if fsc is None:
        return reconstruct(be, total, lattice, symmetry=symmetry).volume
    variance = reconstruct(be, total.copy(), lattice, symmetry=symmetry).sigma2
    return reconstruct(be, total, lattice, symmetry=symmetry, tau2=fsc / (1 - fsc) * variance, minres_map=0).volume


def write_halves(be, job: Job, root: str, sums, lattice: VolumeLattice, pixel_size_A: float, symmetry: Symmetry):
    """Files of the unfiltered half maps, their FSC and the resolution in A where it falls below 0.143."""
    job.progress.line(" Reconstructing half maps")
    paths, volumes = [], []
    for half, total in enumerate(sums, 1):
        volumes.append(reconstruct(be, total.copy(), lattice, symmetry=symmetry).volume)
        paths.append(Path(f"{root}_half{half}_unfil.mrc"))
        write_mrc(paths[-1], volumes[-1], pixel_size_A, stack=False)
    fsc = fourier_shell_correlation(*volumes)
    last = resolved_shell(fsc, lattice)
    resolution_A = lattice.box * pixel_size_A / last
    job.progress.line(f" FSC of the halves, without a mask, is {GOLD_STANDARD} at {resolution_A:.2f} A")
    job.log.event("fsc", values=fsc.round(5).tolist(), resolution_A=resolution_A)
    return paths, fsc, resolution_A


def resolved_shell(fsc, lattice: VolumeLattice) -> int:
    """Last shell before the FSC first falls below 0.143, at least 1."""
    n = int(lattice.radius_px) + 1
    below = np.flatnonzero(fsc[1:n] < GOLD_STANDARD)
    return max(int(below[0]) if len(below) else n - 1, 1)


# ---- what is told ----------------------------------------------------------------------------------------------------


def forecast(
    dataset: Dataset, lattice: VolumeLattice, symmetry: Symmetry, n_volumes: int, subtract: bool
) -> dict[str, int]:
    """What takes memory -> bytes, at the peak, which is the division of the sums."""
    box = max(o.box for o in dataset.optics)
    sample = lattice.n_samples
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": len(dataset) * PER_PARTICLE,
        "sums over images": 12 * sample * n_volumes,
        "map": 4 * lattice.box**3 * (1 + 3 * (n_volumes > 1)),
        "transform back": 8 * sample + 8 * lattice.box * lattice.ny * lattice.nx,
        "batches of images": int(batches.batch_size(box) * box**2 * (batches.BYTES_PER_PIXEL + 16)),
        "pieces being transformed": WORK,
    }
    if n_volumes > 1:
        parts["sums of a half while it is divided"] = 12 * sample
    if symmetry.order > 1:
        parts["symmetry copies"] = 12 * sample
    if subtract:
        parts["map to subtract"] = 8 * sample
    return parts


def tell(
    job: Job, options: Options, dataset: Dataset, order, lattice: VolumeLattice, pixel_size_A: float, symmetry: Symmetry
):
    """Print what will be made and the memory it takes; InputError where that is not there."""
    limit_A = lattice.box * pixel_size_A / lattice.radius_px
    job.progress.line(
        f" {len(order)} of {len(dataset)} particles into {symmetry.name}, box {lattice.box} px of {pixel_size_A:g} A, "
        f"to {limit_A:.3g} A, padding {options.pad:g}"
    )
    n_volumes = 2 if options.half_maps else 1
    parts = forecast(dataset, lattice, symmetry, n_volumes, bool(options.subtract))
    shrink = "give --pad 1 or a larger --maxres" + (", or leave --half_maps out" if options.half_maps else "")
    job.tell_memory(parts, shrink)


def tell_quarantined(job: Job, dataset: Dataset, known: set[int]) -> None:
    """Particles set aside: each in the log, the first on the screen."""
    position = {int(row): i for i, row in enumerate(dataset.particles.row)}
    new = [row for row in dataset.quarantined if row not in known]
    for row in new:
        job.log.event("quarantined", image=dataset.image_name(position[row]), cause=dataset.quarantined[row])
    left_out = list(dataset.quarantined)
    if left_out:
        first = f"{dataset.image_name(position[left_out[0]])} ({dataset.quarantined[left_out[0]]})"
        job.warning(f"{len(left_out)} particles are left out, the first is {first}; all are in {job.dir.log}")


def write_report(job: Job, options: Options, result: Result, lattice: VolumeLattice, seconds: float) -> None:
    """report.html beside the map; matplotlib is imported only here."""
    from vitreous.report.reconstruct import reconstruct_report

    rows = made_with(options, seconds, ("memory", human(peak_bytes()), "", ""))
    frequency = np.arange(lattice.n_shells) / (lattice.box * result.pixel_size_A)
    page = reconstruct_report(
        str(result.path), result.volume, result.pixel_size_A, result.n_particles, Symmetry.parse(options.sym).name,
        frequency, result.fsc, result.resolution_A, rows,
    )  # fmt: skip
    job.write_report(page)
