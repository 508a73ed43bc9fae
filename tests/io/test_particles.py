"""Particle files of every RELION since 3.0 are read, refused with a reason, and written back with all they held."""

import contextlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.particles import find_root, quantise, read_particles, write_particles
from vitreous.io.star import read_star
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup

OPTICS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnOddZernike #8
second  7  300.0 2.7 0.1 1.25 64 [0,0,0.5]
first   3  200.0 1.4 0.07 2.0 32 []

"""
HEAD = """
# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_unknownLabel #7
"""
ROWS = """000002@b.mrcs MotionCorr/job002/m/z.mrc 3 12000.5 10 1.5 hello
000001@a.mrcs MotionCorr/job002/m/a.mrc 7 13000 -20 -2.5 "two words"
1@b.mrcs MotionCorr/job002/m/z.mrc 3 12000.5 30.125 0 x
"""
OLD = """
data_

loop_
_rlnImageName #1
_rlnVoltage #2
_rlnSphericalAberration #3
_rlnAmplitudeContrast #4
_rlnMagnification #5
_rlnDetectorPixelSize #6
_rlnOriginX #7
_rlnOriginY #8
_rlnDefocusU #9
_rlnDefocusV #10
000001@a.mrcs 300 2.7 0.1 10000 1.5 2.0 -1.0 9000 8000
000002@a.mrcs 200 2.7 0.1 10000 3.0 2.0 -1.0 9000 8000
000003@a.mrcs 300 2.7 0.1 10000 1.5 0.0 0.0 9000 8000
"""


@pytest.fixture
def star(tmp_path):
    def write(text, name="particles.star"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def stack(path, box=48):
    path.write_bytes(struct.pack("<4i", box, box, 3, 2) + bytes(1008))


def test_read_particles_maps_every_column(star):
    data = read_particles(star(OPTICS + HEAD + ROWS), need_ctf=True)
    p = data.particles
    np.testing.assert_array_equal(p.optics, [1, 0, 1])
    assert [g.name for g in data.optics] == ["second", "first"] and [g.number for g in data.optics] == [1, 2]
    assert data.optics[0].odd_zernike == (0.0, 0.0, 0.5) and data.optics[1].odd_zernike == ()
    assert data.image_files == ["b.mrcs", "a.mrcs"]
    np.testing.assert_array_equal(p.image_section, [2, 1, 1])
    np.testing.assert_array_equal(p.euler_deg[:, 2], [10, -20, 30.125])
    np.testing.assert_array_equal(p.shift_A, [[1.5, 0], [-2.5, 0], [0, 0]])
    np.testing.assert_array_equal(p.ctf.defocus_v_A, [12000.5, 13000, 12000.5])
    np.testing.assert_array_equal(p.ctf.ctf_scale, [1, 1, 1])
    assert data.sources == ["MotionCorr/job002/m/z.mrc", "MotionCorr/job002/m/a.mrc"]
    np.testing.assert_array_equal(data.exposures.ctf.defocus_u_A, [12000.5, 13000])
    assert data.image_name(2) == "000001@b.mrcs"


def test_groups_are_numbered_as_relion_does(star):
    data = read_particles(star(OPTICS + HEAD + ROWS))
    assert data.group_names == ["m/a.mrc", "m/z.mrc"]  # sorted by micrograph, without the job folder
    np.testing.assert_array_equal(data.particles.group, [1, 0, 1])
    named = (OPTICS + HEAD + ROWS).replace("unknownLabel", "rlnGroupName")
    data = read_particles(star(named))
    assert data.group_names == ["two words", "hello", "x"]
    np.testing.assert_array_equal(data.particles.group, [1, 0, 2])


def test_old_file_gets_optics_groups_and_angstrom(star, tmp_path):
    stack(tmp_path / "a.mrcs")
    data = read_particles(star(OLD), need_ctf=True)
    assert [(g.voltage_kV, g.pixel_size_A, g.box) for g in data.optics] == [(300.0, 1.5, 48), (200.0, 3.0, 48)]
    np.testing.assert_array_equal(data.particles.optics, [0, 1, 0])
    np.testing.assert_allclose(data.particles.shift_A, [[3, -1.5], [6, -3], [0, 0]], rtol=1e-15)
    write_particles(tmp_path / "new.star", data)
    written = read_star(tmp_path / "new.star")
    assert list(written) == ["optics", "particles"]
    assert not {"rlnOriginX", "rlnVoltage", "rlnMagnification"} & set(written["particles"].columns)
    np.testing.assert_array_equal(written["particles"]["rlnOriginXAngst"], [3, 6, 0])
    again = read_particles(tmp_path / "new.star", need_ctf=True)
    assert again.optics == data.optics


def test_find_root_looks_above_the_star_file(star, tmp_path):
    (tmp_path / "Extract" / "job1").mkdir(parents=True)
    stack(tmp_path / "Extract" / "job1" / "a.mrcs")
    path = tmp_path / "Extract" / "job1" / "particles.star"
    assert find_root(path, ["Extract/job1/a.mrcs"]) == tmp_path
    with pytest.raises(InputError, match="run in the project folder"):
        find_root(path, ["Extract/none.mrcs"])


def test_written_file_keeps_unknown_columns_blocks_and_rows(star, tmp_path):
    text = OPTICS + HEAD + ROWS + "\ndata_extra\n\n_rlnSomething 5\n"
    data = read_particles(star(text)).subset([2, 1])
    data = data.updated([0], class_number=3, shift_A=[4.25, 5.5])
    write_particles(tmp_path / "out.star", data)
    out = read_star(tmp_path / "out.star")
    assert out["particles"]["unknownLabel"].tolist() == ["x", "two words"]
    assert out["particles"]["rlnImageName"].tolist() == ["1@b.mrcs", "000001@a.mrcs"]
    assert list(out["particles"].columns)[:7] == list(read_star(star(text))["particles"].columns)
    assert out["extra"]["rlnSomething"].tolist() == [5]
    again = read_particles(tmp_path / "out.star")
    np.testing.assert_array_equal(again.particles.class_number, [3, 0])
    np.testing.assert_array_equal(again.particles.shift_A, [[4.25, 5.5], [-2.5, 0]])
    assert again.optics == data.optics


def test_write_without_results_changes_no_column(star, tmp_path):
    data = read_particles(star(OPTICS + HEAD + ROWS)).updated([0, 1, 2], class_number=9)
    write_particles(tmp_path / "out.star", data, results=False)
    kept = read_star(tmp_path / "out.star")["particles"]
    assert list(kept) == list(read_star(star(OPTICS + HEAD + ROWS))["particles"])


def test_quantised_data_survive_the_file_bitwise(star, tmp_path):
    rng = np.random.default_rng(1)
    data = read_particles(star(OPTICS + HEAD + ROWS), need_ctf=True)
    columns = {
        "euler_deg": rng.normal(0, 100, (3, 3)),
        "shift_A": rng.normal(0, 1e-3, (3, 2)),
        "norm": rng.random(3),
        "log_likelihood": -rng.random(3) * 1e7,
        "p_max": rng.random(3) * 1e-5,
    }
    before = quantise(data.with_particles(**columns))
    write_particles(tmp_path / "out.star", before)
    after = quantise(read_particles(tmp_path / "out.star", need_ctf=True))
    for name in columns:
        np.testing.assert_array_equal(getattr(after.particles, name), getattr(before.particles, name))
    assert np.abs(before.particles.euler_deg - columns["euler_deg"]).max() < 1e-5
    assert (before.particles.euler_deg != columns["euler_deg"]).any()


def test_quarantine_survives_the_file(star, tmp_path):
    data = read_particles(star(OPTICS + HEAD + ROWS)).quarantine({1: "000001@a.mrcs: the image holds NaN"})
    write_particles(tmp_path / "out.star", data)
    again = read_particles(tmp_path / "out.star")
    assert dict(again.quarantined) == {1: "000001@a.mrcs: the image holds NaN"}
    write_particles(tmp_path / "part.star", again.subset([1, 2]))
    assert dict(read_particles(tmp_path / "part.star").quarantined) == {0: "000001@a.mrcs: the image holds NaN"}


def test_made_up_data_are_written_and_read(tmp_path):
    optics = [
        OpticsGroup("g", 1, 300.0, 2.7, 0.1, 1.5, 64, beam_tilt_mrad=(0.1, 0.2), magnification=((1.01, 0), (0, 0.99)))
    ]
    ctf = replace(CtfColumns.neutral(4), defocus_u_A=np.full(4, 1e4), defocus_v_A=np.full(4, 9e3))
    particles = Particles.default(4, source=np.array([1, 0, 1, 0], np.int32), ctf=ctf)
    data = Dataset(optics, ["m1", "m2"], Exposures.single(2), particles, ["s.mrcs"], ["m1", "m2"])
    write_particles(tmp_path / "out.star", data.subset([2, 0]))
    again = read_particles(tmp_path / "out.star", need_ctf=True)
    assert again.optics == optics
    assert [again.image_name(i) for i in range(2)] == ["000003@s.mrcs", "000001@s.mrcs"]
    assert again.sources == ["m2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("_rlnDefocusU", "_rlnDefocusX"), "no column rlnDefocusU.*nearest column there is rlnDefocusX.*without --ctf"),
        (("_rlnImagePixelSize", "_rlnPixelSizeX"), "no column rlnImagePixelSize"),
        (("_rlnVoltage", "_rlnV"), "no column rlnVoltage"),
        (("300.0 2.7", "300000 2.7"), r"rlnVoltage is 300000.*expected 10 to 2000 \(kV\).*divide by 1000"),
        (("2.7 0.1", "2.7 10"), "rlnAmplitudeContrast is 10.*percent"),
        (("1.25 64", "0 64"), "rlnImagePixelSize is 0"),
        (("z.mrc 3", "z.mrc 5"), r"particles.star:29: rlnOpticsGroup is 5, expected a group of data_optics \(3, 7\)"),
        (("first   3", "first   7"), "rlnOpticsGroup is 7, expected another number"),
        (("first ", "second"), "rlnOpticsGroupName is second, expected another name"),
        (
            ("a.mrc 7 13000", "a.mrc 7 -13000"),
            "particles.star:30: rlnDefocusU is -13000 A, expected > 0.*1 of 3 particles",
        ),
        (("12000.5", "1.20"), "rlnDefocusU is 1.2, expected A.*10000 where it is in um"),
        (("13000", "nan"), "particles.star:30: rlnDefocusU"),
        (("[0,0,0.5]", "[0,x]"), r"rlnOddZernike is \[0,x\]"),
        (("000001@a", "0@a"), "rlnImageName is 0@a.mrcs"),
        (("rlnImageName", "rlnImage"), "none with a column rlnImageName"),
        ((ROWS, ""), "found no row|no row|rows"),
        (("-20 -2.5", "-20 nan"), "rlnOriginXAngst is not a number"),
    ],
)
def test_bad_input_is_refused_with_the_reason(star, change, message):
    text = OPTICS + HEAD + ROWS
    assert change[0] in text
    with pytest.raises(InputError, match=message):
        read_particles(star(text.replace(*change)), need_ctf=True)


def test_missing_pixel_size_of_an_old_file_says_what_to_do(star):
    with pytest.raises(InputError, match=r"no column rlnMagnification.*10000 rlnDetectorPixelSize / rlnMagnification"):
        read_particles(star(OLD.replace("rlnMagnification", "rlnMagn")))


def test_few_bad_rows_are_quarantined(star):
    rows = "".join(f"{i + 1:06d}@a.mrcs m.mrc 7 {-1 if i == 42 else 15000} 0 0 x\n" for i in range(200))
    data = read_particles(star(OPTICS + HEAD + rows), need_ctf=True)
    assert list(data.quarantined) == [42] and "rlnDefocusU is -1 A" in data.quarantined[42]
    assert not read_particles(star(OPTICS + HEAD + rows)).quarantined  # without a CTF the column has no meaning


def test_damaged_files_give_an_input_error_or_are_read(star, tmp_path):
    """Nothing but InputError comes out of damaged text, and what is read can be written and read again."""
    rng = np.random.default_rng(3)
    n_read = 0
    for trial in range(200):
        words = (OLD if trial % 2 else OPTICS + HEAD + ROWS).split(" ")
        words[rng.integers(len(words))] = rng.choice(
            ["", "nan", "x" * 300, "-1", "1e999", "\n", "loop_", "1@", '"', "[1,"]
        )
        with contextlib.suppress(InputError):
            data = read_particles(star(" ".join(words)), need_ctf=bool(trial % 3), need_box=False)
            n_read += 1
            write_particles(tmp_path / "again.star", quantise(data))
            assert len(read_particles(tmp_path / "again.star", need_box=False)) == len(data)
    assert 5 < n_read < 195  # some of both


def test_repeated_images_are_noted(star):
    data = read_particles(star(OPTICS + HEAD + ROWS + ROWS.splitlines()[0] + "\n"))
    (note,) = data.input.notes
    assert "particles.star:32: 000002@b.mrcs" in note


@pytest.mark.data
def test_real_particles_are_read(test_data):
    data = read_particles(test_data / "real" / "bgal_empiar10204" / "particles.star", need_ctf=True)
    assert (len(data), len(data.sources), data.optics[0].pixel_size_A, data.optics[0].box) == (699, 3, 3.54, 64)
    assert data.group_counts.tolist() == [242, 228, 229]
    assert (data.particles.position_A.max(axis=0) < 3600).all()
