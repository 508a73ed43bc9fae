"""What this installation and machine can do, how fast, and how to get what is missing."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.fft

from vitreous.job.memory import available_bytes, human, system_free
from vitreous.programs.options import Common, ProgramOptions, again, option

PACKAGES = ("vitreous", "numpy", "scipy", "scipy-openblas32", "mrcfile", "pydantic", "rich", "matplotlib")
# A quarter of the rates of a quiet Zen 5 core (231 and 118 GFLOP/s); less than that has a cause that one can remove.
SLOW_GFLOPS = {"avx512": 58.0, "avx2": 30.0}
WIDE_BLAS = ("SkylakeX", "Cooperlake", "Sapphirerapids")
LOW_MEMORY, LOW_DISK = 4 << 30, 10 << 30

# Two processes on any machine, and in a container where one is root; other launchers do not know these variables.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
}  # fmt: skip

Line = tuple[str, str, str]  # what, found, what to do (empty = nothing)


class Options(ProgramOptions):
    """Checks of the environment."""

    PROGRAM: ClassVar[str] = "doctor"
    SUMMARY: ClassVar[str] = "what this installation and machine can do, and how to get what is missing"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("vitreous doctor",)

    j: int = again(Common, "j")
    scratch_dir: str | None = option(
        None, "also look at this folder's disk", group="compute", metavar="FOLDER", unset="the current folder alone"
    )


def packages() -> Iterator[Line]:
    """Versions of what is installed."""
    yield "python", f"{platform.python_version()} on {platform.platform()}", ""
    for name in PACKAGES:
        try:
            yield name, version(name), ""
        except PackageNotFoundError:
            yield name, "not found", f"pip install {name}"
    yield "gemmi", *(_optional("gemmi", "simulation from PDB and mmCIF files: pip install 'vitreous[models]'"))


def _optional(package: str, todo: str) -> tuple[str, str]:
    try:
        return version(package), ""
    except PackageNotFoundError:
        return "not found (optional)", todo


def cpu_name() -> str:
    """The processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def kernels(be: Any) -> Iterator[Line]:
    """Which compiled module and BLAS kernels run, and how fast a matrix product is."""
    wide = be.lib.__name__.endswith("avx512")
    yield "processor", f"{cpu_name()}, {be.n_threads} threads for us, {os.cpu_count()} in the machine", ""
    instructions = "AVX-512" if wide else "AVX2, or the compiler's default"
    yield "our kernels", f"{be.lib.__name__.split('.')[-1]} ({instructions})", ""
    core = be.lib.blas_kernels()
    chosen = os.environ.get("VITREOUS_OPENBLAS_CORETYPE", "")
    narrow = wide and core not in WIDE_BLAS
    fix = "unset VITREOUS_OPENBLAS_CORETYPE" if chosen else "set VITREOUS_OPENBLAS_CORETYPE=SKYLAKEX"
    todo = f"{fix}: these kernels are half as fast as this CPU can be" if narrow else ""
    yield "BLAS kernels", core + (f" (VITREOUS_OPENBLAS_CORETYPE={chosen})" if chosen else ""), todo
    one, together = gemm_rates(be.n_threads)
    slow = one < SLOW_GFLOPS["avx512" if wide else "avx2"]
    todo = "this is slow: look for other work on this machine (top), and for a limit on its clock" if slow else ""
    yield "matrix product", f"{one:.0f} GFLOP/s on one core, {together:.0f} on {be.n_threads}, float32", todo
    yield load(os.getloadavg()[1], os.cpu_count() or 1)


def load(others: float, n_cores: int) -> Line:
    """How busy the machine has been in the last five minutes; ``others`` is the mean number of waiting threads."""
    todo = "other work shares these cores: runs take longer than their forecast" if others > 1.25 * n_cores else ""
    return "load", f"{others:.1f} threads on {n_cores} cores in the last 5 minutes", todo


def gemm_rates(n_threads: int, n: int = 1536) -> tuple[float, float]:
    """Rate of float32 products of n x n matrices in the library that our kernels call.

    Returns
    -------
    GFLOP/s of one thread alone, and of ``n_threads`` threads with one product each
    """
    import scipy_openblas32

    names = Path(scipy_openblas32.get_lib_dir()).glob("libscipy_openblas.*")
    lib = ctypes.CDLL(str(next(path for path in sorted(names) if path.suffix in (".so", ".dylib"))))
    lib.scipy_openblas_set_num_threads(1)  # as our modules do
    order, no_transpose = 101, 111
    scalar = ctypes.c_float

    def product(*arrays: np.ndarray) -> None:
        a, b, c = (array.ctypes.data_as(ctypes.c_void_p) for array in arrays)
        lib.scipy_cblas_sgemm(order, no_transpose, no_transpose, n, n, n, scalar(1), a, n, b, n, scalar(0), c, n)

    rng = np.random.default_rng(0)
    sets = [[rng.random((n, n), np.float32) for _ in range(3)] for _ in range(n_threads)]
    product(*sets[0])
    if not np.allclose(sets[0][2][0], sets[0][0][0] @ sets[0][1], rtol=1e-3):  # float32 sums of n positive terms
        raise RuntimeError("doctor: the product of two matrices is wrong: reinstall scipy-openblas32")
    one = min(_seconds(lambda: product(*sets[0])) for _ in range(3))
    with ThreadPoolExecutor(n_threads) as pool:
        together = min(_seconds(lambda: list(pool.map(lambda m: product(*m), sets))) for _ in range(3))
    gflop = 2e-9 * n**3
    return gflop / one, gflop * n_threads / together


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fft(n_threads: int) -> Iterator[Line]:
    """Time of Fourier transforms at the sizes of particles and of a micrograph."""
    rng = np.random.default_rng(0)
    for n, box in ((256, 64), (16, 512), (1, 4096)):
        images = rng.random((n, box, box), np.float32)
        seconds = min(_seconds(lambda x=images: scipy.fft.rfft2(x, workers=n_threads)) for _ in range(3))
        yield f"FFT {box} px", f"{1e3 * seconds / n:.3g} ms per image, {n_threads} threads (scipy.fft)", ""


