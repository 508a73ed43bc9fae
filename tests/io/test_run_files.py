"""A run's files hold its whole state: what is read is what was written, to the last bit."""

import contextlib
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_case import K, assert_same, assert_same_particles, state

from vitreous.errors import InputError
from vitreous.io.model_star import read_model
from vitreous.io.run_files import OPTIMISER, RunPaths, optimiser_files, read_iteration, write_iteration
from vitreous.io.star import read_star, write_star
from vitreous.model.state import Progress


def write(folder, seed=0, **settings):
    root = str(folder / "run")
    return state(seed), write_iteration(root, *state(seed), settings, options={"max_bad_fraction": 0.01, "none": None})


def test_state_survives_its_files_bitwise(tmp_path):
    (model, sampling, progress, data), paths = write(tmp_path)
    run = read_iteration(paths.optimiser)
    assert_same(run.model, model)
    assert_same(run.sampling, sampling)
    assert_same(run.progress, progress)
    assert run.root == str(tmp_path / "run")
    assert run.options == {"max_bad_fraction": "0.01"}
    assert run.dataset.optics == data.optics
    assert_same_particles(run.dataset, data)


def test_files_written_twice_are_the_same_bytes(tmp_path):
    _, paths = write(tmp_path)
    before = {name: Path(name).read_bytes() for name in (paths.optimiser, paths.model, paths.sampling, paths.data)}
    run = read_iteration(paths.optimiser)
    settings = {label: value for label, value in run.optimiser.items() if label in OPTIMISER}
    write_iteration(run.root, run.model, run.sampling, run.progress, run.dataset, settings, options=run.options)
    for name, content in before.items():
        assert Path(name).read_bytes() == content, name


def test_settings_keep_their_type_and_default(tmp_path):
    _, paths = write(tmp_path, rlnDoZeroMask=True, rlnParticleDiameter=200, rlnSolventMaskName=None)
    run = read_iteration(paths.optimiser)
    assert (run.optimiser["rlnDoZeroMask"], run.optimiser["rlnParticleDiameter"]) == (1, 200.0)
    assert run.optimiser["rlnSolventMaskName"] == "None"
    assert "_rlnParticleDiameter" in Path(paths.optimiser).read_text()
    with pytest.raises(InputError, match="found the setting rlnNoSuchThing"):
        write(tmp_path, rlnNoSuchThing=1)


def test_optimiser_is_written_last(tmp_path, monkeypatch):
    from vitreous.io import run_files

    def refuse(*args, **kwargs):
        raise OSError("disk")

    monkeypatch.setattr(run_files, "write_particles", refuse)
    with pytest.raises(OSError, match="disk"):
        write(tmp_path)
    assert not list(tmp_path.glob("*optimiser*")) and list(tmp_path.glob("*_model.star"))


