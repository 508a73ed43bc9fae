"""Fixtures of the kernel benches, and the machine's card in their JSON.

pytest bench -o python_files='bench_*.py' -o python_functions='bench_*' --benchmark-json=new.json
"""

import sys
from pathlib import Path

import pytest

from peers import machine
from vitreous import backend

for folder in ("tests", "tests/kernels"):  # the tests make the benches' cases
    sys.path.append(str(Path(__file__).parents[1] / folder))


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["card"] = machine.card()


@pytest.fixture(scope="module", params=["avx2", "avx512", "cuda"])
def be(request):
    """Every backend that this machine can run, with all of its cores."""
    try:
        found = backend.cuda(0) if request.param == "cuda" else backend.cpu(0, request.param)
    except RuntimeError as error:
        pytest.skip(str(error))
    kernel = request.path.stem.removeprefix("bench_")
    if request.param == "cuda" and not hasattr(found.lib, kernel):
        pytest.skip(f"{kernel} has no CUDA kernel yet")
    return found
