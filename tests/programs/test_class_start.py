"""Where the classes of class3d begin, as a user runs it: particles in two states at known poses, and in one state."""

from pathlib import Path

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.job.log import read_events

BOX, PIXEL_A, DIAMETER_A = 24, 8.0, 150
USUAL = {
    "particle_diameter": DIAMETER_A, "ini_high": 30, "ctf": True, "zero_mask": True, "K": 2, "iter": 1, "random_seed": 1,
    "skip_align": True, "healpix_order": 2, "offset_range": 2, "offset_step": 2, "j": 1, "verb": 0,
}  # fmt: skip


def simulated(folder, source=None):
    states = {} if source is None else {"i": str(source)}
    size = {"n": 120, "box": BOX, "angpix": PIXEL_A, "snr": 0.5, "particle_diameter": DIAMETER_A}
    call("simulate", o=str(folder), seed=2, shift_std=6, verb=0, **size, **states)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Particles of one molecule."""
    return simulated(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(one, tmp_path_factory):
    """Particles of it and of it with a knob; the reference is their mean."""
    folder = tmp_path_factory.mktemp("two")
    volume, _ = read_mrc(one / "truth.mrc")
    z, y, x = (np.indices(volume.shape) - BOX // 2) * PIXEL_A
    knob = volume.max() * np.exp(-((x - 25) ** 2 + (y + 20) ** 2 + (z - 30) ** 2) / (2 * 15.0**2)).astype(np.float32)
    for name, state in (("a", volume), ("b", volume + knob)):
        write_mrc(folder / f"{name}.mrc", state, PIXEL_A)
    (folder / "states.star").write_text(f"data_\n\nloop_\n_rlnReferenceImage\n{folder}/a.mrc\n{folder}/b.mrc\n", encoding="utf-8")
    simulated(folder / "set", folder / "states.star")
    call("reconstruct", i=str(folder / "set" / "particles_truth.star"), o=str(folder / "mean.mrc"), ctf=True, verb=0)
    return folder


def classify(case, root, **options):
    given = {"i": str(case / "set" / "particles_truth.star"), "ref": str(case / "mean.mrc")} | USUAL
    if "continue" in options:
        given = {"verb": 0, "j": 1}
    return call("class3d", **{k: v for k, v in (given | {"o": str(root)} | options).items() if v is not None})


def purity(case, particles):
    true = read_particles(case / "set" / "particles_truth.star").particles.class_number
    right = (particles.class_number == true).mean()
    return max(right, 1 - right)


def how(root):
    (event,) = read_events(root.parent / f"{root.name}.jsonl", "class start")
    return event


@pytest.fixture(scope="module")
def apart(two, tmp_path_factory):
    """Root and result of two iterations that begin as the program chooses."""
    root = tmp_path_factory.mktemp("apart") / "run"
    return root, classify(two, root, iter=2)


def test_classes_begin_apart_along_the_principal_volume(two, apart, tmp_path):
    """Two iterations then find the states, and from a random start they do not; the maps of the start differ by the knob."""
    root, result = apart
    random = classify(two, tmp_path / "run", iter=2, class_start="random")
    assert purity(two, result.particles) > 0.85 > 0.65 > purity(two, random.particles)
    told = how(root)
    assert told["how"] == "principal" and told["gain"] > 1.05 * told["exchanged_gain"]
    assert how(tmp_path / "run")["why"] == "asked for"
    assert "1 principal volume of 120 particles" in (root.parent / "report.html").read_text(encoding="utf-8")
    found = np.subtract(*(read_mrc(f"{root}_it000_class00{k}.mrc")[0] for k in (1, 2)))
    true = np.subtract(*(read_mrc(two / f"{name}.mrc")[0] for name in "ab"))
    assert abs(np.corrcoef(found.ravel(), true.ravel())[0, 1]) > 0.7


def test_classes_begin_apart_in_local_searches_too(two, tmp_path):
    assert purity(two, classify(two, tmp_path / "run", skip_align=None, sigma_ang=5).particles) > 0.85


def test_start_of_the_classes_is_repeatable_and_can_be_continued(two, apart, tmp_path):
    """The same bits with other threads, and from the files of iteration 0."""
    root, _ = apart
    classify(two, tmp_path / "b", iter=2, j=2)
    classify(two, tmp_path / "c", **{"continue": f"{root}_it000_optimiser.star"})
    for k in (1, 2):
        first, *others = (Path(f"{run}_it002_class00{k}.mrc").read_bytes() for run in (root, tmp_path / "b", tmp_path / "c"))
        assert others == [first, first]


def test_particles_of_one_state_begin_at_random(one, two, tmp_path):
    given = {"i": str(one / "particles_truth.star"), "ref": str(one / "truth.mrc")}
    classify(two, tmp_path / "run", **given)
    assert how(tmp_path / "run")["how"] == "random" and "show no difference" in how(tmp_path / "run")["why"]
    classify(two, tmp_path / "x", class_start="random", **given)
    assert (tmp_path / "run_it001_class001.mrc").read_bytes() == (tmp_path / "x_it001_class001.mrc").read_bytes()


def test_global_search_begins_at_random(two, tmp_path):
    classify(two, tmp_path / "run", skip_align=None, healpix_order=0)
    assert how(tmp_path / "run")["why"] == "the particles' own orientations are not used"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"class_start": "apart"}, "found 'apart', expected random or principal"),
        ({"class_start": "principal", "firstiter_cc": True}, "principal with --firstiter_cc"),
        ({"class_start": "principal", "i": "particles.star"}, "has no orientations"),
        ({"class_start": "principal", "K": 1}, "found one class"),
    ],
)
def test_class_start_refuses(two, tmp_path, change, message):
    if "i" in change:
        change = change | {"i": str(two / "set" / change["i"])}
    with pytest.raises(InputError, match=message):
        classify(two, tmp_path / "run", **change)
