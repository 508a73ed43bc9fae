"""Particles found in micrographs: by blobs or by templates, one coordinate file for each micrograph."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine.pick_size import work_size
from vitreous.errors import InputError
from vitreous.io.coordinates import (
    coordinate_path,
    read_coordinates,
    write_coordinate_list,
    write_coordinates,
    write_suffix_file,
)
from vitreous.io.micrograph_list import MicrographList, read_micrograph_list
from vitreous.io.mrc import StackReader, write_mrc
from vitreous.io.star import Block, write_star
from vitreous.job.buffers import Buffers
from vitreous.job.job import Job, command_line
from vitreous.job.memory import peak_bytes
from vitreous.job.rundir import TEMPORARY
from vitreous.programs.autopick_maps import MapFiles
from vitreous.programs.autopick_options import Options
from vitreous.programs.launch import open_job, record_options, with_unfinished
from vitreous.programs.option_text import value_rows
from vitreous.report.autopick import AutopickRun, Shown, autopick_report, binned

__all__ = ["Options", "Result", "run"]

MOST_WITH_MAPS = 30  # maps of figures of merit fill a disk
N_SHOWN = 6  # micrographs in the report


def spread(n: int) -> list[int]:
    """A few of n, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(N_SHOWN, n))}) if n else []


class Memory:
    """What is kept from one micrograph to the next.

    Attributes
    ----------
    buffers : of micrographs
    small : micrograph -> itself binned, and the factor, for the report
    """

    def __init__(self, names: Sequence[str]):
        self.buffers = Buffers()
        self.small: dict[str, tuple[np.ndarray, int]] = {}
        self._wanted = {i: names[i] for i in spread(len(names))}

    def keep_small(self, row: int, image: np.ndarray) -> None:
        """Keep a micrograph's picture where the report will show it."""
        if row in self._wanted:
            self.small[self._wanted[row]] = binned(image)


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Parameters
    ----------
    coordinates : micrograph -> its coordinate file, of all micrographs of the table that have one
    counts : picks of each of them
    mean_fom : mean figure of merit of each, 0 where there are no picks
    failed : micrograph -> why it could not be picked
    report : the page
    """

    coordinates: dict[str, Path]
    counts: np.ndarray
    mean_fom: np.ndarray
    failed: dict[str, str]
    report: Path | None


def run(options: Options, be, comm) -> Result:
    """Pick every micrograph; each one's coordinates are written when it is done."""
    check(options)
    options = comm.map(with_seed, [options])[0]  # one for all processes
    with open_job(options, comm, backend=be.name, threads=be.n_threads) as job:
        began = time.monotonic()
        job.how_to_continue = with_unfinished
        micrographs = read_micrograph_list(options.micrographs, options.angpix, options.ctf or options.LoG_use_ctf)
        warn_pixel_size(job, options, micrographs)
        picker = make_picker(be, options, micrographs)
        for text in picker.notes:
            job.warning(text)
        todo = comm.map(lambda m: to_do(job, options, m), [micrographs])[0]  # before any of them writes
        if comm.rank == 0 and picker.projections is not None:
            path = options.folder + "reference_projections.mrcs"
            write_mrc(path, picker.projections, picker.options.angpix_ref, stack=True)
        memory = Memory(micrographs.names)
        failed = pick_all(job, be, comm, options, micrographs, picker, todo, memory)
        record_options(job, picker.options)
        if todo and len(failed) == len(todo):
            name, why = next(iter(failed.items()))
            raise InputError(
                f"{name}: {why}" if len(todo) == 1 else f"all {len(todo)} micrographs failed, the first: {name}: {why}"
            )
        result = (
            finish(job, picker.options, micrographs, failed, picker, memory, time.monotonic() - began)
            if comm.rank == 0
            else None
        )
    return result or Result({}, np.zeros(0, int), np.zeros(0), failed, None)


def with_seed(options: Options) -> Options:
    """The options with the seed that the user left open."""
    if options.random_seed is not None:
        return options
    return options.derive("from the clock", random_seed=secrets.randbelow(2**31 - 1))


def make_picker(be, options: Options, micrographs: MicrographList):
    """What finds particles; each kind is imported when it is used, as short runs would spend more on that than on picking."""
    if options.LoG:
        from vitreous.programs.autopick_log import LogPicker

        return LogPicker(be, options, micrographs)
    from vitreous.programs.autopick_template import TemplatePicker

    return TemplatePicker(be, options, micrographs)


