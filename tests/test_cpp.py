"""The C++ tests of the math headers, built alone with the address and undefined-behaviour sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_cpp_math_headers_pass(tmp_path):
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("no cmake or no C++ compiler on PATH")
    configure = ["cmake", "-S", ROOT / "tests" / "cpp", "-B", tmp_path, "-DVITREOUS_SANITIZE=address,undefined"]
    run = ["ctest", "--test-dir", tmp_path, "--output-on-failure"]
    for command in (configure, ["cmake", "--build", tmp_path], run):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
