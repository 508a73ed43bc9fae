import io

import pytest

from vitreous.job import progress
from vitreous.job.progress import Progress, RunEta, duration, table


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (42, "42 s"), (90, "1.5 min"), (7200, "2.0 h")])
def test_duration_in_words(seconds, text):
    assert duration(seconds) == text


def test_bar_off_a_terminal_is_one_line_a_minute():
    clock, out = Clock(), io.StringIO()
    with Progress(out=out, clock=clock).bar("Expectation iteration 1 of 25", 1000) as bar:
        for _ in range(100):
            clock.now += 3
            bar.advance(10)
    lines = out.getvalue().splitlines()
    assert lines[0] == " Expectation iteration 1 of 25"
    assert lines[1] == "   200/1000 particles, 1.0 min, about 4.0 min left (3.33 particles/s)"
    assert len(lines) == 1 + 5 + 1  # title, a line a minute for five minutes, the sum
    assert lines[-1] == "   1000 particles in 5.0 min"


def test_bar_of_a_short_task_is_its_title():
    out = io.StringIO()
    with Progress(out=out, clock=Clock()).bar("Maximization", 10) as bar:
        bar.advance(10)
    assert out.getvalue().splitlines() == [" Maximization"]


def test_bar_promises_nothing_before_anything_is_done():
    clock = Clock()
    with Progress(out=io.StringIO(), clock=clock).bar("x", 10) as bar:
        clock.now += 5
        assert bar.left_s is None
        bar.advance(1)
        assert bar.left_s == pytest.approx(45)
        bar.advance(99)
        assert (bar.done, bar.left_s) == (10, 0)


def test_bar_on_a_terminal_shows_and_ends(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with Progress(out=out).bar("Expectation iteration 2 of 25", 50) as bar:
        bar.advance(50)
    assert "Expectation iteration 2 of 25" in out.getvalue()
    assert "50/50" in out.getvalue()


def test_progress_silent_at_verb_0_but_for_warnings():
    out, err = io.StringIO(), io.StringIO()
    quiet = Progress(0, out, err)
    quiet.line("x")
    with quiet.bar("title", 10) as bar:
        bar.advance(10)
    quiet.warning("3 particles are left out")
    assert (out.getvalue(), err.getvalue()) == ("", "warning: 3 particles are left out\n")


def test_run_eta_follows_the_last_rate():
    eta = RunEta([100, 100, 200])
    assert eta.finished(10) == pytest.approx(30)
    assert eta.finished(30) == pytest.approx(60)  # the mean rate would promise 40
    assert eta.finished(50) == 0


def test_lines_that_relions_interface_looks_for():
    assert progress.expectation_title(3, 25) == "Expectation iteration 3 of 25"
    assert progress.noise_line(1000) == " Estimating initial noise spectra from at most 1000 particles"
    line = progress.resolution_line(12.5, 7.2, 200)
    assert line == (
        " CurrentResolution= 12.5 Angstroms, which requires orientationSampling of at least 7.2 degrees "
        "for a particle of diameter 200 Angstroms"
    )
    assert progress.sampling_lines(1, 49920, 6, 60, 1, 84) == [
        " Oversampling= 1 NrHiddenVariableSamplingPoints= 49920",
        " OrientationalSampling= 6 NrOrientations= 60",
        " TranslationalSampling= 1 NrTranslations= 84",
    ]
    assert progress.accuracy_lines(2.5, 1.25)[1] == (
        " Auto-refine: Estimated accuracy angles= 2.5 degrees; offsets= 1.25 Angstroms"
    )


def test_table_aligns_numbers_to_the_right():
    assert table([("class", "particles"), ("1", 12345), ("20", 7)]) == [
        "  class  particles",
        "  1         12,345",
        "  20             7",
    ]
