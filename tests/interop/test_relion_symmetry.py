"""Point groups as relion_refine prints them, and expanded particles as relion_particle_symmetry_expand writes them."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.io.star import read_star, write_star
from vitreous.model.rotation import euler_to_matrix
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


ROW = {
    "rlnImageName": ["000001@a.mrcs", "000002@a.mrcs"],
    "rlnOpticsGroup": [1, 1],
    "rlnAngleRot": [10.0, -120.0],
    "rlnAngleTilt": [40.0, 91.0],
    "rlnAnglePsi": [-60.0, 170.0],
    "rlnOriginXAngst": [1.5, -2.0],
    "rlnOriginYAngst": [0.25, 3.0],
}
OPTICS = {
    "rlnOpticsGroup": [1],
    "rlnOpticsGroupName": ["a"],
    "rlnVoltage": [300.0],
    "rlnSphericalAberration": [2.7],
    "rlnAmplitudeContrast": [0.1],
    "rlnImagePixelSize": [2.0],
    "rlnImageSize": [32],
    "rlnImageDimensionality": [2],
}


def both(tmp_path, **options):
    """Particle tables expanded by RELION and by us."""
    write_star(tmp_path / "in.star", {"optics": OPTICS, "particles": ROW})
    words = [w for flag, value in options.items() for w in ([f"--{flag}"] if value is True else [f"--{flag}", value])]
    relion("relion_particle_symmetry_expand", "--i", "in.star", "--o", "theirs.star", *words, cwd=tmp_path)
    call("symmetry-expand", i=str(tmp_path / "in.star"), o=str(tmp_path / "ours.star"), verb=0, **options)
    return (read_star(tmp_path / f"{name}.star")["particles"] for name in ("theirs", "ours"))


@pytest.mark.parametrize("name", ["C4", "D3", "T", "O", "I2", "I3"])
def test_expanded_particles_are_relion_s(name, tmp_path):
    theirs, ours = both(tmp_path, sym=name)
    assert theirs.n_rows == ours.n_rows == 2 * Symmetry.parse(name).order
    for image in ROW["rlnImageName"]:
        matrices = [
            euler_to_matrix(np.column_stack([block[label] for label in list(ROW)[2:5]])[block["rlnImageName"] == image])
            for block in (theirs, ours)
        ]
        assert unmatched(*matrices) < 3e-4


@pytest.mark.parametrize("options", [{"asu": 4}, {"asu": 3}, {"frac_sampling": 4, "frac_range": 0.4}])
def test_expanded_helix_is_relion_s(options, tmp_path):
    theirs, ours = both(tmp_path, helix=True, twist=33.0, rise=4.5, angpix=2.0, **options)
    for label in list(ROW)[2:]:
        difference = np.asarray(theirs[label], float) - np.asarray(ours[label], float)
        np.testing.assert_allclose((difference + 180) % 360 - 180, 0, atol=2e-5)
