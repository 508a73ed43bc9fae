"""``vitreous project`` beside relion_project on the same map and views."""

import shutil
import subprocess

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.io.mrc import read_mrc
from vitreous.io.star import read_star
from vitreous.programs import simulate

pytestmark = pytest.mark.interop

BOX, PIXEL_A = 32, 6.0


def relion(*arguments, cwd):
    if shutil.which("relion_project") is None:
        pytest.skip("relion_project is not installed")
    done = subprocess.run(
        ["relion_project", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    options = {"n": 40, "box": BOX, "angpix": PIXEL_A, "snr": 0.5, "optics_groups": 2, "astigmatism": 2000, "seed": 3}
    simulate.run(simulate.Options.from_keywords(o=str(folder), verb=0, particles_per_micrograph=7, **options))
    return folder


@pytest.mark.parametrize("flags", [(), ("ctf",), ("ctf", "ctf_phase_flip"), ("ctf", "ctf2"), ("ctf", "subtract_exp")])
def test_project_is_relion_s_stack(particles, tmp_path, flags):
    views = particles / "particles_truth.star"
    words = [f"--{flag}" for flag in flags]
    relion("--i", particles / "truth.mrc", "--o", "theirs", "--ang", views, *words, cwd=tmp_path)
    result = call(
        "project",
        i=str(particles / "truth.mrc"),
        o=str(tmp_path / "ours"),
        ang=str(views),
        verb=0,
        **dict.fromkeys(flags, True),
    )
    ours, theirs = read_mrc(result.images)[0], read_mrc(tmp_path / "theirs.mrcs")[0]
    np.testing.assert_allclose(ours, theirs, atol=5e-3 * abs(theirs).max())  # its shift and CTF are tables in part
    a, b = (read_star(path)["particles"] for path in (result.particles, tmp_path / "theirs.star"))
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnDefocusU"):
        np.testing.assert_allclose(a[label], b[label], atol=1e-3)


def test_project_of_one_view_is_relion_s_image(particles, tmp_path):
    angles = {"rot": 10, "tilt": 30, "psi": 50, "xoff": 3, "yoff": -2}
    words = [w for flag, value in angles.items() for w in (f"--{flag}", value)]
    relion("--i", particles / "truth.mrc", "--o", "theirs.mrc", *words, cwd=tmp_path)
    result = call("project", i=str(particles / "truth.mrc"), o=str(tmp_path / "ours"), verb=0, **angles)
    theirs = read_mrc(tmp_path / "theirs.mrc")[0]
    np.testing.assert_allclose(read_mrc(result.images)[0], theirs, atol=1e-3 * abs(theirs).max())
