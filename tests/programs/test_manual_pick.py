"""manual-pick: picks of any viewer in, RELION's lists, and out again."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.coordinates import read_coordinate_list, read_coordinates
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import manual_pick
from vitreous.programs.option_parser import parse

NX, NY = 60, 40


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three micrographs of 60 x 40 px with picks of two of them, as .box files."""
    monkeypatch.chdir(tmp_path)
    names = [f"MotionCorr/job002/Movies/m{i}.mrc" for i in (1, 2, 3)]
    (tmp_path / "MotionCorr/job002/Movies").mkdir(parents=True)
    (tmp_path / "boxes").mkdir()
    for name in names:
        write_mrc(name, np.zeros((NY, NX), np.float32), 2.0)
    optics = {"rlnOpticsGroup": np.array([1]), "rlnOpticsGroupName": np.array(["og"], object),
              "rlnMicrographPixelSize": np.array([2.0])}  # fmt: skip
    rows = {"rlnMicrographName": np.array(names, object), "rlnOpticsGroup": np.array([1, 1, 1])}
    write_star("mics.star", {"optics": optics, "micrographs": rows})
    (tmp_path / "boxes/m1.box").write_text("5 5 10 10\n20 25 10 10\n")
    (tmp_path / "boxes/m3.box").write_text("45 5 10 10\n")
    return names


def run(words):
    return manual_pick.run(
        parse(manual_pick.Options, ["--i", "mics.star", "--odir", "ManualPick/job004/", *words, "--verb", "0"])
    )


def picks_of(name, folder="ManualPick/job004/Movies"):
    block = read_coordinates(f"{folder}/{name}_manualpick.star")
    return np.column_stack([block["rlnCoordinateX"], block["rlnCoordinateY"]]).tolist()


def test_manual_pick_leaves_what_relion_leaves(here, tmp_path):
    result = run(["--import", "boxes/*.box"])
    assert result.n_picks == 3 and picks_of("m1") == [[10, 10], [25, 30]] and picks_of("m3") == [[50, 10]]
    block = read_coordinates("ManualPick/job004/Movies/m1_manualpick.star")
    assert list(block.columns) == ["rlnCoordinateX", "rlnCoordinateY", "rlnAnglePsi", "rlnAutopickFigureOfMerit",
                                   "rlnClassNumber"]  # fmt: skip
    assert (block["rlnAnglePsi"] == -999).all() and (block["rlnAutopickFigureOfMerit"] == 0).all()
    lists = [
        read_coordinate_list(f"ManualPick/job004/{name}")
        for name in ("manualpick.star", "coords_suffix_manualpick.star")
    ]
    assert lists[0] == lists[1] == {here[i]: f"ManualPick/job004/Movies/m{i + 1}_manualpick.star" for i in (0, 2)}
    selected = read_star("ManualPick/job004/micrographs_selected.star")
    assert list(selected["micrographs"]["rlnMicrographName"]) == [here[0], here[2]] and "optics" in selected
    assert list(read_star("ManualPick/job004/local_selection.star")[""]["rlnSelected"]) == [1, 0, 1]
    assert "3" in (tmp_path / "ManualPick/job004/report.html").read_text()


def test_manual_pick_counts_again_without_import(here):
    run(["--import", "boxes/*.box", "--selection", "Select/job005/micrographs_selected.star"])
    (read_coordinates("ManualPick/job004/Movies/m1_manualpick.star"))
    assert run(["--allow_save", "--fast_save", "--particle_diameter", "100"]).n_picks == 3
    assert len(read_star("Select/job005/micrographs_selected.star")["micrographs"]["rlnOpticsGroup"]) == 2


