"""A full disk: a clear error, the last good iteration whole, and the run goes on elsewhere."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vitreous.job.rundir import RunDir

NO_REPORT = "import vitreous.programs.class2d as program\nprogram.write_report = lambda *_: None\n"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size that is unmounted at the end."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small disk needs root on Linux")
    mounted = []

    def mount(n_bytes: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", folder]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("n_kB", [400, 428, 456])
def test_full_disk_ends_the_run_and_leaves_the_last_good_iteration(
    case, command, no_report, outputs, small_disk, tmp_path, n_kB
):
    root = small_disk(n_kB << 10) / "run"
    done = command(case.words(root, iter=30, verb=1))
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {root}") and "No space left on device" in last and "free space" in last
    assert "Traceback" not in done.stderr
    assert not list(root.parent.glob(".*")), "a half-written temporary file is left and takes room"
    good = RunDir(str(root)).last_complete()
    assert f"--continue {good}" in done.stderr
    n = int(good.name.split("_it")[1][:3])
    assert 1 <= n < 30
    case.classify(tmp_path / "whole", iter=n + 1)
    case.classify(tmp_path / "elsewhere", continue_from=str(good), iter=n + 1, j=2)
    assert outputs(tmp_path / "elsewhere", n + 1) == outputs(tmp_path / "whole", n + 1)


def test_full_disk_from_the_start_is_one_clear_error(case, command, small_disk):
    folder = small_disk(64 << 10)
    (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free))
    done = command(case.words(folder / "run"))
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


def test_limit_of_file_size_is_one_clear_error(case, start, tmp_path):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    process = start(case.words(tmp_path / "run"), code=NO_REPORT + limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "run_it000_data.star: cannot be written" in err and "ulimit -f" in err and "Traceback" not in err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20000


def test_folder_without_permission_is_one_clear_error(case, command, tmp_path):
    (tmp_path / "file").write_text("")
    done = command(case.words(tmp_path / "file" / "run"))
    assert done.returncode == 2
    assert f"--o {tmp_path}/file/run" in done.stderr and "give another --o" in done.stderr
