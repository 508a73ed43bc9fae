import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io import micrographs as io
from vitreous.io.mrc import StackWriter, read_mrc
from vitreous.io.star import write_star

OPTICS = {
    "rlnOpticsGroupName": ["a", "b"],
    "rlnOpticsGroup": [1, 2],
    "rlnVoltage": [300.0, 200.0],
    "rlnSphericalAberration": [2.7, 1.4],
    "rlnAmplitudeContrast": [0.1, 0.07],
    "rlnMicrographPixelSize": [0.8, 1.1],
}
ROWS = {
    "rlnMicrographName": ["M/x.mrc", "M/y.mrc", "M/z.mrc"],
    "rlnOpticsGroup": [2, 1, 2],
    "rlnDefocusU": [1e4, 2e4, 3e4],
    "rlnDefocusV": [9e3, 1.9e4, 2.9e4],
    "rlnDefocusAngle": [1.0, 2.0, 3.0],
    "rlnPhaseShift": [0.0, 90.0, 0.0],
}


def table(path, optics=OPTICS, **rows):
    blocks = {"optics": optics} if optics else {}
    write_star(path, blocks | {"micrographs": {k: v for k, v in (ROWS | rows).items() if v is not None}})
    return path


def test_micrographs_join_optics_and_ctf(tmp_path):
    found = io.read_micrographs(table(tmp_path / "m.star"))
    assert found.group.tolist() == [1, 0, 1] and found.pixel_size_A(0) == 1.1
    np.testing.assert_allclose(found.ctf_parameters(1), [[2e4, 1.9e4, 2, 300, 2.7, 0.1, 90, 0, 1]])
    np.testing.assert_allclose(found.ctf_parameters(2), [[3e4, 2.9e4, 3, 200, 1.4, 0.07, 0, 0, 1]])


def test_micrographs_a_row_has_its_own_optics(tmp_path):
    found = io.read_micrographs(table(tmp_path / "m.star", rlnVoltage=[100.0, 120.0, 80.0]))
    assert found.ctf_parameters(1)[0, 3] == 120


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rlnMicrographName": None}, "there is no column rlnMicrographName"),
        ({"rlnMicrographName": ["a", "b", "a"]}, "rlnMicrographName is a, expected every micrograph once"),
        ({"rlnDefocusU": [1.0, 2.0, 3.0]}, "multiply by 10000 where it is in um"),
        ({"rlnOpticsGroup": [1, 2, 3]}, "rlnOpticsGroup is 3, expected a group of data_optics (1, 2)"),
        ({"optics": OPTICS | {"rlnVoltage": [3e5, 2e5]}}, "divide by 1000 where it is in V"),
        ({"optics": {k: v for k, v in OPTICS.items() if "Pixel" not in k}}, "give --set_angpix"),
    ],
)
def test_micrographs_name_what_is_wrong(tmp_path, change, text):
    with pytest.raises(InputError) as error:
        io.read_micrographs(table(tmp_path / "m.star", **change))
    assert text in str(error.value)


def test_micrographs_need_a_defocus_only_where_it_is_used(tmp_path):
    path = table(tmp_path / "m.star", rlnDefocusU=None)
    assert not io.read_micrographs(path).has_ctf
    with pytest.raises(InputError, match="there is no column rlnDefocusU"):
        io.read_micrographs(path, need_ctf=True)


def test_coordinate_files_are_below_the_folder_without_the_job():
    names = ["MotionCorr/job002/Movies/a.b.mrc", "Mics/c.mrc"]
    assert io.coordinate_files(names, "_p.star", "AutoPick/job003/") == [
        "AutoPick/job003/Movies/a.b_p.star",
        "AutoPick/job003/Mics/c_p.star",
    ]
    assert io.coordinate_files(names, ".box") == ["MotionCorr/job002/Movies/a.b.box", "Mics/c.box"]


def test_listed_coordinate_files_are_found_behind_the_job(tmp_path):
    columns = {"rlnMicrographName": ["MotionCorr/job009/M/a.mrc"], "rlnMicrographCoordinates": ["P/a.star"]}
    write_star(tmp_path / "autopick.star", {"coordinate_files": {k: np.array(v, object) for k, v in columns.items()}})
    found = io.listed_coordinate_files(["MotionCorr/job002/M/a.mrc", "M/b.mrc"], str(tmp_path / "autopick.star"))
    assert found == ["P/a.star", None]


@pytest.mark.parametrize(("name", "text"), [("a.txt", "x y\n3 4\n5.5 6\n"), ("a.box", "1 2 4 4\n3.5 4 4 4\n")])
def test_read_positions_of_texts(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = io.read_positions(str(tmp_path / name))
    assert found["rlnCoordinateX"].tolist() == [3, 5.5] and found["rlnCoordinateY"].tolist() == [4, 6]


def test_read_positions_names_the_line(tmp_path):
    (tmp_path / "a.box").write_text("1 2 4 4\n1 2\n")
    with pytest.raises(InputError, match=r"a\.box:2"):
        io.read_positions(str(tmp_path / "a.box"))


def test_counted_stack_is_that_of_the_usual_writer(tmp_path):
    images = np.random.default_rng(1).normal(3, 2, (7, 12, 12)).astype(np.float32)
    with StackWriter(tmp_path / "a.mrcs", None, 12, 1.5) as writer:
        writer.write(images[:3])
        writer.write(images[3:])
    with io.CountedStackWriter(tmp_path / "b.mrcs", None, 12, 1.5) as writer:
        for part in (images[:3], images[3:]):
            values = part.astype(float)
            writer.write_counted(part, values.min(), values.max(), values.sum(), (values**2).sum())
    np.testing.assert_array_equal(read_mrc(tmp_path / "b.mrcs")[0], images)
    a, b = ((tmp_path / name).read_bytes()[:1024] for name in ("a.mrcs", "b.mrcs"))
    for at in (76, 80, 84, 216):
        np.testing.assert_allclose(
            np.frombuffer(b[at : at + 4], "<f4"), np.frombuffer(a[at : at + 4], "<f4"), rtol=1e-6
        )
    assert a[:76] == b[:76]
