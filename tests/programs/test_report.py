"""report: jobs of a project, their order and cost, and what is told where logs are missing, cut off or not ours."""

import json
import os
import platform
import re
from pathlib import Path

import numpy as np
import pytest

from vitreous.cli import main
from vitreous.errors import InputError
from vitreous.io.star import write_star
from vitreous.job.project import find_jobs, maker, read_log, tree
from vitreous.programs import report
from vitreous.programs.option_parser import parse

DAY = "2026-03-01T"
NO_PROCESS = 2**22 + 1  # Linux numbers processes below 2^22


def log(root, program, began, events=(), *, end="finished", options=None, pid=NO_PROCESS, host=None, again=False, **last):
    """A log as a job leaves it; ``end`` None is a run that did not come to its end."""
    root = Path(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    start = {
        "event": "start", "program": program, "command": f"vitreous {program}", "folder": os.getcwd(),
        "host": host or platform.node(), "pid": pid, "options": {k: {"value": v} for k, v in (options or {}).items()},
    }  # fmt: skip
    lines = [start, *events] + ([{"event": "end", "status": end, "peak_memory_bytes": 2**30, "cpu_s": 7.5, **last}] if end else [])
    with open(f"{root}.jsonl", "a" if again else "w") as file:
        for i, line in enumerate(lines):
            file.write(json.dumps({"time": f"{DAY}{began}:{i:02d}+00:00", "elapsed_s": float(i)} | line) + "\n")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Import, picks, particles, two classifications, a selection and a refinement that failed."""
    monkeypatch.chdir(tmp_path)
    log("Import/job001/run", "import", "09:00", [{"event": "imported", "n": 3}])
    log("AutoPick/job002/autopick", "autopick", "09:10", [{"event": "picks", "n_picks": 1234, "n_micrographs": 3}],
        options={"i": "Import/job001/micrographs.star", "odir": "AutoPick/job002/"})  # fmt: skip
    log("Extract/job003/run", "extract", "09:20", [{"event": "particles", "n": 1200}],
        options={"i": "Import/job001/micrographs.star", "coord_dir": "AutoPick/job002/", "part_dir": "Extract/job003/"})  # fmt: skip
    iteration = {"event": "iteration", "iteration": 25, "resolution_A": 8.25, "class_weight": [0.5, 0.5, 0.0]}
    for job, began in (("job004", "09:30"), ("job005", "09:40")):
        log(f"Class2D/{job}/run", "class2d", began, [iteration, {"event": "warning", "text": "x"}],
            options={"i": "Extract/job003/particles.star", "o": f"Class2D/{job}/run"})  # fmt: skip
    log("Select/job006/select", "select", "09:50", [{"event": "selected", "n_before": 1200, "n_after": 900, "of": "particles"}],
        options={"i": "Class2D/job005/run_it025_optimiser.star", "o": "Select/job006/"})  # fmt: skip
    log("Refine3D/job007/run", "refine3d", "10:00", end="failed", error="InputError: no such map",
        options={"i": str(tmp_path / "Select/job006/particles.star"), "ref": "none.mrc"})  # fmt: skip
    (tmp_path / "Class2D/job004/report.html").write_text("<html></html>")
    return tmp_path


def by_name(jobs):
    return {job.name: job for job in jobs}


def test_report_finds_jobs_their_parents_and_their_numbers(project):
    jobs, notes = find_jobs(project)
    assert notes == []
    parents = {job.name: [jobs[i].name for i in job.parents] for job in jobs}
    assert parents == {
        "Import/job001": [], "AutoPick/job002": ["Import/job001"], "Extract/job003": ["AutoPick/job002", "Import/job001"],
        "Class2D/job004": ["Extract/job003"], "Class2D/job005": ["Extract/job003"], "Select/job006": ["Class2D/job005"],
        "Refine3D/job007": ["Select/job006"],
    }  # fmt: skip
    assert [depth for _, depth in tree(jobs)] == [0, 1, 2, 3, 3, 4, 5]
    found = by_name(jobs)
    assert found["AutoPick/job002"].result == "1,234 picks in 3 micrographs"
    assert found["Class2D/job004"].result == "2 of 3 classes, 8.25 Å after 25 iterations"
    assert found["Select/job006"].result == "900 of 1,200 particles"
    assert found["Class2D/job004"].notes == ["1 warning"]
    failed = found["Refine3D/job007"]
    assert (failed.status, failed.notes) == ("failed", ["InputError: no such map"])
    assert (failed.cpu_s, failed.peak_bytes, failed.wall_s) == (7.5, 2**30, 1.0)


def test_report_page_and_table_show_every_job(project, capsys):
    assert main(["report", str(project)]) == 0
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if "job00" in line and "finished" in line]
    assert len(rows) == 6 and len({row.index("finished") for row in rows}) == 1  # aligned
    page = (project / "project.html").read_text()
    for job in find_jobs(project)[0]:
        assert job.name in page and job.result in page
    assert '<a href="Class2D/job004/report.html">Class2D/job004</a>' in page
    assert "InputError: no such map" in page and "http" not in page


def test_report_tree_survives_a_move_of_the_project(project, tmp_path_factory):
    before = [job.parents for job in find_jobs(project)[0]]
    moved = tmp_path_factory.mktemp("elsewhere") / "project"
    project.rename(moved)
    assert [job.parents for job in find_jobs(moved)[0]] == before


@pytest.mark.parametrize(
    ("pid", "host", "status"),
    [(os.getpid(), platform.node(), "running"), (NO_PROCESS, platform.node(), "killed"), (1, "another", "unknown")],
)
def test_report_of_a_run_without_an_end_asks_for_its_process(project, pid, host, status):
    log("Class2D/job008/run", "python", "11:00", end=None, pid=pid, host=host)  # python is what this process is
    assert by_name(find_jobs(project)[0])["Class2D/job008"].status == status


def test_report_takes_the_marker_of_a_job_that_was_killed(project):
    log("Class2D/job008/run", "class2d", "11:00", end=None)
    (project / "Class2D/job008/RELION_JOB_EXIT_FAILURE").touch()
    assert by_name(find_jobs(project)[0])["Class2D/job008"].status == "failed"


def test_report_says_what_is_cut_off_and_goes_on(project):
    path = project / "Class2D/job005/run.jsonl"
    path.write_text(path.read_text()[:-40])
    assert read_log(path)[1] == 1
    (project / "Extract/job003/run.jsonl").write_bytes(b"\xff\x00 nothing\n" * 3)
    (project / "Extract/job003/run_options.toml").touch()
    log("Class2D/job009/run", "class2d", "12:00", [{"event": "picks"}, {"event": "iteration", "class_weight": 3}])
    (project / "other.jsonl").write_text('{"text": "of another program"}\n')
    (project / "Select/job006/list.jsonl").write_text("[1, 2]\n")
    jobs, _ = find_jobs(project)
    found = by_name(jobs)
    assert found["Class2D/job005"].status == "killed"
    assert found["Class2D/job005"].notes[0] == "run.jsonl: 1 line is truncated or not readable"
    assert found["Extract/job003"].notes == ["run.jsonl: 3 lines are truncated or not readable"]
    assert found["Extract/job003"].status == "unknown"
    assert "an event is not as expected" in found["Class2D/job009"].notes[0]
    assert found["Class2D/job009"].status == "finished"
    assert len(jobs) == 8
    report.run(parse(report.Options, ["--i", str(project), "--verb", "0"]))
    assert "3 lines are truncated" in (project / "project.html").read_text()


def test_report_adds_up_the_runs_of_a_job_that_was_continued(project):
    log("Class2D/job004/run", "class2d", "13:00", [], again=True, end="aborted", options={"i": "Select/job006/particles.star"})
    job = by_name(find_jobs(project)[0])["Class2D/job004"]
    assert (job.n_runs, job.status, job.cpu_s, job.wall_s) == (2, "aborted", 15.0, 4.0)
    assert job.began.hour == 9 and job.ended.hour == 13
    assert job.result.startswith("2 of 3 classes")  # of the first run, as the second has none


def test_report_tells_jobs_of_one_folder_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log("a/k5", "class2d", "09:00", options={"i": "a/particles.star", "o": "a/k5"})
    log("a/k50", "class2d", "09:10", options={"i": "a/k5_it025_data.star", "o": "a/k50"})
    log("b/select", "select", "09:20", options={"i": "a/k50_it025_model.star", "o": "b/"})
    jobs, _ = find_jobs(tmp_path)
    assert [job.name for job in jobs] == ["a/k5", "a/k50", "b"]
    assert [job.parents for job in jobs] == [[], [0], [1]]


def pipeline(project):
    """RELION's record of a project: one job that ended, one without a folder, one that failed, one with a broken file."""
    names = ["Import/job001/", "CtfFind/job002/", "Class3D/job003/", "Refine3D/job004/"]
    processes = {
        "rlnPipeLineProcessName": np.array(names, object),
        "rlnPipeLineProcessAlias": np.array(["None", "CtfFind/good/", "None", "None"], object),
        "rlnPipeLineProcessTypeLabel": np.array(["relion.import.movies", "relion.ctffind", "relion.class3d", "relion.refine3d"], object),
        "rlnPipeLineProcessStatusLabel": np.array(["Succeeded", "Running", "Failed", "Succeeded"], object),
    }  # fmt: skip
    edges = {
        "rlnPipeLineEdgeFromNode": np.array(["Import/job001/movies.star", "CtfFind/job002/mics.star"], object),
        "rlnPipeLineEdgeProcess": np.array(["CtfFind/job002/", "Refine3D/job004/"], object),
    }
    write_star(project / "default_pipeline.star", {"pipeline_processes": processes, "pipeline_input_edges": edges})
    for i, name in enumerate(names):
        if name.startswith("Class3D"):
            continue
        (project / name).mkdir(parents=True)
        note = f" ++++ Executing new job on Fri Aug 30 1{i}:47:02 2024\n ++++ with the following command(s): \nrelion_x {i}\n ++++ \n"
        (project / name / "note.txt").write_text(note)
    (project / "CtfFind/job002/RELION_JOB_EXIT_SUCCESS").touch()
    (project / "Refine3D/job004/run_model.star").write_text("data_\nloop_\n_rlnBroken\n")


def test_report_shows_the_jobs_of_relion(tmp_path):
    pipeline(tmp_path)
    jobs, notes = find_jobs(tmp_path)
    found = by_name(jobs)
    assert notes == [] and len(jobs) == 4
    assert found["CtfFind/job002"].status == "finished" and found["CtfFind/job002"].alias == "CtfFind/good"
    assert found["CtfFind/job002"].command == "relion_x 1"
    assert found["Class3D/job003"].status == "missing"
    assert [jobs[i].name for i in found["Refine3D/job004"].parents] == ["CtfFind/job002"]
    assert found["Refine3D/job004"].notes and re.search("run_model.star cannot be read", found["Refine3D/job004"].notes[0])


def test_report_of_our_job_in_a_pipeline_of_relion_has_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline(tmp_path)
    log("CtfFind/job002/run", "extract", "09:00", [{"event": "particles", "n": 7}])
    jobs, _ = find_jobs(tmp_path)
    (job,) = [job for job in jobs if job.name == "CtfFind/job002"]
    assert (job.kind, job.alias, job.result) == ("extract", "CtfFind/good", "7 particles")
    assert [jobs[i].name for i in job.parents] == ["Import/job001"]


def test_report_of_a_broken_pipeline_goes_on(tmp_path):
    pipeline(tmp_path)
    (tmp_path / "default_pipeline.star").write_text("data_pipeline_processes\nloop_\n_rlnX\n1 2\n")
    jobs, notes = find_jobs(tmp_path)
    assert len(jobs) == 3 and "default_pipeline.star cannot be read" in notes[0]


def test_report_refuses_what_is_no_project(tmp_path):
    with pytest.raises(InputError, match="found no such folder"):
        report.run(parse(report.Options, [str(tmp_path / "none")]))
    with pytest.raises(InputError, match="found no job in it"):
        report.run(parse(report.Options, [str(tmp_path)]))
    with pytest.raises(InputError, match="expected an option that begins with --"):
        parse(report.Options, ["one", "two"])


def test_maker_is_the_job_of_the_nearest_folder(project):
    jobs, _ = find_jobs(project)
    by_folder = {job.folder: [i] for i, job in enumerate(jobs)}
    stack = jobs[2].folder / "Movies/x.mrcs"
    assert maker(stack, 4, jobs, by_folder, project) == 2
    assert maker(project / "elsewhere/x.star", 4, jobs, by_folder, project) is None
