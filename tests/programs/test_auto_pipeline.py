"""The pipeline of an automatic run: it reads back, RELION reads it, and jobs of others are left alone."""

import shutil
import subprocess

import pytest

from vitreous.io.pipeline_files import LOCK, Process, read_pipeline, write_pipeline
from vitreous.io.star import read_star
from vitreous.job.project import find_jobs
from vitreous.programs.auto_pipeline import PIPELINE, write_state
from vitreous.programs.auto_project import State, note


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A project of an import, extracted particles, and a refinement that is not done."""
    monkeypatch.chdir(tmp_path)
    state = State()
    for name, kind, asked, facts in (
        ("import", "Import", {"i": "/data/micrographs.star"}, {"micrographs": "Import/job001/micrographs.star"}),
        ("extract_1", "Extract", {"i": "Import/job001/micrographs.star"}, {"particles": "Extract/job002/particles.star", "box": 64}),
        ("symmetry_1", "AlignSymmetry", {"i": None}, {"map": "AlignSymmetry/job003/aligned.mrc"}),
    ):
        record = state.begin(name, kind, asked, {})
        for file in facts.values():
            if isinstance(file, str):
                (tmp_path / file).touch()
        note(record.folder, "auto", asked, {"i": "i"})
        state.finish(record, facts, "")
    state.begin("refine3d_1", "Refine3D", {"particles": "Extract/job002/particles.star", "ref": "AlignSymmetry/job003/aligned.mrc"}, {})
    return state


def test_pipeline_of_a_run_reads_back(state):
    assert write_state(state, "running") == ""
    found = {process.folder: process for process in read_pipeline(PIPELINE)}
    assert [p.kind for p in found.values()] == ["import", "extract", "external", "refine3d"]
    assert [p.status for p in found.values()] == ["finished"] * 3 + ["running"]
    assert found["Extract/job002"].inputs == ["Import/job001/micrographs.star"]
    assert found["Extract/job002"].outputs == ["Extract/job002/particles.star"]
    assert found["Refine3D/job004"].inputs == ["Extract/job002/particles.star", "AlignSymmetry/job003/aligned.mrc"]
    star = read_star(PIPELINE)
    assert star["pipeline_general"].value("rlnPipeLineJobCounter") == 5
    assert list(star["pipeline_nodes"]["rlnPipeLineNodeType"]) == [1, 3, 6]


def test_report_shows_the_pipeline_of_a_run_from_its_import_on(state):
    write_state(state, "running")
    jobs, notes = find_jobs(PIPELINE.absolute().parent)
    found = {job.name: job for job in jobs}
    assert [job.name for job in jobs][:2] == ["Import/job001", "Extract/job002"] and len(jobs) == 4 and notes == []
    assert [jobs[i].name for i in found["Extract/job002"].parents] == ["Import/job001"]
    assert found["Import/job001"].command == "vitreous auto --i /data/micrographs.star"


def test_pipeline_is_written_as_relion_4_writes_it(tmp_path):
    write_pipeline(tmp_path / "p.star", [Process("AutoPick/job002", "autopick.log", "failed", "AutoPick/LoG")], 3)
    text = (tmp_path / "p.star").read_text()
    assert text.count("# version 50001") == 2 and "AutoPick/job002/ AutoPick/LoG/" in text and "relion.autopick.log" in text
    assert read_pipeline(tmp_path / "p.star") == [Process("AutoPick/job002", "autopick.log", "failed", "AutoPick/LoG")]


def test_pipeline_is_what_relion_keeps_of_it(state):
    """RELION 3.1 writes what it has read when it looks for jobs that ended, as the refinement has."""
    if not shutil.which("relion_pipeliner"):
        pytest.skip("relion_pipeliner is not installed")
    write_state(state, "running")
    before = read_pipeline(PIPELINE)
    (PIPELINE.absolute().parent / "Refine3D/job004/RELION_JOB_EXIT_SUCCESS").touch()
    subprocess.run(["relion_pipeliner", "--check_job_completion"], check=True, capture_output=True)
    after = read_pipeline(PIPELINE)
    assert "rlnPipeLineProcessTypeLabel" not in read_star(PIPELINE)["pipeline_processes"]  # RELION wrote it
    assert [p.status for p in after] == ["finished"] * 4
    for one, other in zip(before, after, strict=True):
        assert (one.folder, one.kind, one.inputs, one.outputs) == (other.folder, other.kind, other.inputs, other.outputs)
    assert write_state(state, "running") == "" and [p.status for p in read_pipeline(PIPELINE)][-1] == "running"


def test_pipeline_with_jobs_of_others_is_left_alone_and_their_numbers_are_not_used(state):
    write_state(state, "running")
    found = read_pipeline(PIPELINE)
    write_pipeline(PIPELINE, [*found, Process("Class3D/job005", "class3d", "finished")], 6)
    before = PIPELINE.read_bytes()
    assert "has jobs of others, Class3D/job005 for one" in write_state(state, "running")
    assert PIPELINE.read_bytes() == before
    (PIPELINE.absolute().parent / "Class3D/job005").mkdir(parents=True)
    assert state.begin("mask_1", "MaskCreate", {}, {}).folder == "MaskCreate/job006"


def test_pipeline_keeps_what_relion_added_and_forgets_earlier_attempts(state):
    write_state(state, "running")
    named = [Process(p.folder, p.kind, p.status, "Extract/good" if p.kind == "extract" else "") for p in read_pipeline(PIPELINE)]
    write_pipeline(PIPELINE, named, 5)
    state.begin("refine3d_1", "Refine3D", {}, {})
    assert write_state(state, "aborted") == ""
    found = {process.folder: process for process in read_pipeline(PIPELINE)}
    assert found["Extract/job002"].alias == "Extract/good"
    assert "Refine3D/job004" not in found and found["Refine3D/job005"].status == "aborted"


def test_pipeline_that_relion_holds_or_that_is_broken_is_left_alone(state):
    PIPELINE.write_text("data_pipeline_processes\nloop_\n_rlnX\n1 2\n")
    assert "is left as it is" in write_state(state, "running") and PIPELINE.read_text().endswith("1 2\n")
    PIPELINE.unlink()
    lock = PIPELINE.absolute().parent / LOCK
    lock.mkdir()
    assert "is locked by RELION" in write_state(state, "running") and lock.exists() and not PIPELINE.exists()
    lock.rmdir()
    assert write_state(state, "running") == "" and PIPELINE.exists() and not lock.exists()
