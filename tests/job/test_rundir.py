import pytest

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.job.rundir import ITERATION_FILES, TEMPORARY, RunDir, split_optimiser_name


def complete(rundir, iteration):
    rundir.folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("model.star", *ITERATION_FILES):
        rundir.iteration_file(iteration, suffix).write_text("data_x\n")


def test_a_refinement_has_a_model_of_each_half(tmp_path):
    run = RunDir(str(tmp_path / "run"))
    complete(run, 3)
    model = run.iteration_file(3, "model.star")
    model.rename(run.iteration_file(3, "half1_model.star"))
    assert run.iterations() == []
    run.iteration_file(3, "half2_model.star").write_text("data_x\n")
    assert run.iterations() == [3]


def test_names_are_those_of_relion(tmp_path):
    run = RunDir("Class2D/job012/run")
    assert str(run.iteration_file(5, "optimiser.star")) == "Class2D/job012/run_it005_optimiser.star"
    assert str(run.iteration_file(1234, "classes.mrcs")) == "Class2D/job012/run_it1234_classes.mrcs"
    assert str(run.file("unmasked_classes.mrcs")) == "Class2D/job012/run_unmasked_classes.mrcs"
    assert (str(run.log), str(run.report)) == ("Class2D/job012/run.jsonl", "Class2D/job012/report.html")


def test_root_that_is_a_folder_means_run_inside_it(tmp_path):
    assert RunDir("Class2D/job012/").root == "Class2D/job012/run"
    assert RunDir(str(tmp_path)).root == str(tmp_path / "run")


def test_make_makes_nested_folders_and_leaves_no_file(tmp_path):
    run = RunDir(str(tmp_path / "a/b/run"))
    run.make()
    assert list((tmp_path / "a/b").iterdir()) == []


def test_make_refuses_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match=r"--o .*cannot be written.*give another --o"):
        RunDir(str(tmp_path / "a/run")).make()


def test_last_complete_needs_every_file_of_the_iteration(tmp_path):
    run = RunDir(str(tmp_path / "run"))
    assert run.last_complete() is None
    for iteration in (0, 9, 10, 11):
        complete(run, iteration)
    run.iteration_file(10, "model.star").write_text("")
    run.iteration_file(11, "data.star").unlink()
    complete(RunDir(str(tmp_path / "run2")), 30)
    assert run.iterations() == [0, 9]
    assert run.last_complete() == tmp_path / "run_it009_optimiser.star"


def test_clean_stale_removes_this_runs_temporary_files_only(tmp_path):
    run = RunDir(str(tmp_path / "run"))
    mine = [".run_it003_data.star.abcd1234.tmp", ".run.jsonl.abcd_234.tmp"]
    others = [".run2_it003_data.star.abcd1234.tmp", "run_it003_data.star", ".run_notes.tmp", "x.tmp"]
    for name in mine + others:
        (tmp_path / name).write_text("")
    assert sorted(path.name for path in run.clean_stale()) == sorted(mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_temporary_names_are_those_of_the_writer(tmp_path):
    with atomic_write(tmp_path / "run_it001_data.star") as file:
        file.write(b"x")
        (name,) = (path.name for path in tmp_path.iterdir())
    found = TEMPORARY.fullmatch(name)
    assert found and found.group(1) == "run_it001_data.star"


def test_split_optimiser_name_gives_root_and_iteration(tmp_path):
    run = RunDir(str(tmp_path / "run_ct10"))
    complete(run, 12)
    assert split_optimiser_name(str(run.iteration_file(12, "optimiser.star"))) == (str(tmp_path / "run_ct10"), 12)


@pytest.mark.parametrize("name", ["run_it009_optimiser.star", "run_it005_model.star", "run", "run_optimiser.star"])
def test_split_optimiser_name_names_the_file_to_use(tmp_path, name):
    run = RunDir(str(tmp_path / "run"))
    complete(run, 5)
    with pytest.raises(InputError, match=r"give .*run_it005_optimiser\.star"):
        split_optimiser_name(str(tmp_path / name))
    run.iteration_file(5, "data.star").unlink()
    with pytest.raises(InputError, match=r"give the root_itNNN_optimiser\.star of the last iteration"):
        split_optimiser_name(str(tmp_path / name))
