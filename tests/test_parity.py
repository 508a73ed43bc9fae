"""Every kernel has all its files, and the modules for the CPU and for CUDA have one function table."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Kernels that run on GPUs so far; the others run on the CPU alone.
CUDA = {"ctf_image", "score_coarse", "shift_phases"}
# Functions and constants of a module that are no kernel.
NOT_KERNELS = {"set_num_threads", "max_threads", "blas_config", "blas_kernels", "device_count", "why_no_device", "open",
               "DeviceArray", "COLUMN_BLOCK"}
# Formulas of math/ that the model reads as tables, on the host alone (bind_math.hpp).
HOST_FORMULAS = {"electron_wavelength_A", "healpix_directions"}


def stems(folder: str, pattern: str, prefix: str = "", suffix: str = "") -> set[str]:
    """Kernel names from the files of a folder."""
    names = (path.name for path in (ROOT / folder).glob(pattern))
    return {name.removeprefix(prefix).removesuffix(suffix) for name in names}


KERNELS = stems("csrc/include/vitreous/kernels", "*.hpp", suffix=".hpp")
PLACES = {
    "loop": ("csrc/kernels", "*.cpp", "", ".cpp"),
    "binding": ("csrc/bind", "bind_*.hpp", "bind_", ".hpp"),
    "test": ("tests/kernels", "test_*.py", "test_", ".py"),
    "bench": ("bench/kernels", "bench_*.py", "bench_", ".py"),
}
OTHER_BINDINGS = {"star", "math"}  # of decoders in csrc/io and of formulas in math/, which are no kernels


@pytest.mark.parametrize("place", PLACES)
def test_parity_every_kernel_has_its_file(place):
    assert stems(*PLACES[place]) - OTHER_BINDINGS == KERNELS


def test_parity_every_kernel_has_its_wrapper():
    text = "".join(path.read_text() for path in sorted((ROOT / "python/vitreous").glob("kernels*.py")))
    assert set(re.findall(r"be\.lib\.(\w+)\(", text)) - NOT_KERNELS == KERNELS


def test_parity_cuda_loops_are_those_listed():
    assert stems("cuda/kernels", "*.cu", suffix=".cu") == CUDA
    assert CUDA <= KERNELS


@pytest.mark.parametrize(("module", "kernels"), [("_cpu", KERNELS), ("_cpu_avx512", KERNELS), ("_cuda", CUDA)])
def test_parity_modules_have_the_same_functions(module, kernels):
    flags = Path("/proc/cpuinfo").read_text() if module == "_cpu_avx512" else "avx512f"
    if "avx512f" not in flags:
        pytest.skip("this CPU cannot load the AVX-512 module")
    try:
        lib = import_module(f"vitreous.{module}")
    except ModuleNotFoundError:
        pytest.skip(f"{module} is not built here")
    functions = {name for name in dir(lib) if not name.startswith("_")}
    formulas = set() if module == "_cuda" else HOST_FORMULAS
    assert functions - NOT_KERNELS == kernels | formulas
