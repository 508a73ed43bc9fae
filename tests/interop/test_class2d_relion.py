"""Runs that move between class2d and RELION's own program in the middle, both ways, to much the same answer."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest

from vitreous import class2d
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.run_files import read_iteration
from vitreous.io.star import read_star
from vitreous.programs import class2d as program
from vitreous.programs import simulate

pytestmark = pytest.mark.interop
N = 8  # iterations, after which few particles are in doubt
FLAGS = "--K 3 --ctf --zero_mask --particle_diameter 140 --psi_step 15 --offset_range 3 --offset_step 1 --norm --scale"


def relion(words, *arguments, folder):
    """Standard output of one of RELION's programs."""
    words = [*words.split(), *map(str, arguments)]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stdout[-500:] + done.stderr[-2000:]
    return done.stdout


def ours(**options):
    """A run of class2d with the flags that RELION gets too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "write_report", lambda *_: None)
        words = FLAGS.split()
        usual = {}
        while words and "continue_from" not in options:
            flag = words.pop(0)[2:]
            usual[flag] = words.pop(0) if words and not words[0].startswith("--") else True
        return class2d(**(usual | {"verb": 0, "j": 2} | options))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Simulated particles of three views in a project folder, and our run on them."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate.run(simulate.Options.from_keywords(
            o="sim", n=150, box=32, angpix=6.0, snr=0.5, views=3, verb=0, shift_std=4.0, seed=2
        ))  # fmt: skip
        for name in ("ours", "relion", "mixed"):
            (folder / name).mkdir()
        ours(i="sim/particles.star", o="ours/run", iter=N, random_seed=1)
    return folder


@pytest.fixture(scope="module")
def relions(project):
    """RELION's run."""
    flags = f"--i sim/particles.star --o relion/run --iter {N} --random_seed 1 --flatten_solvent --j 2"
    relion("relion_refine", *flags.split(), *FLAGS.split(), folder=project)
    return project


def classes(folder, name):
    return read_particles(folder / name, root=folder).particles.class_number


def agreement(a, b):
    """Share of the particles that two runs put into the same class number."""
    return (a == b).mean()


def test_relion_goes_on_from_our_iteration_to_our_answer(project):
    optimiser = f"ours/run_it{N - 1:03d}_optimiser.star"
    out = relion("relion_refine --continue", optimiser, "--o", "mixed/run", "--iter", N, "--j", "2", folder=project)
    assert re.search(rf"iteration {N} of {N}", out)
    theirs = classes(project, f"mixed/run_it{N:03d}_data.star")
    # Another grid of angles (RELION draws its perturbation anew) moves the particles in doubt, which are few.
    assert agreement(theirs, classes(project, f"ours/run_it{N:03d}_data.star")) > 0.9
    maps = [read_mrc(project / f"{name}/run_it{N:03d}_classes.mrcs")[0] for name in ("mixed", "ours")]
    for mine, relions_own in zip(*maps):
        assert np.corrcoef(mine.ravel(), relions_own.ravel())[0, 1] > 0.9


def test_relion_starts_from_our_particles(project):
    flags = f"--i ours/run_it{N:03d}_data.star --o mixed/new --iter 1 --ref ours/run_it{N:03d}_model.star --j 2"
    relion("relion_refine", *flags.split(), *FLAGS.split(), folder=project)
    assert len(read_star(project / "mixed/new_it001_data.star")["particles"].columns["rlnImageName"]) == 150


def test_relions_star_handler_selects_a_class(project):
    words = f"relion_star_handler --i ours/run_it{N:03d}_data.star --o mixed/one.star"
    relion(f"{words} --select rlnClassNumber --minval 1 --maxval 1", folder=project)
    chosen = read_particles(project / "mixed/one.star", root=project)
    assert len(chosen) == (classes(project, f"ours/run_it{N:03d}_data.star") == 1).sum() > 0
    assert (chosen.particles.class_number == 1).all()


def test_relions_image_handler_reads_our_averages(project):
    out = relion(f"relion_image_handler --stats --i ours/run_it{N:03d}_classes.mrcs", folder=project)
    images, _ = read_mrc(project / f"ours/run_it{N:03d}_classes.mrcs")
    found = re.findall(r"\(x,y,z,n\)= 32 x 32 x 1 x 1 ; avg= *([-+.\de]+) stddev= *([-+.\de]+)", out)
    expected = np.stack([images.mean((1, 2)), images.std((1, 2))], 1)
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-4)


@pytest.mark.parametrize("iteration", [0, 1, N - 1])
def test_we_go_on_from_relions_iteration(relions, monkeypatch, capfd, iteration):
    monkeypatch.chdir(relions)
    result = ours(continue_from=f"relion/run_it{iteration:03d}_optimiser.star", o=f"mixed/from{iteration}", iter=N)
    written = read_iteration(f"mixed/from{iteration}_it{N:03d}_optimiser.star")
    before = read_iteration(f"relion/run_it{iteration:03d}_optimiser.star")
    assert written.optimiser["rlnParticleDiameter"] == 140 and written.optimiser["rlnDoCorrectCtf"] == 1
    assert written.optimiser["rlnDoSolventFlattening"] == 1 and written.optimiser["rlnDoZeroMask"] == 1
    assert written.progress.random_seed == before.progress.random_seed
    # RELION writes no sampling file for iteration 0, so its steps are unknown there.
    assert written.sampling.psi_step_deg == (15 if iteration else 10) == before.sampling.psi_step_deg
    assert ("no sampling file" in capfd.readouterr().err) == (iteration == 0)
    assert np.isfinite(result.classes).all() and result.dataset.usable.all()
    if iteration == N - 1:
        assert agreement(result.particles.class_number, classes(relions, f"relion/run_it{N:03d}_data.star")) > 0.9


def test_noise_norm_and_shares_agree_with_relion_after_one_iteration(relions, monkeypatch):
    """From the same state, the numbers of one iteration are the same but for the grid's random shift."""
    monkeypatch.chdir(relions)
    ours(continue_from=f"relion/run_it{N - 1:03d}_optimiser.star", o="mixed/one", iter=N)
    mine, theirs = (read_iteration(f"{root}_it{N:03d}_optimiser.star").model for root in ("mixed/one", "relion/run"))
    # RELION drops the fraction of a pixel of the last offset, which leaves a little more signal in its residuals. Its
    # spread of offsets mixes pixels with Angstrom, and its Pmax is of other offsets, so these are not compared.
    shells = slice(1, 16)
    np.testing.assert_allclose(mine.sigma2_noise[0, shells], theirs.sigma2_noise[0, shells], rtol=0.1)
    np.testing.assert_allclose(mine.class_weight, theirs.class_weight, atol=0.05)
    assert mine.current_size_px == theirs.current_size_px
    assert mine.average_norm == pytest.approx(theirs.average_norm, rel=0.03)
