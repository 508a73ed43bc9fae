"""What a user sees of a run: a bar on a terminal, else one plain line a minute, and lines that RELION's GUI reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LINE_EVERY_S = 60.0


def duration(seconds: float) -> str:
    """A time in words that are as exact as an estimate can be: 42 s, 7.3 min, 2.4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


class Bar:
    """Progress of one task over a known amount of work; the time left comes from the measured rate alone.

    Made by ``Progress.bar``. ``advance`` may be called often: it shows something at most once in ``every_s``.
    """

    def __init__(
        self, total: float, unit: str, show: Callable[[Bar], None], every_s: float, clock: Callable[[], float]
    ):
        self.total, self.unit, self.done = total, unit, 0.0
        self._show, self._every_s, self._clock = show, every_s, clock
        self._start = self._shown = clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._start

    @property
    def left_s(self) -> float | None:
        """Time left, s; None before the first work is done."""
        return self.elapsed_s * (self.total - self.done) / self.done if self.done > 0 else None

    def advance(self, n: float = 1) -> None:
        """Count ``n`` more units of work as done."""
        self.done = min(self.done + n, self.total)
        if self._clock() - self._shown >= self._every_s:
            self._shown = self._clock()
            self._show(self)

    def line(self) -> str:
        """The plain line: 12000/50000 particles, 3.2 min, about 10.1 min left (62 particles/s)."""
        text = f"{self.done:.0f}/{self.total:.0f} {self.unit}, {duration(self.elapsed_s)}"
        if self.done and self.elapsed_s > 0:
            text += f", about {duration(self.left_s or 0)} left ({self.done / self.elapsed_s:.3g} {self.unit}/s)"
        return text


class Progress:
    """Lines and bars on a stream; silent where ``verb`` is 0 (or for ranks other than the first)."""

    def __init__(
        self,
        verb: int = 1,
        out: TextIO | None = None,
        err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        line_every_s: float = LINE_EVERY_S,
    ):
        self.verb, self._clock, self._line_every_s = verb, clock, line_every_s
        self.out, self.err = out or sys.stdout, err or sys.stderr

    def line(self, text: str = "") -> None:
        """One line on the output, at once."""
        if self.verb:
            print(text, file=self.out, flush=True)

    def warning(self, text: str) -> None:
        """One line on the error stream; shown at every verbosity."""
        print(f"warning: {text}", file=self.err, flush=True)

    @contextmanager
    def bar(self, title: str, total: float, unit: str = "particles") -> Iterator[Bar]:
        """Show a task's progress while the block runs; the title is a line of its own, as in RELION."""
        if not self.verb:
            yield Bar(total, unit, lambda bar: None, float("inf"), self._clock)
            return
        self.line(f" {title}")
        if self.out.isatty():
            with self._rich(total, unit) as bar:
                yield bar
            return
        bar = Bar(total, unit, lambda bar: self.line(f"   {bar.line()}"), self._line_every_s, self._clock)
        yield bar
        if bar.elapsed_s >= self._line_every_s:
            self.line(f"   {bar.done:.0f} {unit} in {duration(bar.elapsed_s)}")

    @contextmanager
    def _rich(self, total: float, unit: str) -> Iterator[Bar]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich

        left = TextColumn("{task.fields[left]}")
        columns = ("  ", BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn(), left)
        with Rich(*columns, console=Console(file=self.out), transient=True) as rich:
            task = rich.add_task("", total=round(total), left="")

            def show(bar: Bar) -> None:
                text = "" if bar.left_s is None else f"{duration(bar.left_s)} left"
                rich.update(task, completed=round(bar.done), left=text)

            bar = Bar(total, unit, show, 0.1, self._clock)
            yield bar
            show(bar)


class RunEta:
    """Time left of a whole run, from the work of each iteration and the rate of the last one measured.

    The last rate and not the mean: later iterations use more pixels, so the mean would promise too much.

    Parameters
    ----------
    work : work of each iteration still to be done, in any unit (particles, say)
    """

    def __init__(self, work: list[float]):
        self._work = list(work)

    def finished(self, seconds: float) -> float:
        """Tell that the next iteration took ``seconds``; returns the time left, s."""
        done = self._work.pop(0)
        return seconds / done * sum(self._work) if done > 0 else 0.0


# Lines that RELION's users and graphical interfaces look for.


def noise_line(n_particles: int) -> str:
    return f" Estimating initial noise spectra from at most {n_particles} particles"


def expectation_title(iteration: int, n_iterations: int) -> str:
    return f"Expectation iteration {iteration} of {n_iterations}"


def resolution_line(resolution_A: float, step_deg: float, diameter_A: float) -> str:
    """Current resolution, and the angular step (deg) that a particle of this diameter (A) needs for it."""
    return (
        f" CurrentResolution= {resolution_A:g} Angstroms, which requires orientationSampling of at least {step_deg:g} "
        f"degrees for a particle of diameter {diameter_A:g} Angstroms"
    )


def sampling_lines(
    oversampling: int, n_hidden: int, step_deg: float, n_orientations: int, step_px: float, n_shifts: int
) -> list[str]:
    """The three lines of one oversampling order."""
    return [
        f" Oversampling= {oversampling} NrHiddenVariableSamplingPoints= {n_hidden}",
        f" OrientationalSampling= {step_deg:g} NrOrientations= {n_orientations}",
        f" TranslationalSampling= {step_px:g} NrTranslations= {n_shifts}",
    ]


def coarser_line(step_deg: float, offset_step_A: float) -> str:
    return f" Coarser-sampling: Angular step= {step_deg:g} degrees; offset step= {offset_step_A:g} Angstroms"


def accuracy_lines(accuracy_deg: float, accuracy_A: float) -> list[str]:
    return [
        " Estimating accuracies in the orientational assignment ...",
        f" Auto-refine: Estimated accuracy angles= {accuracy_deg:g} degrees; offsets= {accuracy_A:g} Angstroms",
    ]


MAXIMIZATION = " Maximization..."


def table(rows: list[tuple[Any, ...]], indent: str = "  ") -> list[str]:
    """Rows as aligned lines: text to the left, numbers to the right."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        indent
        + "  ".join(
            c.rjust(w) if isinstance(v, (int, float)) else c.ljust(w) for c, w, v in zip(line, widths, row)
        ).rstrip()
        for line, row in zip(cells, rows)
    ]
