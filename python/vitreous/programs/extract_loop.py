"""The stream from micrographs to stacks: one thread reads ahead, this one computes, one writes behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.engine import extract as engine
from vitreous.errors import InputError
from vitreous.io import extracted
from vitreous.io.extracted import Columns
from vitreous.io.micrographs import CountedStackWriter
from vitreous.io.mrc import StackReader
from vitreous.job.buffers import Buffers
from vitreous.programs.extract_plan import Plan, Task

SAMPLES, SAMPLE_BYTES = 1000, 32 << 20  # of images kept for the report: at most so many, and so large
FEW = 10


@dataclass
class Outcome:
    """What came of one micrograph.

    Attributes
    ----------
    failed : why nothing was written; empty where all is well
    notes : what the user should know
    n_left_out : particles without a usable image
    background : (n, 2) mean and standard deviation of each particle's background, before normalisation
    sample : (m, b, b) float32 images for the report
    """

    task: Task
    shape: tuple[int, int] = (0, 0)
    columns: Columns = field(default_factory=dict)
    failed: str = ""
    notes: list[str] = field(default_factory=list)
    n: int = 0
    n_left_out: int = 0
    n_dust: int = 0
    background: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    sample: np.ndarray | None = None
    bytes_read: int = 0
    bytes_written: int = 0


class Reader:
    """Micrographs in order, each read while the one before is worked on; their memory is used again."""

    def __init__(self):
        self._buffers = Buffers()
        self.give_back = self._buffers.give_back  # the caller is done with an image that ``read`` gave

    def read(self, path: str) -> np.ndarray:
        """(ny, nx) float32 of the first section; raises InputError."""
        with StackReader(path) as reader:
            if reader.n_sections > 1:
                raise InputError(
                    f"{path}: has {reader.n_sections} sections, expected one image; give the sum of the "
                    "movie, or "
                    "a single micrograph"
                )
            reader.require_whole()
            return reader.read([1], self._buffers.take((1, *reader.shape)))

    def ahead(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, np.ndarray | Exception]]:
        """(task, its micrograph as (1, ny, nx), or what went wrong); one more is being read."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.read, task.name) for task in tasks[:1]]
            for i, task in enumerate(tasks):
                current = waiting.pop()
                if i + 1 < len(tasks):
                    waiting.append(pool.submit(self.read, tasks[i + 1].name))
                try:
                    found: Any = current.result()
                except (InputError, OSError) as error:
                    found = error
                yield task, found


class Behind:
    """Runs jobs in order on one thread, at most a few ahead of it; the first error of a job is raised by ``put``."""

    def __init__(self, most: int = 2):
        self.pool = Buffers()  # of the images that wait to be written
        self._jobs: queue.Queue = queue.Queue(most)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is None:
                try:
                    job()
                except BaseException as error:
                    self._error = error

    def put(self, job: Callable[[], Any]) -> None:
        """Do ``job()`` after those given before."""
        if self._error is not None:
            raise self._error
        self._jobs.put(job)

    def close(self) -> None:
        """Wait for all jobs; raises what went wrong."""
        self._jobs.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:  # what was given before is finished all the same, so that no half stack stays behind
            self._jobs.put(None)
            self._thread.join()


def run_tasks(plan: Plan, tasks: Sequence[Task], be: Any, done: Callable[[Outcome], None]) -> list[Outcome]:
    """Extract from every micrograph of ``tasks``; ``done`` is called after each. A bad one does not end the run."""
    outcomes, reader = [], Reader()
    tables: dict[float, tuple[engine.Recipe, engine.Tables]] = {}
    samples: list[np.ndarray] = []
    with Behind() as behind:
        for task, image in reader.ahead(tasks):
            if isinstance(image, Exception):
                outcome = Outcome(task, failed=_text(image))
            else:
                pixel_A = plan.micrograph_pixel_A(task)
                if pixel_A not in tables:
                    recipe = plan.options.recipe(pixel_A)
                    tables[pixel_A] = recipe, engine.prepare(recipe)
                outcome = extract_one(plan, task, image[0], *tables[pixel_A], be, behind, few_enough(samples))
                reader.give_back(image)
            samples += [] if outcome.sample is None else [outcome.sample]
            outcomes.append(outcome)
            done(outcome)
    return outcomes


def few_enough(samples: Sequence[np.ndarray]) -> bool:
    """Whether one more micrograph's images may be kept for the report."""
    return sum(map(len, samples)) < SAMPLES and sum(a.nbytes for a in samples) < SAMPLE_BYTES


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def extract_one(
    plan: Plan,
    task: Task,
    image: np.ndarray,
    recipe: engine.Recipe,
    tables: engine.Tables,
    be: Any,
    behind: Behind,
    want_sample: bool,
) -> Outcome:
    """Extract the particles of one micrograph and hand them to the writing thread."""
    outcome = Outcome(task, image.shape, bytes_read=image.nbytes)
    try:
        positions = plan.positions(task, image.shape)
        _refuse_image(task.name, image, recipe)
    except InputError as error:
        outcome.failed = str(error)
        return outcome
    outcome.notes += positions.notes
    inside = engine.touches(image.shape, positions.centre_px, recipe.box)
    if len(inside) and not inside.any():
        outcome.failed = _outside(task, positions.centre_px, image.shape)
        return outcome
    if not inside.all():
        outcome.notes.append(
            f"{task.name}: {int((~inside).sum())} of {len(inside)} boxes are outside of the "
            "micrograph and are "
            "left out: do the coordinates belong to this pixel size?"
        )
    rows = np.flatnonzero(inside)
    task.stem.parent.mkdir(parents=True, exist_ok=True)
    _extract_rows(plan, task, image, positions, rows, recipe, tables, be, behind, want_sample, outcome)
    outcome.n_left_out += int((~inside).sum())
    if 0 < outcome.n < FEW:
        outcome.notes.append(
            f"{task.name}: has {outcome.n} particles only; noise and scale of so few cannot be estimated well"
        )
    return outcome


