"""Micrographs shared among processes: the files of one process, and what went wrong is told."""

from __future__ import annotations

import json
from pathlib import Path

import extract_case
import numpy as np
import picking_case
import pytest
from test_mpi_programs import words_of

from vitreous.io.mrc import read_mrc

pytestmark = pytest.mark.mpi

AUTOPICK = (
    "autopick --i mics.star --LoG --LoG_diam_min 90 --LoG_diam_max 110 --shrink 0 --lowpass 20 "
    "--LoG_adjust_threshold 0.8 --random_seed 1 --verb 0 --j 1"
)
EXTRACT = f"extract {extract_case.PICKED} --extract_size 32 --norm --bg_radius 12 --verb 0 --j 1"


def files(folder: Path, root: str) -> dict[str, bytes]:
    """Name -> content of the tables and stacks below a folder, its own name in them taken out."""
    found = (p for p in folder.rglob("*") if p.suffix in (".star", ".mrcs"))
    return {str(p.relative_to(folder)): p.read_bytes().replace(root.encode(), b"ROOT") for p in found}


def run_both(launcher, words: str, flag: str, monkeypatch, folder: Path, n=3):
    """Files of one process and of several, and what the latter said."""
    monkeypatch.chdir(folder)
    done = {k: launcher.vitreous(k, [*words.split(), flag, f"out{k}/"]) for k in (1, n)}
    for process in done.values():
        assert process.returncode == 0, process.stderr
    return files(folder / "out1", "out1"), files(folder / f"out{n}", f"out{n}"), done[n]


def test_autopick_writes_the_files_of_one_process(launcher, monkeypatch, tmp_path):
    picking_case.write_case(tmp_path, n=4)
    (tmp_path / "M/mic4.mrc").write_bytes(b"no image")  # the last process has it
    one, several, done = run_both(launcher, AUTOPICK, "--odir", monkeypatch, tmp_path)
    assert one == several and len([name for name in one if name.startswith("M/")]) == 3
    assert done.stderr.count("M/mic4.mrc") == 1 and "error" not in done.stderr
    events = [json.loads(line) for line in next((tmp_path / "out3").glob("*.jsonl")).read_text().splitlines()]
    assert sorted(e["name"] for e in events if e["event"] == "micrograph") == [f"M/mic{i}.mrc" for i in (1, 2, 3, 4)]
    again = launcher.vitreous(2, [*AUTOPICK.split(), "--odir", "out3/", "--only_do_unfinished", "--verb", "1"])
    assert "3 of 4 micrographs have coordinates already" in again.stdout


def test_extract_writes_the_files_of_one_process(launcher, monkeypatch, tmp_path):
    extract_case.make_project(tmp_path, shapes=(*extract_case.SHAPES, *extract_case.SHAPES))
    one, several, _ = run_both(launcher, EXTRACT, "--part_dir", monkeypatch, tmp_path)
    assert one == several and len(one) == 9  # four stacks with their tables, and the particles


def test_reconstruct_gives_the_map_of_one_process(launcher, particles, tmp_path):
    root = tmp_path / "refined" / "run"
    words = words_of("refine3d", particles, root, auto_iter_max=1)
    assert launcher.vitreous(1, words).returncode == 0
    maps = []
    for n in (1, 3):
        out = tmp_path / f"{n}.mrc"
        done = launcher.vitreous(
            n, ["reconstruct", "--i", f"{root}_it001_data.star", "--o", str(out), "--ctf", "--j", "1", "--max_bad_fraction", "0.1"]
        )
        assert done.returncode == 0, done.stderr
        maps.append(read_mrc(out)[0])
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-5 * np.abs(maps[0]).max())  # rounding of float32 sums
