"""The four verbs on several processes."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("n", [2, 3])
def test_verbs_on_several_processes(each_launcher, n):
    done = each_launcher.run(n, [Path(__file__).parent / "verbs.py"])
    # mpirun may put one process's line before the end of another's
    assert sorted(re.findall(r"ok \d", done.stdout)) == [f"ok {i}" for i in range(n)], done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["--version"], ["class2d", "--help"]])
def test_what_is_printed_is_printed_once(each_launcher, words):
    done = each_launcher.vitreous(3, words)
    assert done.returncode == 0 and done.stdout.count("vitreous 0.") + done.stdout.count("vitreous class2d: ") == 1


def test_program_that_cannot_be_shared_runs_once(each_launcher, tmp_path):
    words = ["simulate", "--o", str(tmp_path), "--n", "20", "--box", "16", "--angpix", "8", "--verb", "0"]
    done = each_launcher.vitreous(2, words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("vitreous simulate runs on one process: 1 have nothing to do") == 1
    assert (tmp_path / "particles.star").is_file()
