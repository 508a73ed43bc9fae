"""A small simulated set and ways to classify it, as a user would: from Python, and as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vitreous import class2d
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.run_files import read_iteration
from vitreous.io.star import read_star, write_star
from vitreous.programs import class2d as program
from vitreous.programs import simulate

BOX, PIXEL_A, N_VIEWS = 32, 6.0, 3
# A search that is coarse but wide enough for the simulated shifts, so that an iteration takes a tenth of a second.
USUAL = {
    "K": 3, "iter": 2, "ctf": True, "zero_mask": True, "particle_diameter": 140, "psi_step": 15, "offset_range": 3,
    "offset_step": 1, "random_seed": 1, "j": 2, "verb": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Simulated particles with their truth."""

    folder: Path
    truth: np.ndarray  # class of each particle, from 1

    @property
    def particles(self) -> str:
        return str(self.folder / "particles.star")

    @property
    def truth_file(self) -> str:
        return str(self.folder / "particles_truth.star")

    @property
    def stack(self) -> Path:
        return self.folder / "particles_001.mrcs"

    def classify(self, root, **options):
        """The result of a run from Python with the usual options, others as given; None leaves one out."""
        usual = {} if "continue_from" in options else {"i": self.particles} | USUAL
        options = {"o": root and str(root), "verb": 0} | usual | options
        return class2d(**{flag: value for flag, value in options.items() if value is not None})

    def words(self, root, **options) -> list[str]:
        """The command of such a run."""
        usual = {} if "continue" in options else {"i": self.particles} | USUAL
        words = ["class2d"]
        for flag, value in ({"o": str(root)} | usual | options).items():
            words += [f"--{flag}"] if value is True else [] if value is None else [f"--{flag}", str(value)]
        return words

    def variant(self, path: Path, change) -> str:
        """A particle file whose columns ``change(optics, particles)`` has edited in place."""
        star = read_star(self.particles)
        blocks = [dict(star[name].columns) for name in ("optics", "particles")]
        change(*blocks)
        write_star(path, dict(zip(("optics", "particles"), blocks)))
        return str(path)


def vitreous(words, *, code: str = "", **options) -> subprocess.Popen:
    """Start the program as a command, after some Python code, with its output in pipes."""
    # A shell's background job, as these tests may be, hands on that Ctrl-C is ignored.
    ctrl_c = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    main = f"{ctrl_c}\n{code}\nfrom vitreous.cli import main\nsys.exit(main())"
    environment = os.environ | {"PYTHONWARNINGS": "error"} | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", main, *words], env=environment, **pipes, **options)


@pytest.fixture(scope="session")
def start():
    """Function (words, code="", cwd=None) -> Popen of the program."""
    return vitreous


@pytest.fixture(scope="session")
def command():
    """Function (words) -> CompletedProcess of the program."""

    def run(words, **options):
        process = vitreous(words, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def case(tmp_path_factory) -> Case:
    """150 particles of three views, easy to tell apart."""
    folder = tmp_path_factory.mktemp("simulated")
    made = simulate.run(simulate.Options.from_keywords(
        o=str(folder), n=150, box=BOX, angpix=PIXEL_A, snr=0.5, views=N_VIEWS, verb=0, shift_std=4.0, seed=1
    ))  # fmt: skip
    return Case(folder, made.truth.view + 1)


@pytest.fixture(scope="session")
def views(case):
    """(3, box, box) the true views."""
    return read_mrc(case.folder / "truth_views.mrcs")[0]


@pytest.fixture
def run(case, tmp_path):
    """Function (**options) -> function iteration -> state of its files; ``.result`` is what Python gets."""

    def classify(**options):
        root = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "run"
        result = case.classify(root, **options)

        def state(iteration):
            return read_iteration(f"{root}_it{iteration:03d}_optimiser.star")

        state.result, state.root = result, root
        return state

    return classify


@pytest.fixture
def no_report(monkeypatch):
    """Runs without report.html, which takes longer than all else in a small run."""
    monkeypatch.setattr(program, "write_report", lambda *_: None)


@pytest.fixture(scope="session")
def base(case, tmp_path_factory):
    """The run with the usual options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "write_report", lambda *_: None)
        return case.classify(tmp_path_factory.mktemp("base") / "run")


@pytest.fixture(scope="session")
def events():
    """Function root -> list of the log's events, each line of which must be JSON."""
    return lambda root: [json.loads(line) for line in Path(f"{root}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def purity():
    """Function (found, truth) -> share of the particles whose class is mostly of their view."""

    def share(found, truth):
        table = np.zeros((found.max() + 1, truth.max() + 1))
        np.add.at(table, (found, truth), 1)
        return table.max(1).sum() / len(truth)

    return share


@pytest.fixture(scope="session")
def outputs():
    """Function (root, iteration) -> name -> bytes of the iteration's files, the root in them taken out."""

    def read(root, iteration):
        start = f"{root}_it{iteration:03d}_"
        names = ("data.star", "classes.mrcs", "model.star", "sampling.star")
        return {name: Path(start + name).read_bytes().replace(str(root).encode(), b"ROOT") for name in names}

    return read


@pytest.fixture(scope="session")
def classes_of():
    """Function (root, iteration) -> (K, box, box) class averages."""
    return lambda root, iteration: read_mrc(f"{root}_it{iteration:03d}_classes.mrcs")[0]


@pytest.fixture(scope="session")
def particles_of():
    """Function (root, iteration) -> Particles of the data file."""
    return lambda root, iteration: read_particles(f"{root}_it{iteration:03d}_data.star").particles
