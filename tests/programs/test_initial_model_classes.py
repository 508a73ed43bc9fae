"""Classes of an initial model: states of one structure, one structure alone, and two structures."""

from pathlib import Path

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.job import parting
from vitreous.job.log import read_events

BOX, PIXEL_A, DIAMETER_A = 24, 8.0, 150
SET = {"n": 300, "box": BOX, "angpix": PIXEL_A, "snr": 1.0, "particle_diameter": DIAMETER_A, "shift_std": 4, "verb": 0}


def mixed(folder, *maps):
    """Particles of maps, as many of each."""
    for i, volume in enumerate(maps):
        write_mrc(folder / f"{i}.mrc", volume, PIXEL_A)
    rows = "\n".join(f"{folder}/{i}.mrc" for i in range(len(maps)))
    (folder / "maps.star").write_text(f"data_\n\nloop_\n_rlnReferenceImage\n{rows}\n", encoding="utf-8")
    call("simulate", o=str(folder / "set"), i=str(folder / "maps.star"), seed=2, **SET)
    return folder / "set"


def molecule(folder, **options):
    call("simulate", o=str(folder), **(SET | {"n": 1} | options))
    return read_mrc(folder / "truth.mrc")[0]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Particles of a molecule, of it with and without a knob, and of two molecules."""
    new = tmp_path_factory.mktemp
    one, other = molecule(new("one")), molecule(new("other"), sym="D3")
    z, y, x = (np.indices(one.shape) - BOX // 2) * PIXEL_A
    knob = one.max() * np.exp(-((x - 25) ** 2 + (y + 20) ** 2 + (z - 30) ** 2) / (2 * 15.0**2)).astype(np.float32)
    return {"one": mixed(new("a"), one), "states": mixed(new("b"), one, one + knob), "molecules": mixed(new("c"), one, other)}


def model(case, root, **options):
    given = {"i": str(case / "particles.star"), "particle_diameter": DIAMETER_A, "ctf": True, "zero_mask": True, "K": 2,
             "flatten_solvent": True, "offset_range": 2, "iter": 30, "starts": 1, "random_seed": 1}  # fmt: skip
    given = {} if "continue" in options else given
    return call("initial-model", **given | {"o": str(root), "j": 2, "verb": 0} | options)


def purity(case, particles):
    right = (particles.class_number == read_particles(case / "particles_truth.star").particles.class_number).mean()
    return max(right, 1 - right)


def told(root):
    return [e["how"] for e in read_events(Path(f"{root}.jsonl"), "class start")]


def test_two_states_are_told_apart_and_not_searched_again(sets, tmp_path, monkeypatch):
    """By some of the particles, all of which are then sorted."""
    monkeypatch.setattr(parting, "MOST_PER_CLASS", 120)
    root = tmp_path / "run"
    found = model(sets["states"], root)
    assert told(root) == ["apart"] and purity(sets["states"], found.particles) > 0.95
    written = read_particles(f"{root}_it030_data.star").particles
    np.testing.assert_array_equal(written.class_number, found.particles.class_number)
    last = [e for e in read_events(Path(f"{root}.jsonl"), "iteration") if e["iteration"] == 30][-1]
    assert last["local"] and last["class_weight"] == pytest.approx(found.model.class_weight)
    again = model(sets["states"], root, **{"continue": f"{root}_it030_optimiser.star"})
    assert told(root) == ["apart"]
    np.testing.assert_array_equal(again.particles.euler_deg, found.particles.euler_deg)


def test_one_structure_keeps_its_classes(sets, tmp_path):
    kept = model(sets["one"], tmp_path / "kept", keep_classes=True)
    found = model(sets["one"], tmp_path / "run")
    assert told(tmp_path / "run") == ["as they were"] and not told(tmp_path / "kept")
    np.testing.assert_array_equal(found.maps, kept.maps)
    np.testing.assert_array_equal(found.particles.euler_deg, kept.particles.euler_deg)


def test_two_structures_keep_their_classes(sets, tmp_path):
    """Joined, they would be sorted half right."""
    found = model(sets["molecules"], tmp_path / "run", iter=60, starts=3)
    assert told(tmp_path / "run") == ["as they were"] and purity(sets["molecules"], found.particles) > 0.9
