import sys

import pytest

from vitreous.errors import InputError
from vitreous.job.job import ABORT_REQUEST, Aborted, Job
from vitreous.job.log import read_events
from vitreous.job.rundir import ITERATION_FILES


def complete(job, iteration):
    for suffix in ("model.star", *ITERATION_FILES):
        job.dir.iteration_file(iteration, suffix).write_text("x\n")


def events(tmp_path):
    return list(read_events(tmp_path / "job/run.jsonl"))


def make(tmp_path, **more):
    return Job("class2d", str(tmp_path / "job/run"), verb=0, **more)


def test_job_leaves_log_and_record(tmp_path):
    with make(tmp_path, record="K = 5  # user\n", start={"seed": 7}) as job:
        job.log.event("iteration", iteration=1)
        job.write_record("K = 6  # user\n")
    start, iteration, end = events(tmp_path)
    assert (start["event"], start["program"], start["seed"]) == ("start", "class2d", 7)
    assert iteration["iteration"] == 1
    assert (end["event"], end["status"]) == ("end", "finished")
    assert end["peak_memory_bytes"] > 0
    assert (tmp_path / "job/run_options.toml").read_text() == "K = 6  # user\n"


def test_job_logs_an_error_and_lets_it_pass(tmp_path):
    with pytest.raises(ZeroDivisionError), make(tmp_path):
        _ = 1 / 0
    assert (events(tmp_path)[-1]["status"], events(tmp_path)[-1]["error"]) == (
        "failed",
        "ZeroDivisionError: division by zero",
    )


def test_job_tells_how_to_continue_after_a_stop(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt) as stop, make(tmp_path) as job:
        complete(job, 0)
        complete(job, 12)
        raise KeyboardInterrupt
    assert stop.value.told
    assert events(tmp_path)[-1]["status"] == "interrupted"
    assert f"to go on: vitreous class2d --continue {tmp_path}/job/run_it012_optimiser.star" in capsys.readouterr().err


def test_job_says_when_there_is_nothing_to_continue(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), make(tmp_path):
        raise KeyboardInterrupt
    assert "no iteration is complete: start again" in capsys.readouterr().err


def test_job_stops_on_request_and_no_handler_of_exceptions_holds_it_up(tmp_path):
    control = tmp_path / "control"
    control.mkdir()
    with pytest.raises(Aborted) as stop, make(tmp_path, pipeline_control=str(control)) as job:
        job.check_abort()
        assert not job.should_abort()
        (control / ABORT_REQUEST).touch()
        try:
            job.check_abort()
        except Exception:
            pytest.fail("an abort must not be an Exception")
    assert stop.value.exit_code == 2
    assert events(tmp_path)[-1]["status"] == "aborted"


def test_job_without_pipeline_never_aborts(tmp_path):
    with make(tmp_path) as job:
        assert not job.should_abort()


def test_job_of_another_rank_touches_nothing(tmp_path, capsys):
    with make(tmp_path, rank=1, record="x = 1\n") as job:
        job.log.event("iteration")
        job.warning("w")
        job.write_record("x = 2\n")
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_job_removes_and_logs_what_a_killed_run_left(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job/.run_it003_data.star.abcd1234.tmp").touch()
    with make(tmp_path):
        pass
    assert [event["event"] for event in events(tmp_path)] == ["start", "stale files removed", "end"]
    assert not list((tmp_path / "job").glob("*.tmp"))


def test_job_warning_reaches_user_and_log(tmp_path, capsys):
    with make(tmp_path) as job:
        job.warning("2 particles are left out", count=2)
    assert capsys.readouterr().err == "warning: 2 particles are left out\n"
    assert events(tmp_path)[1]["count"] == 2


def test_command_line_can_be_typed_again(monkeypatch):
    from vitreous.job.job import command_line

    monkeypatch.setattr(sys, "argv", ["/usr/bin/vitreous", "class2d", "--i", "a file.star"])
    assert command_line() == "vitreous class2d --i 'a file.star'"


def test_job_shares_the_memory_of_a_machine_among_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("vitreous.job.memory.available_bytes", lambda: 100)
    assert "together" in make(tmp_path).check_memory({"maps": 60}, "give less")
    with pytest.raises(InputError, match=r"found 50 B available, expected .* \(the most is maps, 60 B\); give less"):
        make(tmp_path, n_on_machine=2).check_memory({"maps": 60}, "give less")
