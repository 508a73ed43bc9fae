"""RELION's programs beside ours on the same small maps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vitreous.engine.phantom import make_phantom
from vitreous.io.mrc import write_mrc

BOX, PIXEL_A = 48, 4.0
# RELION is of the system's MPI, not of a wheel's beside this Python.
OF_SYSTEM = os.pathsep.join(p for p in os.get_exec_path() if Path(p) != Path(sys.executable).parent)
MPIRUN = f"{shutil.which('mpirun', path=OF_SYSTEM) or 'mpirun'} -n 3 --allow-run-as-root --oversubscribe"


def relion(program, *arguments, folder):
    """Run one of RELION's programs there; skip where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120,
                          errors="replace")  # fmt: skip
    errors = done.stderr.replace("ERROR in executing: gs", "")
    assert done.returncode == 0 and "ERROR" not in errors, errors[-2000:]
    return done.stdout


def write_half_maps(folder):
    """map.mrc, half1.mrc and half2.mrc: a molecule alone, and with the noise of each half; returns the truth."""
    truth = make_phantom(120.0).volume(BOX, PIXEL_A)
    truth /= truth.std()
    rng = np.random.default_rng(3)
    for half in (1, 2):
        noise = gaussian_filter(rng.normal(size=truth.shape), 0.5, mode="wrap")
        write_mrc(folder / f"half{half}.mrc", (truth + 1.2 * noise / noise.std()).astype(np.float32), PIXEL_A)
    write_mrc(folder / "map.mrc", truth, PIXEL_A)
    return truth