def _refuse_image(name: str, image: np.ndarray, recipe: engine.Recipe) -> None:
    ny, nx = image.shape
    if recipe.box > min(ny, nx):
        raise InputError(
            f"{name}: is {nx} x {ny} px, expected at least the box of {recipe.box} px; give a smaller --extract_size"
        )
    some = image[:: max(1, ny // 64), :: max(1, nx // 64)]
    if not np.isfinite(some).any():
        raise InputError(f"{name}: has no pixel that is a number, expected an image; make the micrograph again")
    if some.min() == some.max() and image.min() == image.max():
        raise InputError(f"{name}: all pixels are {some.flat[0]:g}, expected an image; make the micrograph again")


def _outside(task: Task, centre_px: np.ndarray, shape: tuple[int, int]) -> str:
    ny, nx = shape
    (x0, y0), (x1, y1) = centre_px.min(axis=0), centre_px.max(axis=0)
    where = task.source or "the refined particles"
    return (
        f"{task.name}: all {len(centre_px)} boxes are outside of its {nx} x {ny} px (x {x0} to {x1}, y {y0} to "
        f"{y1} in {where}), "
        "expected positions inside; were they picked at another pixel size?"
    )


def _extract_rows(plan, task, image, positions, rows, recipe, tables, be, behind, want_sample, outcome) -> None:
    options = plan.options
    pixel_A = plan.micrograph_pixel_A(task) * recipe.box / recipe.rescaled
    kept: list[np.ndarray] = []
    background = []
    writer = None
    ctf = positions.ctf if positions.ctf is None or len(positions.ctf) == 1 else positions.ctf[rows]
    psi = None if positions.psi_deg is None else positions.psi_deg[rows]
    batches = engine.extract(be, image, positions.centre_px[rows], recipe, tables, ctf=ctf, optics=positions.optics,
                             psi_deg=psi, first_id=task.i << 24, take=behind.pool.take)  # fmt: skip
    for batch in batches:
        stats = batch.stats
        good = np.isfinite(stats).all(axis=1) & ~((stats[:, engine.BACKGROUND_STD] == 0) & recipe.normalise)
        images, stats = (batch.images, stats) if good.all() else (batch.images[good], stats[good])
        outcome.n_left_out += int((~good).sum())
        outcome.n_dust += int(stats[:, engine.N_DUST].sum())
        background.append(stats[:, [engine.BACKGROUND_MEAN, engine.BACKGROUND_STD]])
        if not len(images):
            continue
        kept.append(rows[batch.rows[good]])
        if want_sample and outcome.sample is None:
            outcome.sample = images[:: max(1, len(images) // 16)][:16].copy()
        if writer is None:
            writer = CountedStackWriter(
                task.stack, None, recipe.final, pixel_A, np.float16 if options.float16 else np.float32
            )
            behind.put(writer.__enter__)
        behind.put(_write(writer, images, stats, lambda done=batch.images: behind.pool.give_back(done)))
    if outcome.n_left_out:
        outcome.notes.append(f"{task.name}: {outcome.n_left_out} boxes hold pixels that are no numbers, or have a "
                             "constant background, and are left out")  # fmt: skip
    _finish(task, positions, kept, background, writer, behind, outcome)
    outcome.bytes_written = outcome.n * recipe.final**2 * (2 if options.float16 else 4)


def _write(
    writer: CountedStackWriter, images: np.ndarray, stats: np.ndarray, done: Callable[[], None]
) -> Callable[[], None]:
    known = (
        stats[:, engine.LEAST].min(),
        stats[:, engine.LARGEST].max(),
        stats[:, engine.SUM].sum(),
        stats[:, engine.SQUARES].sum(),
    )

    def write() -> None:
        try:
            writer.write_counted(images, *known)
            done()
        except BaseException as error:  # the file under its temporary name goes
            writer.__exit__(type(error), error, error.__traceback__)
            raise

    return write


def _finish(task, positions, kept, background, writer, behind, outcome) -> None:
    """The table of the micrograph, and the end of its stack; the table comes last, as it says that all is there."""
    rows = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    outcome.n = len(rows)
    outcome.background = np.concatenate(background) if background else np.zeros((0, 2))
    images = [f"{k:06d}@{task.stack}" for k in range(1, len(rows) + 1)]
    outcome.columns = positions.columns(rows, images)

    def end() -> None:
        if writer is not None:
            writer.__exit__(None, None, None)
        extracted.write_extract_star(task.star, outcome.columns)

    behind.put(end)