def check(options: Options) -> None:
    """Refuse options that contradict each other or lack another."""
    if options.micrographs is None:
        raise InputError(
            "--i: found none, expected micrographs; give a STAR file, or a pattern in quotes with --angpix"
        )
    if options.LoG == bool(options.ref):
        found = "both" if options.ref else "neither"
        raise InputError(f"--LoG, --ref: found {found}, expected one of them: blobs, or templates")
    if options.LoG:
        low, high = options.LoG_diam_min, options.LoG_diam_max
        if low is None or high is None or not low <= high:
            raise InputError(
                f"--LoG_diam_min, --LoG_diam_max: found {low} and {high}, expected the least and the largest "
                "diameter of the "
                "particles in A; give both"
            )
    if options.write_fom_maps and options.read_fom_maps:
        raise InputError(
            "--write_fom_maps, --read_fom_maps: found both, expected one; leave out the one you do not mean"
        )
    if options.keep_best_of_pairs not in (None, "yes", "no"):
        raise InputError(f"--keep_best_of_pairs: found {options.keep_best_of_pairs}, expected yes or no; give one of them")
    if not options.pickname or "/" in options.pickname:
        raise InputError(f"--pickname: found {options.pickname!r}, expected a word without a slash; give one")


def warn_pixel_size(job: Job, options: Options, micrographs: MicrographList) -> None:
    """Say where the first micrograph's header has another pixel size than the table."""
    if options.angpix is not None and micrographs.star and abs(options.angpix - micrographs.pixel_size_A) > 1e-3:
        job.warning(
            f"--angpix {options.angpix:g}: the STAR file's pixel size of {micrographs.pixel_size_A:g} A is used"
        )
    try:
        with StackReader(micrographs.names[0]) as reader:
            header_A = reader.pixel_size_A
    except InputError:
        return
    if header_A > 0 and abs(header_A - 1) > 1e-3 and abs(header_A / micrographs.pixel_size_A - 1) > 0.05:
        job.warning(
            f"{micrographs.names[0]}: the header has {header_A:g} A per pixel, expected the "
            f"{micrographs.pixel_size_A:g} A of the "
            "table, which are used; check which is right: a wrong one finds nothing"
        )


def to_do(job: Job, options: Options, micrographs: MicrographList) -> list[int]:
    """Rows of the micrographs to pick now; what a killed run left half-written goes."""
    clean_stale(options, micrographs)
    rows = list(range(len(micrographs)))
    if options.only_do_unfinished:
        rows = [i for i in rows if not coordinate_path(options.folder, micrographs.names[i], options.suffix).exists()]
        job.progress.line(f" {len(micrographs) - len(rows)} of {len(micrographs)} micrographs have coordinates already")
    if options.write_fom_maps and len(rows) > MOST_WITH_MAPS and not options.no_fom_limit:
        raise InputError(
            f"--write_fom_maps: found {len(rows)} micrographs, expected at most {MOST_WITH_MAPS}, as maps fill a "
            "disk; choose a "
            "few micrographs, or add --no_fom_limit"
        )
    return rows


def clean_stale(options: Options, micrographs: MicrographList) -> None:
    """Remove half-written files that a killed run left beside the coordinates."""
    folders = {coordinate_path(options.folder, name, options.suffix).parent for name in micrographs.names}
    for folder in folders:
        for path in folder.glob(f".*_{options.pickname}*.tmp") if folder.is_dir() else ():
            if TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def pick_all(
    job: Job, be, comm, options: Options, micrographs: MicrographList, picker, todo: list[int], memory: Memory
) -> dict[str, str]:
    """Pick the micrographs ``todo``; returns those that failed, with the reason."""
    mine, outcomes = comm.share(todo), []
    tell_plan(job, options, micrographs, picker, todo)

    def one(row: int) -> tuple[str, str, int, float]:
        job.check_abort()
        start = time.monotonic()
        try:
            n = pick_one(options, micrographs, picker, row, memory)
            return micrographs.names[row], "", n, time.monotonic() - start
        except InputError as error:
            return micrographs.names[row], str(error), 0, time.monotonic() - start

    with (
        job.progress.bar("Autopicking", len(todo), "micrographs") as bar,
        ThreadPoolExecutor(picker.n_parallel, initializer=lambda: be.lib.set_num_threads(picker.n_threads)) as pool,
    ):
        try:
            for outcome in pool.map(one, mine):
                outcomes.append(outcome)
                tell_outcome(job, *outcome)
                bar.advance(comm.size)  # the others have done about as many
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    outcomes = comm.gather(outcomes)
    for outcome in outcomes[len(mine) :] if comm.rank == 0 else ():  # of the other processes
        tell_outcome(job, *outcome)
    return {name: why.removeprefix(f"{name}: ") for name, why, *_ in outcomes if why}


def tell_outcome(job: Job, name: str, why: str, n: int, seconds: float) -> None:
    """One micrograph in the log, and why it failed on the screen too."""
    job.log.event("micrograph", name=name, n_picks=n, seconds=round(seconds, 3), error=why)
    if why:
        job.warning(why if why.startswith(name) else f"{name}: {why}")


