"""select --auto_select: particles stay and junk goes, and the files are those of RELION's class ranker."""

import shutil

import junk_case
import numpy as np
import pytest

import vitreous
from vitreous.engine.simulate import Recipe
from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star, write_star

BOX, PIXEL_A, N_ITER = 32, 8.0, 20


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A folder with a classification of 260 particles and 140 pictures of junk, and what each picture is."""
    folder = tmp_path_factory.mktemp("junk")
    recipe = Recipe(400, BOX, PIXEL_A, snr=0.3, seed=1, views=4, particle_diameter_A=0.65 * BOX * PIXEL_A)
    what = junk_case.make(folder / "Extract", recipe, 0.35)
    vitreous.class2d(
        i=str(folder / "Extract/particles.star"), o=str(folder / "Class2D/run"), K=12, iter=N_ITER, tau2_fudge=2,
        particle_diameter=0.8 * BOX * PIXEL_A, ctf=True, zero_mask=True, flatten_solvent=True, norm=True, scale=True,
        center_classes=True, random_seed=1, verb=0,
    )  # fmt: skip
    return folder, what


def select(folder, **options):
    star = folder / f"Class2D/run_it{N_ITER:03d}_optimiser.star"
    return vitreous.select(**{"i": str(star), "o": str(folder / "Select"), "auto_select": True, "verb": 0} | options)


def test_auto_select_keeps_particles_and_drops_junk(classified):
    folder, what = classified
    select(folder)
    names = read_star(folder / "Select/particles.star")["particles"]["rlnImageName"]
    rows = np.array([int(name.split("@")[0]) - 1 for name in names])
    kept = np.isin(np.arange(len(what)), rows)
    particle = what == "particle"
    assert kept[particle].mean() >= 0.9
    # Some pictures of noise and of half a particle are classified with particles; no choice of classes parts them.
    assert kept[~particle].mean() <= 0.5
    assert kept[np.isin(what, ("carbon", "ice"))].mean() <= 0.2


def test_auto_select_writes_the_files_of_a_class_ranker(classified):
    folder, _ = classified
    result = select(folder)
    optimiser = read_star(folder / "Select/rank_optimiser.star")["optimiser_general"]
    assert optimiser.value("rlnModelStarFile") == str(folder / "Select/rank_model.star")
    model = read_star(folder / "Select/rank_model.star")
    assert "model_groups" in model and "model_class_12" in model
    score = model["model_classes"]["rlnClassScore"]
    averages = read_star(folder / "Select/class_averages.star")[""]
    np.testing.assert_array_equal(averages["rlnClassNumber"], 1 + np.flatnonzero(score >= 0.5))
    selected = read_star(folder / "Select/backup_selection.star")[""]["rlnSelected"]
    np.testing.assert_array_equal(selected, score >= 0.5)
    again = vitreous.select(
        i=str(folder / "Select/rank_optimiser.star"), o=str(folder / "Select2"), min_score=0.5, verb=0
    )
    assert again.n_after == result.n_after
    page = (folder / "Select/report.html").read_text()
    best = int(np.argmax(score))
    assert f"{score[best]:.2f}" in page and "<tr class=chosen>" in page


def test_auto_select_without_an_optimiser_scores_the_whole_box_and_says_so(classified, tmp_path, capsys):
    folder, _ = classified
    root = f"run_it{N_ITER:03d}"
    for name in (f"{root}_model.star", f"{root}_data.star"):
        shutil.copy(folder / "Class2D" / name, tmp_path / name)
    result = select(folder, i=str(tmp_path / f"{root}_model.star"), o=str(tmp_path / "s"), verb=1)
    assert "scores are of the whole box" in "".join(capsys.readouterr())
    assert result.chosen.any() and not (tmp_path / "s/rank_optimiser.star").exists()


def test_auto_select_takes_more_classes_when_told_so(classified):
    folder, _ = classified
    few = select(folder, min_score=1.0, select_min_nr_classes=1)
    assert few.chosen.sum() == 1
    more = select(folder, min_score=1.0, select_min_nr_particles=few.n_after + 1)
    assert more.chosen.sum() == 2 and more.n_after > few.n_after
    best = int(np.argmax(few.scores.score))
    others = ",".join(str(k + 1) for k in range(12) if k != best)  # as many are chosen, of those that are listed
    listed = select(folder, min_score=1.0, select_min_nr_classes=2, classes=others).chosen
    assert listed.sum() == 2 and not listed[best]
    with pytest.raises(InputError, match="--select_min_nr_classes: found with --best_classes"):
        select(folder, select_min_nr_classes=2, best_classes=1)
    with pytest.raises(InputError, match=r"no class is chosen \(the best score is 0\.\d\d\)"):
        select(folder, min_score=1.0)


def test_auto_select_refuses_maps_and_numbers_without_a_score(tmp_path):
    write_mrc(tmp_path / "run_it001_class001.mrc", np.ones((8, 8, 8), np.float32), 4.0)
    particles = {"rlnImageName": np.array(["1@a.mrcs"], object), "rlnClassNumber": np.array([1])}
    optics = {"rlnOpticsGroup": np.array([1]), "rlnImagePixelSize": np.array([4.0])}
    write_star(tmp_path / "run_it001_data.star", {"optics": optics, "particles": particles})
    classes = {"rlnReferenceImage": np.array([str(tmp_path / "run_it001_class001.mrc")], object)}
    model = str(tmp_path / "run_it001_model.star")
    write_star(model, {"model_classes": classes})
    with pytest.raises(InputError, match="has maps, expected 2D class averages"):
        vitreous.select(i=model, o=str(tmp_path / "s"), auto_select=True, verb=0)
    with pytest.raises(InputError, match="--select_min_nr_classes: found without a score"):
        vitreous.select(i=model, o=str(tmp_path / "s"), select_min_nr_classes=2, verb=0)
