import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io import coordinates as co
from vitreous.io.star import write_star


@pytest.mark.parametrize(
    ("name", "expected"),
    [("MotionCorr/job002/Movies/x.mrc", "Movies/x.mrc"), ("Movies/x.mrc", "Movies/x.mrc"), ("x.mrc", "x.mrc"),
     ("/data/lab/Micrographs/x.mrc", "data/lab/Micrographs/x.mrc"), ("../m/x.mrc", "m/x.mrc"), ("A/job1000/x.mrc", "x.mrc"),
     ("A/job12/x.mrc", "A/job12/x.mrc")],
)  # fmt: skip
def test_post_path_leaves_the_job_out(name, expected):
    assert co.post_path(name) == expected


def test_coordinates_come_back(tmp_path):
    path = tmp_path / "Movies" / "x_autopick.star"
    co.write_coordinates(
        path,
        {
            "rlnCoordinateX": np.array([1.5, 2]),
            "rlnCoordinateY": np.array([3.25, 4]),
            "rlnClassNumber": np.array([1, 2]),
        },
    )
    block = co.read_coordinates(path)
    assert list(block) == ["rlnCoordinateX", "rlnCoordinateY", "rlnClassNumber"]
    assert block["rlnCoordinateX"].tolist() == [1.5, 2]


def test_no_picks_are_an_empty_file(tmp_path):
    path = tmp_path / "x_autopick.star"
    co.write_coordinates(path, {"rlnCoordinateX": np.zeros(0), "rlnCoordinateY": np.zeros(0)})
    assert path.stat().st_size == 0
    assert co.read_coordinates(path).n_rows == 0


def test_a_table_without_coordinates_is_told(tmp_path):
    write_star(tmp_path / "x.star", {"": {"rlnCoordinateX": [1.0, 2.0], "rlnFoo": [1, 2]}})
    with pytest.raises(InputError, match="rlnCoordinateY"):
        co.read_coordinates(tmp_path / "x.star")
    with pytest.raises(InputError, match="cannot be read"):
        co.read_coordinates(tmp_path / "none.star")


def test_lists_of_both_kinds_lead_to_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_star("mics.star", {"micrographs": {"rlnMicrographName": ["M/a.mrc", "M/b.mrc"]}})
    (tmp_path / "P").mkdir()
    path = co.coordinate_path("P", "M/a.mrc", "_autopick.star")
    co.write_coordinates(path, {"rlnCoordinateX": np.ones(1), "rlnCoordinateY": np.ones(1)})
    co.write_coordinate_list("P/autopick.star", ["M/a.mrc"], [str(path)])
    co.write_suffix_file("P/coords_suffix_autopick.star", "mics.star")
    expected = {"M/a.mrc": "P/M/a_autopick.star"}
    assert (
        co.read_coordinate_list("P/autopick.star")
        == expected
        == co.read_coordinate_list("P/coords_suffix_autopick.star")
    )
    assert (tmp_path / "P/coords_suffix_autopick.star").read_text() == "mics.star\n"
    co.write_coordinate_list("P/autopick.star", [], [])
    assert co.read_coordinate_list("P/autopick.star") == {}


def test_a_suffix_file_that_leads_nowhere_is_told(tmp_path):
    co.write_suffix_file(tmp_path / "coords_suffix_x.star", "gone.star")
    with pytest.raises(InputError, match="gone"):
        co.read_coordinate_list(tmp_path / "coords_suffix_x.star")
