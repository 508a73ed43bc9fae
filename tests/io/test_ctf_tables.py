
import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.ctf_tables import join_tables, match, read_ctf_table
from vitreous.io.star import Block, write_star

HEAD = """# Output from CTFFind version {version}, run on 2023-05-01 10:10:10
# Input file: MotionCorr/job002/mic_01.mrc ; Number of micrographs: 1
# Pixel size: 0.885 Angstroms ; acceleration voltage: 200.0 keV ; spherical aberration: 1.40 mm ; amplitude contrast: 0.07
# Box size: 512 pixels ; min. res.: 30.0 Angstroms ; max. res.: 5.0 Angstroms ; min. def.: 5000.0 um; max. def. 50000.0 um
# Columns: #1 - micrograph number; #2 - defocus 1 [{unit}]; #3 - defocus 2; #4 - azimuth of astigmatism; """
SHIFT = "#5 - additional phase shift [{phase}]; #6 - cross correlation; #7 - spacing (in Angstroms) up to which CTF rings were fit"
TILT = "; #8 - Estimated tilt axis angle; #9 - Estimated tilt angle ; #10 Estimated sample thickness (in Angstroms)"


def ctffind(
    path, version="4.1.14", unit="Angstroms", phase="radians", row="1.0 10863.8 10575.1 77.9 1.570796 0.131 4.8"
):
    text = HEAD.format(version=version, unit=unit) + SHIFT.format(phase=phase) + (TILT if version[0] == "5" else "")
    path.write_text(f"{text}\n{row}\n")
    return str(path)


@pytest.mark.parametrize("version", ["4.1.14", "5.0.2"])
def test_ctf_tables_read_ctffind(tmp_path, version):
    row = "1.0 10863.8 10575.1 77.9 1.570796 0.131 4.8" + (" 10 20 300" if version[0] == "5" else "")
    table = read_ctf_table(ctffind(tmp_path / "a.txt", version, row=row))
    assert (table.kind, table.names) == ("CTFFIND", ["MotionCorr/job002/mic_01.mrc"])
    got = {label: float(column[0]) for label, column in (table.columns | table.optics).items()}
    assert got == pytest.approx({
        "rlnDefocusU": 10863.8, "rlnDefocusV": 10575.1, "rlnDefocusAngle": 77.9, "rlnPhaseShift": 90.0, "rlnCtfFigureOfMerit": 0.131,
        "rlnCtfMaxResolution": 4.8, "rlnMicrographPixelSize": 0.885, "rlnVoltage": 200, "rlnSphericalAberration": 1.4,
        "rlnAmplitudeContrast": 0.07,
    }, rel=1e-5)  # fmt: skip


def test_ctf_tables_convert_the_units_that_ctffind_names(tmp_path):
    table = read_ctf_table(
        ctffind(tmp_path / "a.txt", unit="microns", row="1 1.08638 10575.1 77.9 45 0.1 4.8", phase="degrees")
    )
    assert table.columns["rlnDefocusU"][0] == pytest.approx(10863.8)
    assert table.columns["rlnPhaseShift"][0] == pytest.approx(45)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: ctffind(p, row="1 1.08 1.05 77 0 0.1 4.8"), "multiply by 10000 where it is in um"),
        (lambda p: ctffind(p, row="1 -10863 -10575 77 0 0.1 4.8"), "underfocus is positive"),
        (lambda p: ctffind(p, row="1 10863"), "has 2 numbers, expected 7"),
        (lambda p: ctffind(p, row="1 x y 77 0 0.1 4.8"), "found '1 x y 77 0 0.1 4.8', expected numbers"),
        (lambda p: ctffind(p, row=""), "has no row of numbers"),
        (
            lambda p: ctffind(p, row="1 10863 10575 7 0 1 4\n2 10863 10575 7 0 1 4"),
            "has 2 rows, of the images of one stack",
        ),
        (lambda p: ctffind(p, unit="furlongs"), "has a unit that is not known"),
        (lambda p: ctffind(p, row="1 nan 10575 7 0 1 4"), "rlnDefocusU of MotionCorr/job002/mic_01.mrc is nan"),
        (lambda p: ctffind(p.with_name("a_avrot.txt")), "is the rotational average"),
        (lambda p: str(p), "is not there"),
        (
            lambda p: (p.write_text("1 2 3\n"), str(p))[1],
            "expected a STAR file, a .cs file, or the text output of CTFFIND",
        ),
    ],
)
def test_ctf_tables_name_what_is_wrong_with_a_text(tmp_path, make, text):
    with pytest.raises(InputError) as error:
        read_ctf_table(make(tmp_path / "a.txt"))
    assert text in str(error.value)