def cuda() -> Iterator[Line]:
    """Whether there is a GPU, and a module that can use it."""
    built = find_spec("vitreous._cuda") is not None
    smi, nvcc = shutil.which("nvidia-smi"), shutil.which("nvcc") or os.environ.get("CUDACXX")
    gpus = _output([smi, "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader"]) if smi else ""
    yield "GPU", "; ".join(gpus.splitlines()) or "none found; the CPU is used", ""
    found, todo = opened() if built else ("not built; the CPU is used", "put nvcc on PATH (CUDA toolkit) and pip install vitreous again")
    yield "CUDA module", found, todo if gpus else ""
    yield "CUDA compiler", nvcc or "not found", ""


def opened() -> tuple[str, str]:
    """Whether the CUDA module opens a GPU, tried in a process of its own, and what to do where it does not."""
    code = "from vitreous import backend\ntry:\n  print(backend.cuda().lib.device_name())\nexcept RuntimeError as e:\n  print(e)"
    found = _output([sys.executable, "-c", code]) or "the module ends its process"
    fails = "no CUDA" in found or "ends its process" in found
    return f"built: {found}", "see nvidia-smi for the driver, and CUDA_VISIBLE_DEVICES" if fails else ""


def mpi() -> Iterator[Line]:
    """Whether several processes can share a program's work."""
    yield "mpi4py", *(_optional("mpi4py", "several processes for one job: pip install 'vitreous[mpi]'"))
    found = {path: None for path in (Path(sys.executable).parent / "mpiexec", shutil.which("mpirun")) if path}
    names = [f"{path} ({_launcher(str(path))})" for path in found if Path(path).is_file()]
    todo = "" if names else "with mpi4py: pip install mpich, or the MPI of this machine (module load, apt install mpich)"
    yield "launcher", "; ".join(names) or "not found (optional)", todo
    if names and find_spec("mpi4py") is not None:
        for path in found:
            if Path(path).is_file():
                yield joined(str(path))


def joined(path: str) -> Line:
    """Whether a launcher's processes find each other, by starting two."""
    code = "from vitreous.comm import launched; print('joined', launched().size)"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "SLURM_"))}
    text = _output([path, "-n", "2", sys.executable, "-c", code], own | OPEN_MPI)
    if text.split() == ["joined", "2"] * 2:
        return "two processes", f"joined by {path}", ""
    todo = "see docs/several-processes.md: mpi4py and the launcher must be of one MPI library"
    return "two processes", f"not joined by {path}" + (f" ({text.splitlines()[-1]})" if text else ""), todo


def _launcher(path: str) -> str:
    """Name and version of a launcher, e.g. Open MPI 4.1.4."""
    lines = [line.strip() for line in _output([path, "--version"]).splitlines()]
    version_ = next((line.split(":")[1].strip() for line in lines if line.startswith("Version:")), "")
    return f"MPICH {version_}" if version_ else lines[0].replace("mpirun (", "").replace(")", "") if lines else "does not run"


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def room(folders: list[str]) -> Iterator[Line]:
    """Memory and disk."""
    free, system = available_bytes(), system_free()
    limited = free is not None and system is not None and free < system
    todo = "close other programs, or ask the queue for more memory" if free is not None and free < LOW_MEMORY else ""
    text = "unknown" if free is None else f"{human(free)} available"
    yield "memory", text + (" (limit of this job)" if limited else ""), todo
    for folder in folders:
        if not Path(folder).is_dir():
            yield f"disk {folder}", "no such folder", "make it, or give another --scratch_dir"
            continue
        left = shutil.disk_usage(folder).free
        todo = "free space or work elsewhere" if left < LOW_DISK else ""
        if not os.access(folder, os.W_OK):
            todo = "files cannot be made here: work in a folder of yours"
        yield f"disk {folder}", f"{human(left)} free", todo


def peers() -> Iterator[Line]:
    """Programs that ours are compared with."""
    found = shutil.which("relion_refine")
    text = _output([found, "--version"]).splitlines()[0] if found and _output([found, "--version"]) else ""
    todo = "" if found else "only needed for comparisons: apt install relion"
    yield "RELION", f"{text} at {found}" if found else "not found (optional)", todo


def run(options: Options, be: Any, comm: Any) -> list[Line]:
    """Print every check as it is made; returns them as (what, found, what to do)."""
    folders = ["."] + ([options.scratch_dir] if options.scratch_dir else [])
    sections = {
        "Installation": packages(),
        "Processor": kernels(be),
        "Fourier transforms": fft(be.n_threads),
        "GPU": cuda(),
        "Several processes": mpi(),
        "Room": room(folders),
        "Other programs": peers(),
    }
    lines = []
    for title, checks in sections.items():
        print(f"\n{title}")
        for what, found, todo in checks:
            print(f"  {what:<18}{found}" + (f"\n  {'':<18}-> {todo}" if todo else ""))
            sys.stdout.flush()
            lines.append((what, found, todo))
    n_todo = sum(bool(todo) for *_, todo in lines)
    print(f"\nTo do or to know: {n_todo} (marked with ->)" if n_todo else "\nNothing is missing.")
    return lines
