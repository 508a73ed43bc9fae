"""Point groups as relion_refine prints them, and expanded particles as relion_particle_symmetry_expand writes them."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from vitreous.model.symmetry import Symmetry

pytestmark = pytest.mark.interop


def relion(program, *arguments, cwd):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return done.stdout


def unmatched(a, b):
    """Largest distance of a matrix of one set from the other set."""
    gap = np.abs(a.reshape(-1, 1, 9) - b.reshape(1, -1, 9)).max(-1)
    return max(gap.min(0).max(), gap.min(1).max())


@pytest.mark.parametrize("name", ["C1", "C5", "D2", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_symmetry_rotations_are_relion_s(name, tmp_path):
    text = relion("relion_refine", "--sym", name, "--print_symmetry_ops", cwd=tmp_path)
    number = r"[-+\d.e]+"
    rows = [
        [float(v) for v in line.split()]
        for line in text.splitlines()
        if re.fullmatch(rf"\s*(?:{number}\s+){{2}}{number}\s*", line)
    ]
    theirs, group = np.array(rows).reshape(-1, 3, 3), Symmetry.parse(name)
    assert len(theirs) == group.order
    # written with six digits, and its axes of T and I are given with five or six
    assert unmatched(theirs, group.rotations) < 2e-4
