"""The CUDA module compiles, and imports where there is no driver: most machines it is built on have no GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with _cuda built from this source tree, for one architecture to keep it short."""
    if not (shutil.which("nvcc") or os.environ.get("CUDACXX")):
        pytest.skip("no nvcc: put it on PATH or set CUDACXX")
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed")
    if not shutil.which("cmake"):
        pytest.skip("no cmake on PATH")
    folder = tmp_path_factory.mktemp("cuda_build")
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DVITREOUS_CUDA=ON", "-DVITREOUS_WERROR=ON",
                 "-DCMAKE_CUDA_ARCHITECTURES=90", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                 f"-DPython_EXECUTABLE={sys.executable}"]
    for command in (configure, ["cmake", "--build", folder, "--target", "_cuda", "-j2"]):
        run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return folder


def python(folder, code):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_module_imports_and_counts_devices(built):
    run = python(built, "import _cuda; n = _cuda.device_count(); print(n); print(_cuda.why_no_device())")
    assert run.returncode == 0, run.stderr
    count, *reason = run.stdout.splitlines()
    assert int(count) >= 0
    assert int(count) > 0 or reason[0], "no device, and no reason given"


@pytest.mark.slow
def test_a_device_that_is_not_there_is_an_exception(built):
    run = python(built, "import _cuda; _cuda.open(1000)")
    assert run.returncode == 1
    assert "RuntimeError" in run.stderr and "cudaSetDevice" in run.stderr


@pytest.mark.slow
def test_no_library_of_the_runtime_is_needed(built):
    module = next(built.glob("_cuda*.so"))
    needed = subprocess.run(["ldd", str(module)], capture_output=True, text=True).stdout
    assert "libcudart" not in needed and "libcuda.so" not in needed
