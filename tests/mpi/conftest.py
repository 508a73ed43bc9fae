"""Several processes under the launchers that this machine has, and a small set to share among them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vitreous.cli import call
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.model.masks import soft_sphere

BESIDE = Path(sys.executable).parent / "mpiexec"  # of the wheel mpich
SYSTEM = shutil.which("mpirun", path=os.pathsep.join(p for p in os.get_exec_path() if Path(p) != BESIDE.parent))
# Three processes on a machine of two cores, and in a container where one is root.
OPEN_MPI = ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]


def of_open_mpi() -> bool:
    return SYSTEM is not None and "Open MPI" in subprocess.run([SYSTEM, "--version"], capture_output=True, text=True).stdout


def command_of(launcher: str) -> list[str]:
    """The start of a launcher's command line, or a skip that says what is missing."""
    if find_spec("mpi4py") is None:
        pytest.skip("no mpi4py: pip install 'vitreous[mpi]'")
    if launcher == "mpich" and BESIDE.is_file():
        return [str(BESIDE)]
    if launcher == "openmpi" and of_open_mpi():
        return [SYSTEM, *OPEN_MPI]
    pytest.skip("no mpiexec beside python: pip install mpich" if launcher == "mpich" else "no mpirun of Open MPI on PATH")


class Launcher:
    """Starts processes of Python with one launcher."""

    def __init__(self, name: str):
        self.command = command_of(name)

    def start(self, n: int, arguments, **options) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*self.command, "-n", str(n), sys.executable, *map(str, arguments)], **pipes, **options)

    def run(self, n: int, arguments, timeout_s: float = 240, **options) -> subprocess.CompletedProcess:
        process = self.start(n, arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def vitreous(self, n: int, words, code: str = "", **options) -> subprocess.CompletedProcess:
        """``mpirun -n N vitreous ...``, after some Python code in which ``rank`` is the process's own."""
        rank = 'int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK", 0)))'
        main = f"import os, sys\nrank = {rank}\n{code}\nfrom vitreous.cli import main\nsys.exit(main())"
        return self.run(n, ["-c", main, *words], **options)


@pytest.fixture(scope="session", params=["mpich", "openmpi"])
def each_launcher(request):
    """Every launcher of this machine, one after the other."""
    return Launcher(request.param)


@pytest.fixture(scope="session")
def launcher():
    """One launcher of this machine."""
    return Launcher("mpich" if BESIDE.is_file() or not of_open_mpi() else "openmpi")


@pytest.fixture(scope="session")
def particles(tmp_path_factory):
    """Folder with 101 particles of 24 px, of which one is not a number and one is constant, their map, and a mask."""
    folder = tmp_path_factory.mktemp("particles")
    call("simulate", o=str(folder), n=101, box=24, angpix=8, snr=1.0, particle_diameter=150, seed=2, shift_std=6, verb=0)
    images, _ = read_mrc(folder / "particles_001.mrcs")
    images = images.copy()
    images[10], images[97] = float("nan"), 3.0
    write_mrc(folder / "particles_001.mrcs", images, 8.0, stack=True)
    write_mrc(folder / "mask.mrc", soft_sphere(24, 9.0, 3), 8.0, stack=False)
    return folder