def tell_plan(job: Job, options: Options, micrographs: MicrographList, picker, rows: list[int]) -> None:
    """Sizes, what is odd about them, and memory, before the work."""
    for row in rows:
        try:
            with StackReader(micrographs.names[row]) as reader:
                ny, nx = reader.shape
        except InputError:
            continue  # said when its turn comes
        size = size_of(options, micrographs, nx, ny)
        for note in size.notes:
            job.warning(note)
        parts = picker.memory(size)
        kept = f" in place of {size.asked}, whose FFT is slow" if size.asked not in (0, size.work) else ""
        job.progress.line(f" {len(rows)} micrographs of {nx} x {ny} px, maps of {size.work} px{kept} ({picker.describe()})")
        job.progress.line(job.check_memory(parts, "give a smaller --shrink, a coarser --lowpass or fewer threads --j"))
        job.log.event("plan", nx=nx, ny=ny, full=size.full, band=size.band, work=size.work, memory_bytes=parts)
        return


def size_of(options: Options, micrographs: MicrographList, nx: int, ny: int):
    """Sizes for micrographs of nx x ny px."""
    return work_size(
        nx,
        ny,
        micrographs.pixel_size_A,
        lowpass_A=options.lowpass,
        shrink=options.shrink,
        optimise=not options.skip_optimise_scale,
        extra_px=options.extra_pad,
    )


def pick_one(options: Options, micrographs: MicrographList, picker, row: int, memory: Memory) -> int:
    """Pick one micrograph and write what was found; returns the number of picks."""
    name = micrographs.names[row]
    path = coordinate_path(options.folder, name, options.suffix)
    maps = MapFiles(str(path.with_suffix("")), micrographs.pixel_size_A, options)
    with StackReader(name) as reader:
        reader.require_whole()
        if reader.n_sections != 1:
            raise InputError(f"{name}: has {reader.n_sections} sections, expected one micrograph; sum the movie first")
        ny, nx = reader.shape
        size = size_of(options, micrographs, nx, ny)
        image = None if options.read_fom_maps else reader.read([1], memory.buffers.take((1, ny, nx)))
    if image is None:
        picks = picker.read(maps, size)
    else:
        picks = picker.pick(image[0], row, size, maps)
        memory.keep_small(row, image[0])
        memory.buffers.give_back(image)
    write_coordinates(path, picker.columns(picks))
    return len(picks)


def finish(
    job: Job, options: Options, micrographs: MicrographList, failed, picker, memory: Memory, seconds: float
) -> Result:
    """Lists, summary, report and the last lines, from all coordinate files that are there."""
    paths = {name: coordinate_path(options.folder, name, options.suffix) for name in micrographs.names}
    paths = {name: path for name, path in paths.items() if path.exists() and name not in failed}
    tables = {name: read_coordinates(path) for name, path in paths.items()}
    foms = [
        np.asarray(table.get("rlnAutopickFigureOfMerit", np.zeros(table.n_rows)), float) for table in tables.values()
    ]
    counts = np.array([len(fom) for fom in foms], int)
    means = np.array([fom.mean() if len(fom) else 0.0 for fom in foms])
    write_coordinate_list(options.folder + f"{options.pickname}.star", list(paths), [str(p) for p in paths.values()])
    write_suffix_file(options.folder + f"coords_suffix_{options.pickname}.star", options.micrographs)
    if paths:
        columns = {"rlnMicrographName": list(paths), "rlnAutopickFigureOfMerit": means, "rlnGroupNrParticles": counts}
        write_star(options.folder + "summary.star", [Block("", columns=columns)])
    job.progress.line(f" Total number of particles from {len(paths)} micrographs is {counts.sum()}")
    job.progress.line(f" i.e. on average there were {counts.mean() if len(counts) else 0:.0f} particles per micrograph")
    if failed:
        job.progress.line(f" {len(failed)} micrographs could not be picked (see the warnings); the others are done")
    job.log.event(
        "picks", n_micrographs=len(paths), n_picks=int(counts.sum()), n_failed=len(failed), seconds=round(seconds, 3)
    )
    page = autopick_report(AutopickRun(
        title=f"Picks: {options.folder}", option_rows=list(value_rows(options)), names=list(paths), counts=counts, foms=foms,
        failed=failed, shown=shown(picker, tables, micrographs, memory), facts=picker.facts(), machine={
            "command": command_line(), "version": __version__, "seconds": round(seconds, 1),
            "peak memory, GB": round(peak_bytes() / 2**30, 2)},
    ))  # fmt: skip
    return Result(paths, counts, means, failed, job.write_report(page))


def shown(picker, tables: dict[str, Any], micrographs: MicrographList, memory: Memory) -> list[Shown]:
    """A few micrographs spread over the list, with their picks."""
    names = list(tables)
    chosen = [names[i] for i in spread(len(names))]
    out = []
    for name in chosen:
        small = memory.small.get(name)
        if small is None:  # picked by an earlier run, or elsewhere
            try:
                with StackReader(name) as reader:
                    small = binned(reader.read([1])[0])
            except InputError:
                continue
        table = tables[name]
        fom = np.asarray(table.get("rlnAutopickFigureOfMerit", np.zeros(table.n_rows)), float)
        diameter_px = picker.diameter_A / micrographs.pixel_size_A
        out.append(Shown(name, *small, table["rlnCoordinateX"], table["rlnCoordinateY"], fom, diameter_px))
    return out
