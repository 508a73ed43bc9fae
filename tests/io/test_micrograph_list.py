import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.micrograph_list import read_micrograph_list
from vitreous.io.star import write_star

OPTICS = {"rlnOpticsGroup": [1, 2], "rlnOpticsGroupName": ["a", "b"], "rlnVoltage": [300.0, 200.0], "rlnSphericalAberration": [2.7, 2.7],
          "rlnAmplitudeContrast": [0.1, 0.1], "rlnMicrographPixelSize": [1.5, 1.5]}  # fmt: skip
MICROGRAPHS = {"rlnMicrographName": ["x.mrc", "y.mrc"], "rlnOpticsGroup": [2, 1], "rlnDefocusU": [15000.0, 16000.0],
               "rlnDefocusV": [14000.0, 15000.0], "rlnDefocusAngle": [10.0, 20.0]}  # fmt: skip


def write(path, optics=OPTICS, micrographs=MICROGRAPHS):
    write_star(path, {"optics": optics, "micrographs": micrographs} if optics else {"micrographs": micrographs})
    return str(path)


def test_list_has_names_pixel_size_and_ctf(tmp_path):
    found = read_micrograph_list(write(tmp_path / "m.star"), need_ctf=True)
    assert found.names == ["x.mrc", "y.mrc"] and found.pixel_size_A == 1.5
    np.testing.assert_array_equal(
        found.ctf, [[15000, 14000, 10, 200, 2.7, 0.1, 0, 0, 1], [16000, 15000, 20, 300, 2.7, 0.1, 0, 0, 1]]
    )


def test_list_of_relion_30_without_optics(tmp_path):
    old = {k: v for k, v in MICROGRAPHS.items() if k != "rlnOpticsGroup"} | {
        "rlnVoltage": [300.0] * 2, "rlnSphericalAberration": [2.7] * 2, "rlnAmplitudeContrast": [0.1] * 2,
        "rlnDetectorPixelSize": [5.0] * 2, "rlnMagnification": [50000.0] * 2}  # fmt: skip
    found = read_micrograph_list(write(tmp_path / "m.star", None, old), need_ctf=True)
    assert found.pixel_size_A == 1 and found.ctf[0, 3] == 300


@pytest.mark.parametrize(
    ("optics", "micrographs", "words"),
    [
        ({"rlnMicrographPixelSize": [1.5, 1.6]}, {}, "1.5 to 1.6 A"),
        ({"rlnMicrographPixelSize": None}, {}, "rlnMicrographPixelSize"),
        ({}, {"rlnDefocusU": None}, "rlnDefocusU"),
        ({}, {"rlnMicrographName": None}, "rlnMicrographName"),
        ({}, {"rlnOpticsGroup": [1, 3]}, "a group of data_optics"),
        ({}, {"rlnMicrographName": ["x.mrc", "x.mrc"]}, "every micrograph once"),
        ({}, {"rlnDefocusU": [1.5, 1.6]}, "multiply by 10000"),
        ({}, {"rlnDefocusAngle": [10.0, np.nan]}, "a finite number"),
    ],
)
def test_list_faults_are_told(tmp_path, optics, micrographs, words):
    tables = (
        {k: v for k, v in (base | change).items() if v is not None}
        for base, change in ((OPTICS, optics), (MICROGRAPHS, micrographs))
    )
    with pytest.raises(InputError, match=words):
        read_micrograph_list(write(tmp_path / "m.star", *tables), need_ctf=True)


def test_list_without_ctf_where_none_is_needed(tmp_path):
    bare = {"rlnMicrographName": ["x.mrc"], "rlnOpticsGroup": [1]}
    assert read_micrograph_list(write(tmp_path / "m.star", OPTICS, bare)).ctf is None


def test_list_from_a_pattern(tmp_path):
    for name in ("b.mrc", "a.mrc", "c.txt"):
        (tmp_path / name).touch()
    found = read_micrograph_list(f"{tmp_path}/*.mrc", 2.0)
    assert [name.rsplit("/")[-1] for name in found.names] == ["a.mrc", "b.mrc"] and found.pixel_size_A == 2
    for arguments, words in (
        ((f"{tmp_path}/*.tif", 2.0), "no such file"),
        ((f"{tmp_path}/*.mrc", None), "--angpix"),
        ((f"{tmp_path}/*.mrc", 2.0, True), "no CTF"),
    ):
        with pytest.raises(InputError, match=words):
            read_micrograph_list(*arguments)
