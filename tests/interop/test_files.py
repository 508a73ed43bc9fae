"""RELION reads what is written here, and what it writes is read here."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from vitreous.io.mrc import write_mrc
from vitreous.io.particles import quantise, read_particles, write_particles
from vitreous.io.run_files import OPTIMISER, read_iteration, write_iteration
from vitreous.io.star import read_star
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup

pytestmark = pytest.mark.interop
BOX, N = 32, 40


def relion(program, *arguments, folder):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stdout[-500:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with particles of two shapes: particles.star and stack.mrcs."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "out").mkdir()  # RELION wants a folder in --o
    rng = np.random.default_rng(1)
    x = np.arange(BOX) - BOX // 2
    shapes = np.stack([np.exp(-(x[:, None] ** 2 / 8 + x**2 / 60)), np.exp(-(x[:, None] ** 2 + x**2) / 30)])
    images = 2 * shapes[np.arange(N) % 2] + rng.normal(size=(N, BOX, BOX))
    images -= images[:, :4].mean(axis=(1, 2), keepdims=True)
    write_mrc(folder / "stack.mrcs", images.astype(np.float32), 3.0, stack=True)
    source = (np.arange(N) // 20).astype(np.int32)
    ctf = CtfColumns(*(np.full(N, v) for v in (15000.125, 14000.25, 33.5, 0.0, 1.0, 0.0)))
    optics = [OpticsGroup("first", 1, 300.0, 2.7, 0.1, 3.0, BOX)]
    names = ["MotionCorr/job002/m/a.mrc", "MotionCorr/job002/m/b.mrc"]
    particles = Particles.default(N, source=source, group=source, ctf=ctf, shift_A=rng.normal(size=(N, 2)))
    data = Dataset(optics, names, Exposures.single(2), particles, ["stack.mrcs"], names)
    write_particles(folder / "particles.star", data)
    return folder


@pytest.fixture(scope="module")
def refined(project):
    """Two iterations of RELION's own classification."""
    flags = (
        "--K 2 --iter 2 --particle_diameter 80 --zero_mask --ctf --psi_step 45 --offset_range 2 --offset_step 2 --norm"
    )
    flags += " --scale --tau2_fudge 2 --flatten_solvent --oversampling 0 --random_seed 1 --dont_check_norm"
    relion("relion_refine", "--i", "particles.star", "--o", "out/r", *flags.split(), folder=project)
    return project


def in_folder(folder, function, *arguments, **named):
    before = os.getcwd()
    os.chdir(folder)
    try:
        return function(*arguments, **named)
    finally:
        os.chdir(before)


def test_star_handler_passes_particles_through(project):
    relion("relion_star_handler", "--i", "particles.star", "--o", "handled.star", folder=project)
    ours = quantise(read_particles(project / "particles.star", need_ctf=True))
    theirs = quantise(read_particles(project / "handled.star", need_ctf=True))
    assert theirs.optics == ours.optics
    for name in ("euler_deg", "shift_A", "class_number", "norm", "image_section", "group"):
        np.testing.assert_array_equal(getattr(theirs.particles, name), getattr(ours.particles, name), err_msg=name)
    for name, column in ours.particles.ctf.columns().items():
        np.testing.assert_array_equal(getattr(theirs.particles.ctf, name), column, err_msg=name)


def test_star_handler_selects_from_particles(project):
    arguments = "--i particles.star --o some.star --select rlnOriginXAngst --minval 0 --maxval 99"
    relion("relion_star_handler", *arguments.split(), folder=project)
    ours = read_particles(project / "particles.star")
    assert len(read_particles(project / "some.star")) == (ours.particles.shift_A[:, 0] >= 0).sum()


def test_relions_iteration_is_read(refined):
    run = in_folder(refined, read_iteration, "out/r_it002_optimiser.star")
    assert run.progress.iteration == 2 and run.progress.random_seed == 1
    assert run.model.references.shape == (2, BOX, BOX) and run.model.pixel_size_A == 3.0
    assert abs(run.model.class_weight.sum() - 1) < 2e-6
    assert (run.model.sigma2_noise > 0).all() and run.model.sigma2_noise.shape == (1, BOX // 2 + 1)
    assert run.sampling.offset_step_A == 6.0 and run.sampling.oversampling == 0
    assert run.model.group_names == ["m/a.mrc", "m/b.mrc"]
    assert (run.dataset.particles.class_number > 0).all()
    first = in_folder(refined, read_iteration, "out/r_it000_optimiser.star")  # RELION writes no sampling.star for it
    assert np.isinf(first.model.current_resolution_A)


def test_relion_continues_from_our_files(refined):
    """RELION goes on from our copy of its iteration 1 as it does from its own: same tables, same second iteration.

    3.1 keeps a noise spectrum per micrograph where we keep one per optics group, so iteration 2 agrees closely, not
    exactly.
    """
    run = in_folder(refined, read_iteration, "out/r_it001_optimiser.star")
    settings = {label: value for label, value in run.optimiser.items() if label in OPTIMISER}
    state = (run.model, run.sampling, run.progress, run.dataset, settings)
    in_folder(refined, write_iteration, "out/ours", *state, options={"max_bad_fraction": 0.01})
    relion("relion_refine", "--continue", "out/ours_it001_optimiser.star", "--o", "out/from_ours", folder=refined)
    relion("relion_refine", "--continue", "out/r_it001_optimiser.star", "--o", "out/from_own", folder=refined)
    for name in ("data", "optimiser"):
        own = (refined / f"out/from_own_it001_{name}.star").read_text().replace("from_own", "from_ours")
        tables = [line for line in own.splitlines() if not line.startswith("#")]
        copy = (refined / f"out/from_ours_it001_{name}.star").read_text()
        assert [line for line in copy.splitlines() if not line.startswith("#")] == tables
    ours, own = (
        in_folder(refined, read_iteration, f"out/from_{name}_it002_optimiser.star") for name in ("ours", "own")
    )
    for a, b in zip(ours.model.references, own.model.references):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99
    assert abs(ours.model.log_likelihood / own.model.log_likelihood - 1) < 1e-2


def test_relion_reads_our_class_stack(refined):
    run = in_folder(refined, read_iteration, "out/r_it002_optimiser.star")
    in_folder(refined, write_iteration, "out/stack", run.model, run.sampling, run.progress, run.dataset, {})
    out = relion("relion_image_handler", "--i", "out/stack_it002_classes.mrcs", "--stats", folder=refined)
    stats = re.findall(r"(\d{6})@\S+ : \(x,y,z,n\)= 32 x 32 x 1 x 1 ; avg= (\S+) stddev= (\S+) .*angpix = 3", out)
    assert [int(section) for section, _, _ in stats] == [1, 2], out
    for image, (_, mean, spread) in zip(run.model.references, stats):
        np.testing.assert_allclose([image.mean(), image.std()], [float(mean), float(spread)], rtol=1e-5)  # six digits
    star = read_star(refined / "out/stack_it002_model.star")
    assert star["model_classes"]["rlnReferenceImage"][1] == "000002@out/stack_it002_classes.mrcs"
