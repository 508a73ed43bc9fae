"""A run that is killed, interrupted or asked to stop goes on from its files to the same answer."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from vitreous.job.rundir import RunDir

N_ITERATIONS = 4
# All that a run carries from one iteration to the next: scales, norms, noise in the background.
OPTIONS = {
    "iter": N_ITERATIONS, "zero_mask": None, "norm": True, "scale": True, "flatten_solvent": True,
    "center_classes": True,
}  # fmt: skip
NO_REPORT = "import vitreous.programs.class2d as program\nprogram.write_report = lambda *_: None\n"
# Dies at the n-th of these moments: a file's first bytes are half written, a file is synchronised, a file is renamed.
DIES = NO_REPORT + """
import os, signal
from vitreous.io import atomic
left = {n}
def due():
    global left
    left -= 1
    return left == 0
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def then(call):
    def counted(*args, **keywords):
        if due():
            die()
        return call(*args, **keywords)
    return counted
whole = atomic._CheckedFile.write
def half(self, data):
    if self.n_bytes == 0 and due():
        data = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        whole(self, bytes(data)[: len(data) // 2])
        die()
    return whole(self, data)
atomic._CheckedFile.write, os.fsync, os.replace = half, then(os.fsync), then(os.replace)
"""
# Each of 5 iterations (0 to 4) has five or six files, each with four moments (the folder is synchronised too).
N_MOMENTS = 110


@pytest.fixture(scope="module")
def whole(case, outputs, tmp_path_factory):
    """deterministic -> files of the last iteration of runs that nothing stopped."""
    from vitreous.programs import class2d as program

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "write_report", lambda *_: None)
        for deterministic in (None, True):
            root = tmp_path_factory.mktemp("whole") / "run"
            case.classify(root, deterministic=deterministic, **OPTIONS)
            found[deterministic] = outputs(root, N_ITERATIONS)
    return found


def go_on(case, root, **options):
    """Continue from the last complete iteration, or start where there is none; returns where it went on from."""
    last = RunDir(str(root)).last_complete()
    if last is None:
        case.classify(root, **OPTIONS, **options)
    else:
        case.classify(None, continue_from=str(last), j=2)
    return last


@pytest.mark.parametrize("seed", range(8))
def test_run_killed_while_it_writes_goes_on_to_the_same_answer(case, start, whole, no_report, outputs, tmp_path, seed):
    root, deterministic = tmp_path / "run", [None, True][seed % 2]
    n = random.Random(seed).randrange(1, N_MOMENTS)
    process = start(case.words(root, deterministic=deterministic, **OPTIONS), code=DIES.format(n=n))
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"moment {n} of {N_MOMENTS}: {err}"
    go_on(case, root, deterministic=deterministic)
    assert outputs(root, N_ITERATIONS) == whole[deterministic]
    assert not list(tmp_path.glob(".*")), "temporary files are left"


@pytest.mark.parametrize("seed", range(4))
def test_run_killed_at_any_time_goes_on_to_the_same_answer(case, start, whole, no_report, outputs, tmp_path, seed):
    root, deterministic = tmp_path / "run", [None, True][seed % 2]
    process = start(case.words(root, deterministic=deterministic, verb=1, **OPTIONS), code=NO_REPORT)
    for line in process.stdout:
        if line.startswith(" Expectation iteration"):
            break
    time.sleep(random.Random(seed).uniform(0, 1.0))
    process.kill()
    process.communicate(timeout=60)
    go_on(case, root, deterministic=deterministic)
    assert outputs(root, N_ITERATIONS) == whole[deterministic]


def test_run_killed_again_and_again_ends_at_the_same_answer(case, start, whole, no_report, outputs, tmp_path):
    root = tmp_path / "run"
    went_on_from = []
    for n in (40, 40, 40):
        last = RunDir(str(root)).last_complete()
        went_on_from.append(last)
        words = ["class2d", "--continue", str(last), "--j", "2"] if last else case.words(root, **OPTIONS)
        start(words, code=DIES.format(n=n)).communicate(timeout=120)
    went_on_from.append(go_on(case, root))
    assert len(set(went_on_from)) == 4, f"no progress between two kills: {went_on_from}"
    assert outputs(root, N_ITERATIONS) == whole[None]


def after_line(process, text):
    """Wait for a line of the process's output."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the program ended without {text!r}: {process.stderr.read()}")


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_run_with_the_command_that_goes_on(case, start, command, events, tmp_path, sign, code):
    root = tmp_path / "run"
    process = start(case.words(root, iter=900, verb=1))
    after_line(process, "Expectation iteration 2 of")
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    last = RunDir(str(root)).last_complete()
    assert f"to go on: vitreous class2d --continue {last}" in err
    assert events(root)[-1]["status"] == "interrupted"
    again = err.rpartition("vitreous ")[2].split()
    done = command([*again, "--iter", str(int(last.name.split("_it")[1][:3]) + 1), "--verb", "0"], code=NO_REPORT)
    assert done.returncode == 0, done.stderr


def test_pipeline_can_stop_the_run(case, start, events, tmp_path):
    root, control = tmp_path / "run", tmp_path / "job001"
    control.mkdir()
    process = start(case.words(root, iter=900, verb=1, pipeline_control=f"{control}/"))
    after_line(process, "Expectation iteration 2 of")
    (control / "RELION_JOB_ABORT_NOW").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "to go on: vitreous class2d --continue" in err
    assert [path.name for path in control.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]
    assert events(root)[-1]["status"] == "aborted"


def test_pipeline_sees_success_and_failure(case, command, tmp_path):
    words = case.words(tmp_path / "run", iter=1, pipeline_control=str(tmp_path))
    assert command(words, code=NO_REPORT).returncode == 0
    assert (tmp_path / "RELION_JOB_EXIT_SUCCESS").exists()
    assert command([*words, "--K", "0"]).returncode == 2
    assert (tmp_path / "RELION_JOB_EXIT_FAILURE").exists() and not (tmp_path / "RELION_JOB_EXIT_SUCCESS").exists()


def test_optimiser_file_comes_last(case, no_report, monkeypatch, tmp_path):
    import os

    order, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), replace(a, b)))
    case.classify(tmp_path / "run", flatten_solvent=True)
    for i in range(3):
        mine = [name for name in order if f"_it{i:03d}_" in name]
        assert len(mine) == 5 and mine[-1].endswith("optimiser.star")


def test_new_run_over_an_old_one_never_points_to_the_old_files(case, start, no_report, tmp_path):
    root = tmp_path / "run"
    case.classify(root, iter=6)
    process = start(case.words(root, iter=900, verb=1, random_seed=5))
    after_line(process, "Expectation iteration 2 of")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    last = RunDir(str(root)).last_complete()
    assert int(last.name.split("_it")[1][:3]) < 6, f"the last complete iteration is the old run's: {last}"
    assert str(last) in err
    assert "earlier run" in err and Path(f"{root}_it006_optimiser.star.old").exists()