def test_manual_pick_does_not_lose_picks_unasked(here, tmp_path):
    run(["--import", "boxes/*.box"])
    (tmp_path / "more.csv").write_text("micrograph,x,y,score\nm1.mrc,1,2,0.9\nm2.mrc,3,4,0.1\n")
    with pytest.raises(InputError, match="has 2 picks already, expected none; give --append or --overwrite"):
        run(["--import", "more.csv"])
    assert run(["--import", "more.csv", "--append"]).n_picks == 5
    assert picks_of("m1") == [[10, 10], [25, 30], [1, 2]]
    block = read_coordinates("ManualPick/job004/Movies/m1_manualpick.star")
    assert list(block["rlnAutopickFigureOfMerit"]) == [0, 0, 0.9]
    run(["--import", "more.csv", "--overwrite", "--minimum_pick_fom", "0.5"])
    assert picks_of("m1") == [[1, 2]] and picks_of("m2") == []


def test_manual_pick_scales_and_turns_over(here, tmp_path):
    (tmp_path / "m2.coord").write_text("10 0\n3 9.5\n")
    run(["--import", "m2.coord", "--coord_scale", "4", "--flip_y"])
    assert picks_of("m2") == [[40, 39], [12, 1]]


def test_manual_pick_leaves_out_what_lies_outside(here, tmp_path, capsys):
    (tmp_path / "m2.coord").write_text("10 5\n59 39\n60 5\nnan 3\n1 1\n")
    run(["--import", "m2.coord"])
    assert picks_of("m2") == [[10, 5], [59, 39], [1, 1]]
    assert "2 of 5 picks lie outside or are no numbers" in capsys.readouterr().err


def test_manual_pick_of_lost_micrographs_goes_on_with_a_warning(here, tmp_path, capsys):
    (tmp_path / here[0]).unlink()
    assert run(["--import", "boxes/*.box"]).n_picks == 3
    assert "its picks are not checked" in capsys.readouterr().err


def test_manual_pick_keeps_the_columns_of_other_pickers(here):
    columns = {"rlnCoordinateX": np.array([1.0, 2]), "rlnCoordinateY": np.array([3.0, 4]),
               "rlnAutopickFigureOfMerit": np.array([0.5, 0.7]), "rlnClassNumber": np.array([3, 4])}  # fmt: skip
    write_star("boxes/m2_autopick.star", {"": columns})
    run(["--import", "boxes/m2_autopick.star"])
    block = read_coordinates("ManualPick/job004/Movies/m2_manualpick.star")
    assert list(block["rlnClassNumber"]) == [3, 4] and list(block["rlnAutopickFigureOfMerit"]) == [0.5, 0.7]


@pytest.mark.parametrize("kind", ["box", "coord", "csv"])
def test_manual_pick_out_and_in_again_are_the_same(here, tmp_path, kind):
    run(["--import", "boxes/*.box"])
    picks = "ManualPick/job004/manualpick.star"
    result = run(
        ["--coord_list", picks, "--export", kind, "--box_size", "8", "--odir", "out/"]
    )  # the last --odir holds
    assert [path.name for path in result.exported] == [f"m1.{kind}", f"m3.{kind}"]
    before = [picks_of("m1"), picks_of("m3")]
    run(["--import", f"out/*.{kind}", "--overwrite"])
    assert [picks_of("m1"), picks_of("m3")] == before


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "has no picks of these 3 micrographs"),
        (["--import", "boxes/*.coord"], "--import boxes/*.coord: no file has such a name"),
        (["--import", "strange.coord"], "belongs to none of the 3 micrographs, expected names such as m1"),
        (["--import", "m2.coord"], "2 of 2 picks lie outside of their micrographs"),
        (["--import", "boxes/m1.box", "--export", "mod"], "expected one of box, coord, csv"),
        (["--coord_list", "a.star"], "found without --export"),
        (["--import", "boxes/m1.box", "--append", "--overwrite"], "found both, expected one"),
        (["--import", "boxes/m1.box", "--pickname", "a/b"], "expected a word without a slash"),
        (["--topaz_denoise"], "--topaz_denoise: found an option of RELION"),
    ],
)
def test_manual_pick_mistakes_are_told(here, tmp_path, words, message):
    (tmp_path / "strange.coord").write_text("1 2\n")
    (tmp_path / "m2.coord").write_text("100 200\n300 400\n")
    with pytest.raises(InputError) as error:
        run(words)
    assert message in str(error.value)