CS = [("uid", "<u8"), ("micrograph_blob/path", "S80"), ("micrograph_blob/psize_A", "<f4"), ("ctf/exp_group_id", "<u4"),
      ("ctf/accel_kv", "<f4"), ("ctf/cs_mm", "<f4"), ("ctf/amp_contrast", "<f4"), ("ctf/df1_A", "<f4"), ("ctf/df2_A", "<f4"),
      ("ctf/df_angle_rad", "<f4"), ("ctf/phase_shift_rad", "<f4"), ("ctf/ctf_fit_to_A", "<f4")]  # fmt: skip


def cryosparc(
    path,
    names=(b"J2/motioncorrected/012_mic_01_patch_aligned_doseweighted.mrc", b">J2/m/013_mic_02_patch.mrc"),
    **change,
):
    data = np.zeros(len(names), CS)
    data["micrograph_blob/path"], data["micrograph_blob/psize_A"], data["ctf/exp_group_id"] = names, 0.885, 3
    data["ctf/accel_kv"], data["ctf/cs_mm"], data["ctf/amp_contrast"] = 300, 2.7, 0.1
    data["ctf/df1_A"], data["ctf/df2_A"] = 12000 + 100 * np.arange(len(names)), 11000
    data["ctf/df_angle_rad"], data["ctf/phase_shift_rad"], data["ctf/ctf_fit_to_A"] = 0.5, np.pi / 4, 3.3
    for field, value in change.items():
        data[field.replace("__", "/")] = value
    with open(path, "wb") as file:
        np.save(file, data)
    return str(path)


def test_ctf_tables_read_cryosparc(tmp_path):
    table = read_ctf_table(cryosparc(tmp_path / "exposures.cs"))
    assert table.kind == "cryoSPARC" and table.names[1] == "J2/m/013_mic_02_patch.mrc"
    np.testing.assert_allclose(table.columns["rlnDefocusU"], [12000, 12100])
    np.testing.assert_allclose(table.columns["rlnDefocusAngle"], np.rad2deg(0.5), rtol=1e-6)
    np.testing.assert_allclose(table.columns["rlnPhaseShift"], 45, rtol=1e-6)
    np.testing.assert_allclose(table.optics["rlnMicrographPixelSize"], 0.885, rtol=1e-6)
    assert table.group_names == ["exposureGroup3"] * 2


def test_ctf_tables_of_particles_give_each_micrograph_its_median(tmp_path):
    names = [b"a.mrc"] * 3 + [b"b.mrc"] * 2
    table = read_ctf_table(cryosparc(tmp_path / "particles.cs", names, ctf__df1_A=[1e4, 1.2e4, 1.1e4, 2e4, 2.2e4]))
    assert table.names == ["a.mrc", "b.mrc"]
    np.testing.assert_allclose(table.columns["rlnDefocusU"], [11000, 21000])
    assert "so it is of particles" in table.notes[0]


def test_ctf_tables_name_what_is_missing_in_a_cs_file(tmp_path):
    path = tmp_path / "x.cs"
    with open(path, "wb") as file:
        np.save(file, np.zeros(2, [("uid", "<u8"), ("blob/path", "S9")]))
    with pytest.raises(InputError, match=r"has no field ctf/df1_A \(it has uid, blob/path"):
        read_ctf_table(str(path))
    with open(path, "wb") as file:
        np.save(file, np.ones(2, [("ctf/df1_A", "<f4"), ("ctf/df2_A", "<f4"), ("ctf/df_angle_rad", "<f4")]))
    with pytest.raises(InputError, match="has no field micrograph_blob/path"):
        read_ctf_table(str(path))
    path.write_bytes(b"\x93NUMPY and then nothing")
    with pytest.raises(InputError, match=r"expected a \.cs file of cryoSPARC"):
        read_ctf_table(str(path))
    with pytest.raises(InputError, match=r"rlnVoltage is 300000, expected 10 to 2000 \(kV\)"):
        read_ctf_table(cryosparc(path, ctf__accel_kv=3e5))


