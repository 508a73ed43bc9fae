"""``vitreous align-symmetry``: maps and model files in, turned maps, tables and reports out, refusals."""

import numpy as np
import pytest
from volume_phantom import Blobs, random_rotations

from vitreous import align_symmetry, cli
from vitreous.engine.turn_map import turned
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """d3.mrc, a turned map with D3, and c1.mrc with none."""
    monkeypatch.chdir(tmp_path)
    for name, group in (("d3", "D3"), ("c1", "C1")):
        blobs = Blobs(group, reach_px=8)
        blobs.places = blobs.places @ random_rotations(1, 6)[0].T + (1.0, 0.5, -1.0)
        write_mrc(f"{name}.mrc", blobs.volume(32), 4.0)
    return tmp_path


def test_files_of_an_alignment(folder, capsys):
    words = "--i d3.mrc --sym d3 --apply_sym --o Align/job002/al.mrc --pipeline_control . --j 2"
    assert cli.main(["align-symmetry", *words.split()]) == 0
    said = capsys.readouterr().out
    assert "weakest copy" in said and "Written: Align/job002/al.mrc (D3)" in said
    made = {path.name for path in (folder / "Align/job002").iterdir()}
    assert made == {"al.mrc", "al.star", "al.jsonl", "al_options.toml", "report.html"}
    assert (folder / "RELION_JOB_EXIT_SUCCESS").exists()
    volume, pixel_size_A = read_mrc("Align/job002/al.mrc")
    assert pixel_size_A == 4.0
    copies = turned(volume, np.eye(3), (0, 0, 0), Symmetry("D3"))
    assert np.corrcoef(copies.ravel(), volume.ravel())[0, 1] > 0.999
    page = (folder / "Align/job002/report.html").read_text()
    assert "after, averaged" in page and "before" in page and len(page) < 5e6
    # the table holds what was done
    block = read_star("Align/job002/al.star")["align_symmetry"].columns
    rotation = euler_to_matrix([block[f"rlnAngle{a}"][0] for a in ("Rot", "Tilt", "Psi")])
    shift_A = np.array([block[f"rlnOrigin{a}Angst"][0] for a in "XYZ"])
    again = turned(read_mrc("d3.mrc")[0], rotation, shift_A / 4, Symmetry("D3"))
    np.testing.assert_allclose(again, volume, atol=1e-3 * volume.max())


def test_detect_tells_the_group_and_turns_for_it(folder, capsys):
    result = align_symmetry(i="d3.mrc", detect=True, most_fold=4, o="det.mrc")
    assert result.symmetry == "D3" and result.alignment.weakest > 0.99
    assert "Best supported: D3, weakest copy 1.00" in capsys.readouterr().out
    block = read_star("det.star")["symmetry_groups"].columns
    assert block["rlnSymmetryGroup"][0] == "D3" and block["vitreousSymmetrySupported"][0] == 1
    assert "Best supported: D3" in (folder / "report.html").read_text()


def test_detect_of_an_asymmetric_map_leaves_it(folder, capsys):
    result = align_symmetry(i="c1.mrc", detect=True, most_fold=4, o="det.mrc")
    assert result.symmetry == "C1" and "No symmetry is supported" in capsys.readouterr().out
    np.testing.assert_array_equal(read_mrc("det.mrc")[0], read_mrc("c1.mrc")[0])


def test_a_map_without_the_group_is_warned_of(folder, capsys):
    align_symmetry(i="c1.mrc", sym="D2", o="x.mrc")
    said = " ".join(capsys.readouterr().err.split())
    assert "does not show D2" in said
    for expected in ("expected at least 0.5; nor", "expected more than 6, and more than twice the best elsewhere"):
        assert expected in said
    align_symmetry(i="c1.mrc", sym="D2", o="x.mrc", presumed=True)
    assert "does not show" not in "".join(capsys.readouterr())


def test_c1_copies(folder):
    align_symmetry(i="d3.mrc", o="copy.mrc", verb=0)
    np.testing.assert_array_equal(read_mrc("copy.mrc")[0], read_mrc("d3.mrc")[0])


def write_model():
    columns = {
        "rlnReferenceImage": np.array(["c1.mrc", "d3.mrc"], object),
        "rlnClassDistribution": np.array([0.7, 0.3]),
        "rlnEstimatedResolution": np.array([12.0, 8.0]),
    }
    write_star("run_it025_model.star", {"model_classes": columns})


@pytest.mark.parametrize("selection, chosen", [
    ({}, "d3.mrc"), ({"select_highest_resol": True}, "d3.mrc"), ({"select_largest_class": True}, "c1.mrc"),
])  # fmt: skip
def test_the_map_of_a_model(folder, selection, chosen):
    write_model()
    result = align_symmetry(i="run_it025_model.star", sym="D3", o="x.mrc", verb=0, **selection)
    assert result.source.endswith(chosen)


def test_nearest_voxels_have_the_values_of_the_map(folder):
    values = set(read_mrc("d3.mrc")[0].ravel().tolist())
    made = align_symmetry(i="d3.mrc", sym="D3", NN=True, o="x.mrc", verb=0).volume
    level = made[0, 0, 0]
    assert np.isclose(sorted(values)[0], level, atol=1e-3)
    near = np.array(sorted(values))
    i = np.clip(np.searchsorted(near, made), 1, len(near) - 1)
    assert np.minimum(np.abs(near[i] - made), np.abs(near[i - 1] - made)).max() < 1e-5


@pytest.mark.parametrize("change, text", [
    ({"i": None}, "--i: found no map"),
    ({"i": "none.mrc"}, "is not there"),
    ({"sym": "X3"}, "--sym: found X3, which is no point group"),
    ({"select_largest_class": True}, "found the map d3.mrc with a selection"),
    ({"i": "run_it025_model.star", "sym": "C1"}, "found 2 maps, expected one to copy"),
    ({"i": "run_it025_model.star", "select_largest_class": True, "select_highest_resol": True}, "one way to select"),
    ({"i": "other.star"}, "no column rlnReferenceImage"),
    ({"i": "flat.mrc"}, "all voxels are alike"),
    ({"i": "slab.mrc"}, "expected a cube"),
    ({"detect": True}, "--detect: found --sym D3 beside it"),
    ({"detect": True, "sym": "C1", "only_rot": True}, "--detect: found --only_rot"),
    ({"box_size": 4}, "--box_size: found 4"),
])  # fmt: skip
def test_bad_input_is_refused(folder, change, text):
    write_model()
    write_star("other.star", {"particles": {"rlnImageName": np.array(["a"], object)}})
    write_mrc("flat.mrc", np.ones((16,) * 3, np.float32), 4.0)
    write_mrc("slab.mrc", read_mrc("d3.mrc")[0][:20], 4.0, stack=False)
    with pytest.raises(InputError, match=text):
        align_symmetry(**{"i": "d3.mrc", "sym": "D3", "o": "x.mrc", "verb": 0, **change})
    assert not (folder / "x.mrc").exists()
