"""The files of a refinement or 3D classification hold its whole state: what is read is what was written."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_case import BOX, N, assert_same, assert_same_particles, refinement, state

from vitreous.errors import InputError
from vitreous.io import refine_files
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.refine_files import read_refinement, write_refinement
from vitreous.io.run_files import OPTIMISER, read_iteration, write_iteration
from vitreous.io.star import read_star, write_star

GLOBAL = refinement(1).sampling
LOCAL = replace(GLOBAL, healpix_order=5, psi_step_deg=1.875, sigma_deg=3.75 / 3)


def write(folder, n_models, settings=None, **fields):
    expected = refinement(n_models, **fields)
    options = {"max_bad_fraction": 0.01, "none": None}
    return expected, write_refinement(str(folder / "run"), expected, settings or {}, options=options)


def assert_same_refinement(found, expected):
    assert len(found.models) == len(expected.models)
    for mine, other in zip(found.models, expected.models):
        assert_same(mine, other)
    assert_same(found.sampling, expected.sampling)
    assert_same(found.progress, expected.progress)
    assert_same_particles(found.dataset, expected.dataset)
    assert found.dataset.optics == expected.dataset.optics and found.symmetry == expected.symmetry
    np.testing.assert_array_equal(found.directions_deg, expected.directions_deg)
    np.testing.assert_array_equal(found.relion_directions_deg, expected.relion_directions_deg)
    for mine, other in zip(found.direction_weights, expected.direction_weights):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(found.fsc, expected.fsc)


@pytest.mark.parametrize("n_models", [1, 2])
@pytest.mark.parametrize("sampling", [GLOBAL, LOCAL], ids=["global", "local"])
def test_state_survives_its_files_bitwise(tmp_path, n_models, sampling):
    expected, paths = write(tmp_path, n_models, sampling=sampling)
    found, labels = read_refinement(paths.optimiser)
    assert_same_refinement(found, expected)
    assert labels.root == str(tmp_path / "run") and labels.options == {"max_bad_fraction": "0.01"}
    assert labels.model_general["rlnOrientationalPriorMode"] == int(sampling is LOCAL)


@pytest.mark.parametrize("n_models", [1, 2])
def test_state_with_another_list_than_relions_survives_bitwise(tmp_path, n_models):
    """RELION's blocks hold its list, and the weights of its directions sum to the classes' shares."""
    expected, paths = write(tmp_path, n_models, relion_directions_deg=np.random.default_rng(2).random((9, 2)) * 90)
    assert_same_refinement(read_refinement(paths.optimiser)[0], expected)
    tilt = read_star(paths.sampling)["sampling_directions"]["rlnAngleTilt"]
    np.testing.assert_array_equal(tilt, expected.relion_directions_deg[:, 1])
    for k, share in enumerate(expected.direction_weights[0].sum(1), 1):
        weights = read_star(paths.models[0])[f"model_pdf_orient_class_{k}"]["rlnOrientationDistribution"]
        assert len(weights) == 9 and weights.sum() == pytest.approx(share)


@pytest.mark.parametrize("n_models", [1, 2])
def test_files_written_twice_are_the_same_bytes(tmp_path, n_models):
    write(tmp_path, n_models, {"rlnParticleDiameter": 200, "rlnDoAutoRefine": True})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    found, labels = read_refinement(tmp_path / "run_it007_optimiser.star")
    settings = {label: value for label, value in labels.optimiser.items() if label in OPTIMISER}
    write_refinement(labels.root, found, settings, options=labels.options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_of_a_classification_are_relions(tmp_path):
    write(tmp_path, 1)
    maps = {f"run_it007_class{k:03d}.mrc" for k in (1, 2, 3)}
    tables = {f"run_it007_{name}.star" for name in ("optimiser", "model", "sampling", "data")}
    bilds = {name.replace(".mrc", "_angdist.bild") for name in maps}
    assert {path.name for path in tmp_path.iterdir()} == maps | tables | bilds
    star = read_star(tmp_path / "run_it007_model.star")
    assert list(star["model_classes"]["rlnReferenceImage"]) == [str(tmp_path / name) for name in sorted(maps)]
    assert star["model_general"].value("rlnReferenceDimensionality") == 3


def test_names_of_half_sets_are_relions(tmp_path):
    expected, _ = write(tmp_path, 2)
    maps = {f"run_it007_half{h}_class001.mrc" for h in (1, 2)}
    tables = {f"run_it007_{name}.star" for name in ("optimiser", "half1_model", "half2_model", "sampling", "data")}
    bilds = {name.replace(".mrc", "_angdist.bild") for name in maps}
    assert {path.name for path in tmp_path.iterdir()} == maps | tables | bilds
    optimiser = read_star(tmp_path / "run_it007_optimiser.star")["optimiser_general"]
    assert optimiser.value("rlnModelStarFile2") == str(tmp_path / "run_it007_half2_model.star")
    assert optimiser.value("rlnDoSplitRandomHalves") == 1
    assert list(optimiser)[:3] == ["rlnOutputRootName", "rlnModelStarFile", "rlnModelStarFile2"]
    half = read_star(tmp_path / "run_it007_data.star")["particles"]["rlnRandomSubset"]
    np.testing.assert_array_equal(half, expected.dataset.particles.half)


def test_half_maps_of_an_iteration_are_written(tmp_path):
    """As --solvent_correct_fsc needs them."""
    maps = np.random.default_rng(1).normal(size=(2, BOX, BOX, BOX)).astype(np.float32)
    write(tmp_path, 2, unfiltered=list(maps))
    for half, volume in enumerate(maps, 1):
        np.testing.assert_array_equal(read_mrc(tmp_path / f"run_it007_half{half}_class001_unfil.mrc")[0], volume)


def test_sampling_is_of_three_dimensions(tmp_path):
    expected, paths = write(tmp_path, 1)
    star = read_star(paths.sampling)
    general = star["sampling_general"]
    assert (general.value("rlnIs3DSampling"), general.value("rlnTiltAngleLimit")) == (1, -91.0)
    assert (general.value("rlnHealpixOrder"), general.value("rlnSymmetryGroup")) == (2, "D2")
    assert general.value("rlnHealpixOrderOriginal") == 1  # 30 degrees
    np.testing.assert_array_equal(star["sampling_directions"]["rlnAngleTilt"], expected.directions_deg[:, 1])


@pytest.mark.parametrize("given", ["none", "no list", "other directions"])
def test_uniform_directions_are_written_and_read_as_none(tmp_path, given):
    weights = {"none": [None], "no list": [], "other directions": [np.ones((3, 7)) / 21]}[given]
    expected, paths = write(tmp_path, 1, direction_weights=weights)
    model_star = read_star(paths.models[0])
    for k, weight in enumerate(expected.models[0].class_weight, 1):
        written = model_star[f"model_pdf_orient_class_{k}"]["rlnOrientationDistribution"]
        np.testing.assert_array_equal(written, np.full(12, weight / 12))
    assert read_refinement(paths.optimiser)[0].direction_weights == [None]


def test_state_without_directions_survives(tmp_path):
    """Before the first iteration nothing was searched."""
    expected, paths = write(tmp_path, 2, directions_deg=np.zeros((0, 2)), direction_weights=[None, None], fsc=None)
    found, _ = read_refinement(paths.optimiser)
    assert_same_refinement(found, expected)
    assert found.directions_deg.shape == (0, 2) and found.fsc is None


def test_final_files_have_no_number_and_one_model(tmp_path):
    maps = list(np.random.default_rng(1).normal(size=(2, BOX, BOX, BOX)).astype(np.float32))
    expected = refinement(2, unfiltered=maps)
    expected.progress.has_converged = True
    paths = write_refinement(str(tmp_path / "run"), expected, {}, converged=True)
    names = {"class001.mrc", "class001_angdist.bild", "half1_class001_unfil.mrc", "half2_class001_unfil.mrc"}
    names |= {f"{name}.star" for name in ("optimiser", "model", "sampling", "data")}
    assert {path.name for path in tmp_path.iterdir()} == {f"run_{name}" for name in names}
    np.testing.assert_array_equal(read_mrc(tmp_path / "run_half2_class001_unfil.mrc")[0], maps[1])
    found, labels = read_refinement(paths.optimiser)
    joined = replace(expected.models[0], group_counts=expected.dataset.group_counts)
    assert_same_refinement(found, replace(expected, models=[joined]))
    assert found.progress.has_converged and labels.root == str(tmp_path / "run")
    np.testing.assert_array_equal(read_particles(paths.data).particles.half, expected.dataset.particles.half)


def test_optimiser_is_written_last(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("disk")

    monkeypatch.setattr(refine_files, "write_particles", refuse)
    with pytest.raises(OSError, match="disk"):
        write(tmp_path, 2)
    assert not list(tmp_path.glob("*optimiser*")) and list(tmp_path.glob("*half2_model.star"))


def test_unknown_setting_is_refused_before_any_file(tmp_path):
    with pytest.raises(InputError, match="found the setting rlnNoSuchThing"):
        write(tmp_path, 1, {"rlnNoSuchThing": 1})
    assert not list(tmp_path.iterdir())


def test_files_are_found_beside_the_optimiser_after_a_move(tmp_path):
    (tmp_path / "old").mkdir()
    write(tmp_path / "old", 2)
    (tmp_path / "old").rename(tmp_path / "new")
    found, _ = read_refinement(tmp_path / "new" / "run_it007_optimiser.star")
    assert [model.references.shape for model in found.models] == [(1, BOX, BOX, BOX)] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half2_model.star", "half2_model.star: is not there.*continue from an earlier iteration"),
        ("half2_class001.mrc", "half2_class001.mrc: is not there.*continue from an earlier iteration"),
        ("sampling.star", "sampling.star: is not there.*writes none for iteration 0"),
        ("data.star", "data.star"),
    ],
)
def test_missing_file_says_what_to_do(tmp_path, name, message):
    _, paths = write(tmp_path, 2)
    (tmp_path / f"run_it007_{name}").unlink()
    with pytest.raises(InputError, match=message):
        read_refinement(paths.optimiser)


def test_half_sets_that_are_not_assigned_are_refused(tmp_path):
    _, paths = write(tmp_path, 2)
    star = read_star(paths.data)
    star["particles"]["rlnRandomSubset"] = np.zeros(N, int)
    write_star(paths.data, star)
    with pytest.raises(InputError, match=f"{N} of {N} particles are in no half-set, expected rlnRandomSubset 1 or 2"):
        read_refinement(paths.optimiser)


def test_2d_and_3d_runs_are_told_apart(tmp_path):
    paths = write_iteration(str(tmp_path / "flat"), *state(), {})
    with pytest.raises(InputError, match="2D references, expected 3D; give it to class2d"):
        read_refinement(paths.optimiser)
    _, paths = write(tmp_path, 1)
    with pytest.raises(InputError, match="3D references, expected 2D; give it to class3d or refine3d"):
        read_iteration(paths.optimiser)


def test_priors_of_unequal_width_are_refused(tmp_path):
    _, paths = write(tmp_path, 1, sampling=LOCAL)
    star = read_star(paths.models[0])
    star["model_general"]["rlnSigmaPriorPsiAngle"] = [20.0]
    write_star(paths.models[0], star)
    with pytest.raises(InputError, match=r"widths 1\.25, 1\.25, 20 degrees, expected one width"):
        read_refinement(paths.optimiser)


def test_damaged_map_is_refused(tmp_path):
    expected, paths = write(tmp_path, 1)
    expected.models[0].references[1, 2, 3, 4] = np.nan
    write_refinement(str(tmp_path / "run"), expected, {})
    with pytest.raises(InputError, match=r"class002\.mrc: holds NaN or infinity"):
        read_refinement(paths.optimiser)
    flat = Path(paths.map(0, 1))
    refine_files.write_mrc(flat, np.zeros((3, BOX, BOX)), 1.37, stack=False)
    with pytest.raises(InputError, match=r"class002\.mrc: is 16 x 16 x 3 px, expected cubes of one size"):
        read_refinement(paths.optimiser)


def test_damaged_files_give_an_input_error_or_are_read(tmp_path):
    """Nothing but InputError comes out of files that lost or changed some of their text."""
    _, paths = write(tmp_path, 2)
    rng = np.random.default_rng(7)
    for trial in range(80):
        path = Path((paths.optimiser, paths.models[1], paths.sampling, paths.models[0])[trial % 4])
        text = path.read_text()
        words = text.split(" ")
        words[rng.integers(len(words))] = rng.choice(["", "nan", "x", "-1", "1e999", "\n", "loop_", "\ndata_a", '"'])
        damaged = " ".join(words)
        path.write_text(damaged if trial % 3 else damaged[: rng.integers(1, len(damaged))])
        with contextlib.suppress(InputError):
            read_refinement(paths.optimiser)
        path.write_text(text)
    read_refinement(paths.optimiser)
