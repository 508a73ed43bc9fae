"""One process fails: all end, soon, with one message, and the run goes on from its files."""

from __future__ import annotations

import os
import signal
import time

import pytest
from test_mpi_programs import options_of, same_answer, words_of

from vitreous.cli import call
from vitreous.job.rundir import RunDir

pytestmark = pytest.mark.mpi

# In the expectation of iteration 2 the processes of {ranks} do {what}.
FAILS = """
import os, time
import vitreous.job.classify as classify
from vitreous.errors import InputError
whole = classify.expectation
def broken(be, plan, state, *a, **k):
    if rank in {ranks} and state.progress.iteration == 2:
        {what}
    return whole(be, plan, state, *a, **k)
classify.expectation = broken
"""
BAD_INPUT = 'raise InputError("x.mrcs: found nonsense, expected images; look at it")'


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1, 2)])
def test_error_of_any_process_ends_all_with_one_message(each_launcher, particles, tmp_path, ranks):
    words = words_of("class2d", particles, tmp_path / "run", pipeline_control=tmp_path)
    done = each_launcher.vitreous(3, words, code=FAILS.format(ranks=ranks, what=BAD_INPUT))
    assert done.returncode == 2
    assert done.stderr.count("x.mrcs: found nonsense, expected images; look at it") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert ("process 1 of 3 on " in done.stderr) == (ranks == (1,))
    assert f"to go on: vitreous class2d --continue {tmp_path}/run_it001_optimiser.star" in done.stderr
    assert (tmp_path / "RELION_JOB_EXIT_FAILURE").exists() and not (tmp_path / "RELION_JOB_EXIT_ABORTED").exists()


def test_fault_of_ours_shows_where_it_happened(launcher, particles, tmp_path):
    words = words_of("class2d", particles, tmp_path / "run")
    done = launcher.vitreous(2, words, code=FAILS.format(ranks=(1,), what='raise ValueError("a fault")'))
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "ValueError: a fault" in done.stderr


def test_wrong_options_are_told_once(each_launcher, particles, tmp_path):
    for words, told in (
        (words_of("class2d", particles, tmp_path / "run", K=0), "--K"),
        (words_of("class2d", particles, tmp_path / "run", i="no.star"), "no.star"),
    ):
        done = each_launcher.vitreous(3, words)
        assert done.returncode == 2
        assert sum(line.startswith("error: ") and told in line for line in done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_killed_process_ends_all_and_the_run_goes_on(each_launcher, particles, tmp_path, rank):
    words = words_of("class2d", particles, tmp_path / "run")
    whole = tmp_path / "whole" / "run"
    call("class2d", verb=0, **options_of("class2d", particles, whole))
    began = time.monotonic()
    done = each_launcher.vitreous(
        3, words, code=FAILS.format(ranks=(rank,), what="os.kill(os.getpid(), 9)"), timeout_s=90
    )
    assert time.monotonic() - began < 90 and done.returncode != 0
    assert "illed" in done.stdout + done.stderr  # the launcher's words
    last = RunDir(str(tmp_path / "run")).last_complete()
    assert last is not None and last.name in ("run_it000_optimiser.star", "run_it001_optimiser.star")
    again = each_launcher.vitreous(2, ["class2d", "--continue", str(last), "--j", "1", "--verb", "0"])
    assert again.returncode == 0, again.stderr
    same_answer(whole, tmp_path / "run", "class2d")


def test_pipeline_stops_all_processes(launcher, particles, tmp_path):
    slow = FAILS.format(ranks=(0,), what=f"open({str(tmp_path / 'RELION_JOB_ABORT_NOW')!r}, 'w')")
    words = words_of("class2d", particles, tmp_path / "run", pipeline_control=tmp_path)
    done = launcher.vitreous(2, words, code=slow)
    assert done.returncode == 2
    assert f"to go on: vitreous class2d --continue {tmp_path}/run_it002_optimiser.star" in done.stderr
    assert (tmp_path / "RELION_JOB_EXIT_ABORTED").exists()


def test_time_limit_of_a_queue_stops_all_processes(launcher, particles, tmp_path):
    """The launcher hands SIGTERM on."""
    process = launcher.start(2, ["-m", "vitreous", *words_of("class2d", particles, tmp_path / "run", iter=900)])
    try:
        for line in process.stdout:
            if "Expectation iteration 3 of" in line:
                break
        os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert RunDir(str(tmp_path / "run")).last_complete() is not None, err


@pytest.mark.parametrize("told", ["", "K=0: "])
def test_script_of_python_shares_the_work_and_ends_together(launcher, particles, tmp_path, told):
    chosen = {k: str(v) for k, v in options_of("class2d", particles, tmp_path / "run").items() if k in ("i", "o")}
    chosen |= {"K": 0 if told else 2, "iter": 1, "j": 1, "verb": 0, "random_seed": 1, "max_bad_fraction": 0.05}
    # A file each: what two processes print may mix within a line.
    report = f"open({str(tmp_path)!r} + f'/{{os.getpid()}}.shape', 'w').write(str(class2d(**{chosen!r}).classes.shape))"
    script = f"import os\nfrom vitreous import class2d\n{report}"
    done = launcher.run(2, ["-c", script])
    if told:
        assert done.returncode == 2 and done.stderr.count("error: ") == 1 and "--K" in done.stderr, done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert [f.read_text() for f in tmp_path.glob("*.shape")] == ["(2, 24, 24)"] * 2