def test_files_are_found_beside_the_optimiser_after_a_move(tmp_path):
    (tmp_path / "old").mkdir()
    write(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    run = read_iteration(tmp_path / "new" / "run_it007_optimiser.star")
    assert run.model.n_classes == K


def test_missing_file_says_what_to_do(tmp_path):
    _, paths = write(tmp_path)
    (tmp_path / "run_it007_model.star").unlink()
    with pytest.raises(InputError, match=r"run_it007_model.star: is not there.*continue from an earlier iteration"):
        read_iteration(paths.optimiser)


def test_half_set_refinement_is_refused(tmp_path):
    _, paths = write(tmp_path, rlnDoSplitRandomHalves=1)
    with pytest.raises(InputError, match="two half-sets, expected a classification"):
        read_iteration(paths.optimiser)


def test_absent_labels_have_defaults(tmp_path):
    _, paths = write(tmp_path)
    star = read_star(paths.optimiser)
    del star["vitreous_options"]
    kept = ("rlnModelStarFile", "rlnExperimentalDataStarFile", "rlnOrientSamplingStarFile", "rlnCurrentIteration")
    star["optimiser_general"].columns = {label: star["optimiser_general"].columns[label] for label in kept}
    write_star(paths.optimiser, star)
    (tmp_path / "run_it007_sampling.star").unlink()
    run = read_iteration(paths.optimiser)
    assert run.progress == replace(Progress(), iteration=7)
    assert run.root == str(tmp_path / "run")
    assert run.sampling.offset_step_A == 2 * 1.37


def test_noise_of_image_groups_stands_in_for_optics_groups(tmp_path):
    (model, _, _, _), paths = write(tmp_path)
    star = read_star(paths.model)
    for g in (1, 2):
        del star[f"model_optics_group_{g}"]
    run_model = read_model(star, model.references, model.group_names, model.group_counts, [0, 0, 1])
    np.testing.assert_allclose(run_model.sigma2_noise, model.sigma2_noise, rtol=1e-14)  # an average of equal numbers


def test_missing_noise_shells_take_the_previous_value(tmp_path):
    model, sampling, progress, data = state()
    model.sigma2_noise[0, [0, 4]] = 0
    paths = write_iteration(str(tmp_path / "run"), model, sampling, progress, data, {})
    found = read_iteration(paths.optimiser).model.sigma2_noise[0]
    assert found[4] == model.sigma2_noise[0, 3] and found[0] == model.sigma2_noise[0, 1]


def test_sampling_of_relion_3_0_is_in_pixels(tmp_path):
    _, paths = write(tmp_path)
    text = Path(paths.sampling).read_text()
    Path(paths.sampling).write_text("\n".join(line for line in text.splitlines() if not line.startswith("#")))
    run = read_iteration(paths.optimiser)
    assert run.sampling.offset_step_A == 2.74 * 1.37 and run.sampling_general["rlnOffsetStep"] == 2.74 * 1.37


def test_damaged_files_give_an_input_error_or_are_read(tmp_path):
    """Nothing but InputError comes out of a file that lost or changed some of its text."""
    _, paths = write(tmp_path)
    rng = np.random.default_rng(7)
    for trial in range(120):
        path = Path(getattr(paths, ("optimiser", "model", "sampling", "data")[trial % 4]))
        text = path.read_text()
        words = text.split(" ")
        words[rng.integers(len(words))] = rng.choice(["", "nan", "x", "-1", "1e999", "\n", "loop_", "\ndata_a", '"'])
        damaged = " ".join(words)
        path.write_text(damaged if trial % 3 else damaged[: rng.integers(1, len(damaged))])
        with contextlib.suppress(InputError):
            read_iteration(paths.optimiser)
        path.write_text(text)
    read_iteration(paths.optimiser)


def test_optimiser_files_are_in_order(tmp_path):
    for iteration in (10, 2, 1000):
        (tmp_path / RunPaths("run", iteration).optimiser).touch()
    (tmp_path / "other_it001_optimiser.star").touch()
    names = [path.name for path in optimiser_files(str(tmp_path / "run"))]
    assert names == ["run_it002_optimiser.star", "run_it010_optimiser.star", "run_it1000_optimiser.star"]


@pytest.mark.data
def test_relion_5_model_is_read(test_data, tmp_path):
    member = "relion5_spa_bgal_sppractice/Class2D/job010/run_it025_model.star"
    with lzma.open(test_data / "star" / "star_collection.tar.xz") as text, tarfile.open(fileobj=text, mode="r|") as tar:
        content = next(tar.extractfile(m).read() for m in tar if m.name.removeprefix("./") == member)
    (tmp_path / "model.star").write_bytes(content)
    star = read_star(tmp_path / "model.star")
    model = read_model(star, np.zeros((50, 64, 64), np.float32), ["none"], [1], [0])
    assert (model.pixel_size_A, model.current_size_px, model.sigma_offset_A) == (3.54, 46, 8.182596)
    assert model.sigma2_noise.shape == (1, 33) and (model.sigma2_noise > 0).all()
    assert abs(model.class_weight.sum() - 1) < 1e-5  # fifty numbers of six decimals
    assert model.tau2.shape == (50, 33) and model.class_resolution_A[0] == 37.76