def star(path, optics=True, **columns):
    table = {"rlnMicrographName": np.array(["Import/job001/a.mrc", "Import/job001/b.mrc"], object), "rlnDefocusU": [1e4, 2e4],
             "rlnDefocusV": [9e3, 1.9e4], "rlnDefocusAngle": [1.0, 2.0]} | columns  # fmt: skip
    blocks = [Block("micrographs" if optics else "", columns={k: np.asarray(v) for k, v in table.items()})]
    if optics:
        blocks[0].columns["rlnOpticsGroup"] = np.array([1, 1])
        blocks.insert(0, Block("optics", columns={
            "rlnOpticsGroupName": np.array(["og"], object), "rlnOpticsGroup": np.array([1]), "rlnVoltage": np.array([300.0]),
            "rlnSphericalAberration": np.array([2.7]), "rlnAmplitudeContrast": np.array([0.1]),
            "rlnMicrographPixelSize": np.array([1.1])}))  # fmt: skip
    write_star(path, blocks)
    return str(path)


def test_ctf_tables_read_relion(tmp_path):
    table = read_ctf_table(star(tmp_path / "new.star"))
    assert table.group_names == ["og", "og"] and table.optics["rlnMicrographPixelSize"].tolist() == [1.1, 1.1]
    old = read_ctf_table(star(tmp_path / "old.star", False, rlnVoltage=[300.0] * 2, rlnMagnification=[5e4] * 2,
                              rlnDetectorPixelSize=[5.0] * 2))  # fmt: skip
    np.testing.assert_allclose(old.optics["rlnMicrographPixelSize"], 1.0)
    assert old.columns["rlnDefocusU"].tolist() == [1e4, 2e4] and old.group_names is None
    with pytest.raises(InputError, match="there is no column rlnDefocusU"):
        write_star(tmp_path / "x.star", {"": {"rlnMicrographName": ["a"], "rlnDefocusV": [1.0]}})
        read_ctf_table(str(tmp_path / "x.star"))


def test_join_tables_keeps_what_all_have(tmp_path):
    names = [ctffind(tmp_path / "a.txt"), ctffind(tmp_path / "b.txt", row="1 9000 8000 7 0 0.2 5")]
    table = join_tables([read_ctf_table(name) for name in names])
    assert len(table) == 2 and table.columns["rlnDefocusU"].tolist() == [10863.8, 9000]


def test_match_goes_from_the_whole_name_to_its_last_part():
    mine = ["Mics/mic_1.mrc", "Mics/mic_10.mrc", "Mics/mic_3.mrc", "Mics/other.mrc"]
    theirs = ["MotionCorr/job002/Mics/mic_1.mrc", "x/000_mic_10_patch_aligned.mrc", "y/mic_3.mrcs"]
    assert match(mine, theirs).tolist() == [0, 1, 2, -1]


def test_match_is_of_whole_words():
    mine = ["mic_1.mrc", "mic_12.mrc"]
    theirs = ["J1/0_mic_1_patch.mrc", "J1/1_mic_12_patch.mrc"]
    assert match(mine, theirs).tolist() == [0, 1]


def test_match_refuses_to_guess():
    with pytest.raises(InputError, match=r"mica\.mrc: could be J1/0_mica_x\.mrc or J1/0_mica_y\.mrc"):
        match(["mica.mrc"], ["J1/0_mica_x.mrc", "J1/0_mica_y.mrc"])
    assert match(["1.mrc"], ["J1/0_1_x.mrc"]).tolist() == [-1]


def test_match_of_many_micrographs_is_quick():
    mine = [f"Mics/20230101_{i:05d}_grid.mrc" for i in range(5000)]
    theirs = [f"J2/motioncorrected/{i:021d}_20230101_{i:05d}_grid_patch_aligned_doseweighted.mrc" for i in range(5000)][
        ::-1
    ]
    assert match(mine, theirs).tolist() == list(range(5000))[::-1]
