"""Runs with 3D references move between RELION's files and ours, both ways."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from relion_case import MPIRUN

from vitreous.cli import main
from vitreous.io.mrc import read_mrc
from vitreous.io.refine_files import read_refinement, write_refinement
from vitreous.io.run_files import OPTIMISER
from vitreous.io.star import read_star
from vitreous.programs import simulate

pytestmark = pytest.mark.interop
BOX, N, N_DIR = 24, 60, 48  # HEALPix order 1
FLAGS = (
    "--i sim/particles.star --ref sim/truth.mrc --ini_high 40 --particle_diameter 130 --zero_mask --flatten_solvent "
    "--ctf --norm --scale --healpix_order 1 --offset_range 2 --offset_step 2 --oversampling 0 --random_seed 1 "
    "--dont_check_norm --pad 1 --j 1"
)
MPI = f"{MPIRUN} relion_refine_mpi"


def relion(words, folder):
    """Standard output of one of RELION's programs."""
    words = words.split()
    for program in {words[0], next(word for word in words if word.startswith("relion"))}:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stdout[-500:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with few simulated particles.

    They are of one micrograph, for which RELION 3.1 has one noise spectrum, as we have for their optics group.
    """
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate.run(simulate.Options.from_keywords(
            o="sim", n=N, box=BOX, angpix=8.0, snr=0.5, verb=0, shift_std=4.0, seed=1, particles_per_micrograph=N
        ))  # fmt: skip
    for name in ("class3d", "refine3d", "ours"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def classified(project):
    """Two iterations of RELION's classification into two maps."""
    relion(f"relion_refine {FLAGS} --o class3d/r --K 2 --iter 2 --tau2_fudge 2", project)
    return project


@pytest.fixture(scope="module")
def refined(project):
    """Two iterations of RELION's refinement of half-sets."""
    flags = "--auto_refine --split_random_halves --low_resol_join_halves 40 --auto_local_healpix_order 3 --sym c1"
    relion(f"{MPI} {FLAGS} {flags} --o refine3d/r --auto_iter_max 2", project)
    return project


@pytest.fixture
def in_project(project, monkeypatch):
    """The names in files start from the project folder."""
    monkeypatch.chdir(project)


def settings(labels):
    return {label: value for label, value in labels.optimiser.items() if label in OPTIMISER}


def assert_same_maps(found, expected):
    """But for the order of sums in RELION's threads and processes."""
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def table(path, block):
    """Every column as text, of what both programs write."""
    return {label: [str(value) for value in column] for label, column in read_star(path)[block].columns.items()}


def test_relions_classification_is_read(classified, in_project):
    state, labels = read_refinement("class3d/r_it002_optimiser.star")
    model = state.models[0]
    assert len(state.models) == 1 and model.references.shape == (2, BOX, BOX, BOX) and model.pixel_size_A == 8.0
    np.testing.assert_array_equal(model.references[1], read_mrc("class3d/r_it002_class002.mrc")[0])
    assert state.symmetry == "C1" and state.fsc is None and state.progress.iteration == 2
    assert (state.sampling.healpix_order, state.sampling.psi_step_deg, state.sampling.sigma_deg) == (1, 30.0, 0.0)
    assert state.sampling.offset_step_A == 16.0 and state.sampling.oversampling == 0
    assert state.directions_deg.shape == (N_DIR, 2)
    weights = state.direction_weights[0]
    assert weights.shape == (2, N_DIR) and abs(weights.sum() - 1) < N_DIR * 1e-6  # six decimals each
    np.testing.assert_allclose(weights.sum(1), model.class_weight, atol=N_DIR * 1e-6)
    assert labels.optimiser["rlnParticleDiameter"] == 130 and model.tau2_fudge == 2 and model.padding == 1
    assert set(state.dataset.particles.class_number) == {1, 2} and (model.sigma2_noise > 0).all()


def test_relions_half_sets_are_read(refined, in_project):
    state, labels = read_refinement("refine3d/r_it002_optimiser.star")
    half = state.dataset.particles.half
    assert len(state.models) == 2 and set(half) == {1, 2} and labels.optimiser["rlnDoAutoRefine"] == 1
    for h, model in enumerate(state.models, 1):
        np.testing.assert_array_equal(model.references[0], read_mrc(f"refine3d/r_it002_half{h}_class001.mrc")[0])
        assert model.group_counts.sum() == (half == h).sum()
    assert state.fsc[0] == 1 and len(state.fsc) == BOX // 2 + 1 and state.fsc.max() <= 1
    assert not np.array_equal(state.models[0].sigma2_noise, state.models[1].sigma2_noise)
    first, _ = read_refinement("refine3d/r_it000_optimiser.star")
    assert first.fsc is None and first.symmetry == "C1" and np.isinf(first.models[1].current_resolution_A)


def test_relions_converged_refinement_is_read(refined, in_project):
    relion(f"{MPI} --continue refine3d/r_it002_optimiser.star --o refine3d/last --force_converge --j 1", refined)
    state, labels = read_refinement("refine3d/last_it002_optimiser.star")
    assert len(state.models) == 1 and state.progress.has_converged and state.fsc is not None
    assert labels.optimiser["rlnDoSplitRandomHalves"] == 1 and state.models[0].group_counts.sum() == N


def test_local_search_of_relion_is_read(classified, in_project):
    """Its three widths are what --sigma_ang gave."""
    flags = "--o class3d/local --iter 2 --sigma_ang 7.5"
    relion(f"relion_refine --continue class3d/r_it001_optimiser.star {flags}", classified)
    state, _ = read_refinement("class3d/local_it002_optimiser.star")
    assert state.sampling.sigma_deg == 7.5


def test_relion_goes_on_from_our_classification(classified, in_project):
    """From our copy of its iteration 1 as from its own: the same tables, and the same second iteration."""
    state, labels = read_refinement("class3d/r_it001_optimiser.star")
    write_refinement("ours/r", state, settings(labels), options={"max_bad_fraction": 0.01})
    out = relion(
        "relion_refine --continue ours/r_it001_optimiser.star --o class3d/from_ours --iter 2 --j 1", classified
    )
    assert re.search(r"iteration 2 of 2", out)
    relion("relion_refine --continue class3d/r_it001_optimiser.star --o class3d/from_own --iter 2 --j 1", classified)
    for file, block in (("data", "particles"), ("optimiser", "optimiser_general"), ("model", "model_class_2")):
        ours, own = (table(f"class3d/from_{name}_it001_{file}.star", block) for name in ("ours", "own"))
        assert {label: [text.replace("from_own", "from_ours") for text in column] for label, column in own.items()} == {
            label: ours[label] for label in own
        }
    ours, own = (read_refinement(f"class3d/from_{name}_it002_optimiser.star")[0] for name in ("ours", "own"))
    np.testing.assert_array_equal(ours.directions_deg, own.directions_deg)
    assert ours.models[0].log_likelihood == pytest.approx(own.models[0].log_likelihood, rel=1e-6)
    assert_same_maps(ours.models[0].references, own.models[0].references)
    np.testing.assert_array_equal(ours.dataset.particles.class_number, own.dataset.particles.class_number)


def test_relion_goes_on_from_our_half_sets(refined, in_project):
    state, labels = read_refinement("refine3d/r_it001_optimiser.star")
    write_refinement("ours/half", state, settings(labels))
    relion(f"{MPI} --continue ours/half_it001_optimiser.star --o refine3d/from_ours --auto_iter_max 2 --j 1", refined)
    relion(f"{MPI} --continue refine3d/r_it001_optimiser.star --o refine3d/from_own --auto_iter_max 2 --j 1", refined)
    ours, own = (read_refinement(f"refine3d/from_{name}_it002_optimiser.star")[0] for name in ("ours", "own"))
    np.testing.assert_array_equal(ours.dataset.particles.half, state.dataset.particles.half)
    for mine, relions_own in zip(ours.models, own.models):
        assert_same_maps(mine.references, relions_own.references)


def test_relion_takes_our_final_half_maps(refined, in_project):
    """relion_image_handler reads them, with their voxel size."""
    state, labels = read_refinement("refine3d/r_it002_optimiser.star")
    state.unfiltered = [model.references[0] for model in state.models]
    write_refinement("ours/final", state, settings(labels), converged=True)
    for half, volume in enumerate(state.unfiltered, 1):
        out = relion(f"relion_image_handler --stats --i ours/final_half{half}_class001_unfil.mrc", refined)
        found = re.search(r"= 24 x 24 x 24 x 1 ; avg= *(\S+) stddev= *(\S+) .*angpix = 8", out)
        np.testing.assert_allclose([float(v) for v in found.groups()], [volume.mean(), volume.std()], rtol=1e-4)


# Directions of a point group: RELION goes by position in its own list


@pytest.fixture(scope="module", params=["D2", "D7"])
def symmetric(project, request):
    """A molecule with that symmetry, simulated, and the flags of its refinement from a map on the images' scale.

    Of voxels of 1 A, as RELION's prior of offsets goes with the pixel (docs/decisions/0030-offsets-in-angstrom.md).
    """
    group = request.param
    relion(f"relion_image_handler --i sim/truth.mrc --sym {group} --o {group}.mrc", project)
    folder = f"sim_{group}"  # a folder of the group's name alone RELION takes to be a file of symmetry operators
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        simulate.run(simulate.Options.from_keywords(
            o=folder, i=f"{group}.mrc", map_angpix=1.0, angpix=1.0, n=N, box=BOX, snr=0.5, verb=0, shift_std=0.5,
            seed=1, particles_per_micrograph=N
        ))  # fmt: skip
    relion(f"relion_reconstruct --i {folder}/particles_truth.star --o {folder}/truth.mrc --ctf --sym {group}", project)
    (project / f"ours_{group}").mkdir()
    (project / f"relions_{group}").mkdir()
    # Without the perturbation, which is drawn anew, the next iteration of both programs is of the same samples.
    return project, group, (
        f"--i {folder}/particles.star --ref {folder}/truth.mrc --ini_high 5 --particle_diameter 16 --zero_mask "
        "--flatten_solvent --ctf --ctf_corrected_ref --norm --scale --healpix_order 2 --offset_range 2 "
        "--offset_step 1 --oversampling 0 --random_seed 1 --perturb 0 --dont_check_norm --pad 1 --j 1 "
        f"--skip_gridding --sym {group}"
    )


NEXT = "--skip_gridding --j 1"
# Correlation of maps of the same samples; the grid of D7 has views near the axis that RELION's lacks.
LEAST = {"D2": 0.999, "D7": 0.95}


def vitreous(words):
    assert main(words.split()) == 0


def weights_of(root, group):
    """Weights of RELION's directions in a model file, and the number of directions beside them."""
    column = read_star(f"{root}_model.star")["model_pdf_orient_class_1"]["rlnOrientationDistribution"]
    n = len(read_star(f"{root}_sampling.star")["sampling_directions"]["rlnAngleRot"])
    return np.array(column, float), n


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_relion_goes_on_from_our_symmetric_classification(symmetric, monkeypatch):
    """It refuses a list of directions of another length than its own; ours then is the second iteration of both."""
    project, group, flags = symmetric
    monkeypatch.chdir(project)
    vitreous(f"class3d {flags} --K 1 --iter 1 --o ours_{group}/r --verb 0")
    relion(f"relion_refine --continue ours_{group}/r_it001_optimiser.star --o relions_{group}/next --iter 2 {NEXT}", project)
    weights, n = weights_of(f"ours_{group}/r_it001", group)
    again, n_again = weights_of(f"relions_{group}/next_it002", group)
    assert len(weights) == n == len(again) == n_again and weights.sum() == pytest.approx(1, abs=1e-6)
    vitreous(f"class3d --continue ours_{group}/r_it001_optimiser.star --iter 2 --o ours_{group}/next --verb 0")
    ours, theirs = (read_mrc(f"{who}_{group}/next_it002_class001.mrc")[0] for who in ("ours", "relions"))
    assert correlation(ours, theirs) > LEAST[group]
    assert correlation(weights_of(f"ours_{group}/next_it002", group)[0], again) > 0.9


def test_we_go_on_from_relions_symmetric_classification(symmetric, monkeypatch):
    project, group, flags = symmetric
    monkeypatch.chdir(project)
    relion(f"relion_refine {flags} --K 1 --iter 1 --o relions_{group}/r", project)
    vitreous(f"class3d --continue relions_{group}/r_it001_optimiser.star --iter 2 --o ours_{group}/of_relion --verb 0")
    relion(f"relion_refine --continue relions_{group}/r_it001_optimiser.star --iter 2 --o relions_{group}/own {NEXT}", project)
    state, _ = read_refinement(f"ours_{group}/of_relion_it002_optimiser.star")
    own, _ = read_refinement(f"relions_{group}/own_it002_optimiser.star")
    assert correlation(state.models[0].references, own.models[0].references) > LEAST[group]
    listed = state.relion_directions_deg if len(state.relion_directions_deg) else state.directions_deg
    np.testing.assert_allclose(listed, own.directions_deg, atol=1e-5)  # six decimals


def test_relion_goes_on_from_our_symmetric_half_sets(symmetric, monkeypatch):
    project, group, flags = symmetric
    monkeypatch.chdir(project)
    auto = "--low_resol_join_halves 40 --auto_local_healpix_order 4 --auto_iter_max"
    vitreous(f"refine3d {flags} {auto} 2 --o ours_{group}/half --verb 0")
    relion(f"{MPI} --continue ours_{group}/half_it001_optimiser.star --o relions_{group}/half --auto_iter_max 2 {NEXT}", project)
    state, _ = read_refinement(f"relions_{group}/half_it002_optimiser.star")
    own, _ = read_refinement(f"ours_{group}/half_it002_optimiser.star")
    for theirs, ours in zip(state.models, own.models):
        assert correlation(theirs.references, ours.references) > LEAST[group]


def test_our_files_of_orientations_are_relions(symmetric, monkeypatch, tmp_path):
    """The BILD file of the same weights, to the digits that are printed."""
    project, group, flags = symmetric
    monkeypatch.chdir(project)
    relion(f"relion_refine {flags} --K 2 --iter 1 --o relions_{group}/two", project)
    state, labels = read_refinement(f"relions_{group}/two_it001_optimiser.star")
    write_refinement(str(tmp_path / "two"), state, settings(labels))
    for k in (1, 2):
        ours, theirs = ((folder / f"two_it001_class{k:03d}_angdist.bild").read_text().split()
                        for folder in (tmp_path, project / f"relions_{group}"))  # fmt: skip
        assert len(ours) == len(theirs)
        value = lambda words: np.array([float(w) for w in words if w[0] != "."])
        # Weights were read with six decimals, and the largest is of order 0.1; coordinates go to 250 A.
        np.testing.assert_allclose(value(ours), value(theirs), rtol=1e-4, atol=1e-4)
