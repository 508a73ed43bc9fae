"""Picks of other programs: every format to the same positions, and names to micrographs."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io import coordinates_foreign as foreign
from vitreous.io.star import write_star

XY = np.array([[100.0, 50.0], [20.5, 300.0], [7.0, 8.0]])
CBOX = (
    "data_global\n\n_cbox_format_version 1.0\n\ndata_cryolo\n\nloop_\n"
    "_CoordinateX #1\n_CoordinateY #2\n_Width #3\n_Height #4\n"
)
TEXT = {
    "a.box": "90\t40\t20\t20\t-3\n10.5\t290\t20\t20\t-3\n2\t3\t10\t10\t-3\n",
    "a.coord": "100 50\n20.5 300\n\n7 8\n",
    "a.txt": "x y of my picks\n100 50\n20.5 300\n7 8\n",
    "b.txt": "# by hand\n100.0, 50.0\n20.5, 300.0\n7.0, 8.0\n",
    "a.csv": "X,Y,Score\n100,50,0.5\n20.5,300,0.25\n7,8,1\n",
    "napari.csv": "index,axis-0,axis-1\n0,50,100\n1,300,20.5\n2,8,7\n",
    "fiji.csv": " ,Area,X,Y\n1,0,100,50\n2,0,20.5,300\n3,,7,8\n",
    "a.json": '{"boxes": [[100, 50, "manual"], [20.5, 300, "manual"], [7, 8, "auto", 0.3]]}',
    "a.cbox": CBOX + "_Confidence #5\n90 40 20 20 0.5\n10.5 290 20 20 0.25\n2 3 10 10 1\n\n",
    "a.star": "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n100 50\n20.5 300\n7 8\n\n",
    "crlf.coord": "\ufeff100 50\r\n20.5 300\r\n7 8\r\n",
}


@pytest.mark.parametrize("name", TEXT)
def test_read_picks_of_every_format_are_the_centres(tmp_path, name):
    (tmp_path / name).write_bytes(TEXT[name].encode())
    picks = foreign.read_picks(tmp_path / name)
    assert list(picks) == [""]
    np.testing.assert_array_equal(np.column_stack([picks[""][foreign.X], picks[""][foreign.Y]]), XY)
    if name in ("a.csv", "a.cbox"):
        np.testing.assert_array_equal(picks[""][foreign.FOM], [0.5, 0.25, 1])


def test_read_picks_with_a_third_number_is_z(tmp_path):
    (tmp_path / "t.coord").write_text("1 2 3\n4 5 6\n")
    np.testing.assert_array_equal(foreign.read_picks(tmp_path / "t.coord")[""][foreign.Z], [3, 6])


def test_read_picks_of_many_micrographs_in_one_file(tmp_path):
    (tmp_path / "topaz.txt").write_text(
        "image_name\tx_coord\ty_coord\tscore\nm2\t1\t2\t0.1\nm1\t3\t4\t0.2\nm2\t5\t6\t0.3\n"
    )
    picks = foreign.read_picks(tmp_path / "topaz.txt")
    assert list(picks) == ["m2", "m1"]
    np.testing.assert_array_equal(picks["m2"][foreign.X], [1, 5])
    np.testing.assert_array_equal(picks["m2"][foreign.FOM], [0.1, 0.3])
    columns = {foreign.X: np.array([1.0, 2, 3]), foreign.Y: np.zeros(3),
               "rlnMicrographName": np.array(["b.mrc", "a.mrc", "b.mrc"], object)}  # fmt: skip
    write_star(tmp_path / "all.star", {"": columns})
    picks = foreign.read_picks(tmp_path / "all.star")
    np.testing.assert_array_equal(picks["b.mrc"][foreign.X], [1, 3])


def test_read_picks_of_an_empty_file_are_none(tmp_path):
    for name in ("a.box", "a.coord", "a.star"):
        (tmp_path / name).write_text("")
        assert len(foreign.read_picks(tmp_path / name)[""][foreign.X]) == 0


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.coord", "1 2\n3 four\n", "a.coord:2: found '3 four', expected the numbers x y"),
        ("a.box", "1 2 3\n", "a.box:1: found '1 2 3', expected the numbers x y width height"),
        ("a.csv", "x,score\n1,2\n", "expected one for y"),
        ("a.csv", "x,y\n1,2\n3\n", "a.csv:3: found 1 fields, expected 2"),
        ("a.csv", "x,y\n1,two\n", "a.csv:2: found 'two', expected a number"),
        ("a.json", "{}", "expected an info file of EMAN2"),
        ("a.mod", "IMODV1.2\0\0", "binary data"),
        ("a.star", "data_\n\nloop_\n_rlnCoordinateX #1\n1\n\n", "no column rlnCoordinateY"),
        ("a.cbox", "data_cryolo\n\nloop_\n_CoordinateX #1\n1\n\n", "no column CoordinateY"),
    ],
)
def test_read_picks_tells_file_and_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="(?s)" + message.replace("[", r"\[")):
        foreign.read_picks(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        foreign.read_picks(tmp_path / f"no{name}")


@pytest.mark.parametrize("kind", foreign.EXPORTED)
def test_write_picks_come_back(tmp_path, kind):
    path = tmp_path / f"a{foreign.EXPORTED[kind]}"
    foreign.write_picks(path, kind, XY[:, 0], XY[:, 1], 30)
    picks = foreign.read_picks(path)[""]
    found = np.column_stack([picks[foreign.X], picks[foreign.Y]])
    np.testing.assert_allclose(found, XY, atol=0.5 if kind == "box" else 0)


def test_finder_takes_the_path_then_the_longest_name():
    finder = foreign.MicrographFinder(["MotionCorr/job002/Movies/mic_1.mrc", "MotionCorr/job002/Movies/mic_1_2.mrc",
                                       "MotionCorr/job002/Movies/mic_10.mrc", "A/x.mrc", "B/x.mrc"])  # fmt: skip
    expected = {
        "mic_1.box": [0], "boxes/mic_1_2_manualpick.star": [1], "mic_10_DW.coord": [2], "mic_1_3.box": [],
        "Movies/mic_10.mrc": [2], "mic_100.box": [], "B/x.mrc": [4], "x.box": [3, 4], "y": [],
    }  # fmt: skip
    for name, rows in expected.items():
        assert finder.find(name) == rows, name


def test_usable_picks_are_numbers_inside():
    picks = {foreign.X: np.array([0, 9.9, 10, -0.1, np.nan]), foreign.Y: np.array([0, 19.9, 0, 0, 0.0])}
    np.testing.assert_array_equal(foreign.usable(picks, (20, 10)), [True, True, False, False, False])
    np.testing.assert_array_equal(foreign.usable(picks, None), [True, True, True, True, False])
