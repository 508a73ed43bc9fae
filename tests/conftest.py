"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

from vitreous import backend

# OpenBLAS picks its kernels once per process: first those that a program would get, so that results are the same to the bit.
backend.cpu(1)


@pytest.fixture(scope="session")
def test_data():
    """Folder of the shared test data, or a skip that says where it was looked for."""
    places = [os.environ.get("VITREOUS_TEST_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "README.md").exists():
            return Path(place)
    pytest.skip("no test data: set VITREOUS_TEST_DATA, or put it at ../shared/data")


@pytest.fixture(scope="module", params=["avx2", "avx512", "cuda"])
def be(request):
    """Every backend that this machine can run."""
    try:
        if request.param != "cuda":
            return backend.cpu(2, request.param)
        found = backend.cuda(0)
    except RuntimeError as error:
        pytest.skip(str(error))
    kernel = request.path.stem.removeprefix("test_")
    if not hasattr(found.lib, kernel):
        pytest.skip(f"{kernel} has no CUDA kernel yet")
    return found
