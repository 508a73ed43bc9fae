"""star-downgrade: the seven columns by their formula, and the whole dialect of RELION 3.0 by the way back."""

import shutil
import subprocess

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star, write_star
from vitreous.io.star_tables import read_tables
from vitreous.model.rotation import euler_to_matrix
from vitreous.programs import star_downgrade
from vitreous.programs.option_parser import parse

N = 30


def run(words):
    return star_downgrade.run(parse(star_downgrade.Options, [*words.split(), "--verb", "0"]))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """particles.star of two optics groups, with a position in three axes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    optics = {
        "rlnOpticsGroup": np.array([1, 2]), "rlnOpticsGroupName": np.array(["opticsGroup1", "opticsGroup2"], object),
        "rlnAmplitudeContrast": np.array([0.1, 0.07]), "rlnSphericalAberration": np.array([2.7, 2.7]),
        "rlnVoltage": np.array([300.0, 300.0]), "rlnImagePixelSize": np.array([3.54, 2.0]),
        "rlnImageSize": np.array([8, 8]), "rlnImageDimensionality": np.array([2, 2]),
    }  # fmt: skip
    particles = {
        "rlnImageName": np.array([f"{i + 1:06d}@a.mrcs" for i in range(N)], object),
        "rlnMicrographName": np.array([f"m{i // 10}.mrc" for i in range(N)], object),
        "rlnOpticsGroup": np.repeat([1, 2], N // 2), "rlnClassNumber": rng.integers(1, 4, N),
        "rlnHelicalTrackLengthAngst": rng.uniform(0, 500, N).round(6),
    }  # fmt: skip
    for label, low, high in (("Coordinate", 0, 4000), ("Origin", -20, 20)):
        for axis in "XYZ":
            name = f"rln{label}{axis}" + ("Angst" if label == "Origin" else "")
            particles[name] = rng.uniform(low, high, N).round(6)
    for name, low, high in (("Rot", -180, 180), ("Tilt", 0, 180), ("Psi", -180, 180)):
        particles[f"rlnAngle{name}"] = rng.uniform(low, high, N).round(6)
    write_star("particles.star", {"optics": optics, "particles": particles})
    write_mrc("a.mrcs", rng.normal(size=(N, 8, 8)).astype(np.float32), 3.54)
    return tmp_path


def test_seven_columns_are_those_of_dynamo2m(here):
    path = run("--s particles.star")
    assert str(path) == "particles_rln3.0.star"
    star, old = read_star(path), read_star("particles.star")
    columns = star[""].columns
    assert list(star) == [""] and star[""].version is None
    assert list(columns) == ["rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ", "rlnAngleRot",
                             "rlnAngleTilt", "rlnAnglePsi"]  # fmt: skip
    pixel_A = np.repeat([3.54, 2.0], N // 2)
    for axis in "XYZ":
        expected = old["particles"][f"rlnCoordinate{axis}"] - old["particles"][f"rlnOrigin{axis}Angst"] / pixel_A
        np.testing.assert_allclose(columns[f"rlnCoordinate{axis}"], expected, atol=6e-5)  # 12 characters of 1234.123456
    np.testing.assert_array_equal(columns["rlnAnglePsi"], old["particles"]["rlnAnglePsi"])
    assert list(columns["rlnMicrographName"]) == list(old["particles"]["rlnMicrographName"])


def test_seven_columns_join_the_angles_of_subtomograms(here):
    star = read_star("particles.star")
    rng = np.random.default_rng(0)
    frame = rng.uniform(-90, 90, (N, 3)).round(4)
    for name, column in zip(("Rot", "Tilt", "Psi"), frame.T):
        star["particles"][f"rlnTomoSubtomogram{name}"] = column
    write_star("tomo.star", star)
    found = read_star(run("--i tomo.star --coord_angpix 2"))[""]
    p = star["particles"]
    part, whole = (np.column_stack([t[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")]) for t in (p, found))
    turn = euler_to_matrix(frame)
    np.testing.assert_allclose(euler_to_matrix(whole), turn @ euler_to_matrix(part), atol=1e-6)
    origin, before, after = (
        np.column_stack([t[f"rln{name}"] for name in names])
        for t, names in ((p, [f"Origin{a}Angst" for a in "XYZ"]), (p, [f"Coordinate{a}" for a in "XYZ"]),
                         (found, [f"Coordinate{a}" for a in "XYZ"]))
    )  # fmt: skip
    np.testing.assert_allclose(before - after, np.einsum("nij,nj->ni", turn, origin) / 2, atol=6e-5)


def test_names_of_tomograms_end_as_m_wants_them(here):
    star = read_star("particles.star")
    star["particles"].columns["rlnTomoName"] = star["particles"].columns.pop("rlnMicrographName")
    write_star("tomo.star", star)
    names = set(read_star(run("--i tomo.star --tomostar --o m.star"))[""]["rlnMicrographName"])
    assert names == {"m0.tomostar", "m1.tomostar", "m2.tomostar"}


def test_coordinates_of_unscaled_micrographs_are_warned_of(here, capsys):
    star = read_star("particles.star")
    star["optics"]["rlnTomoTiltSeriesPixelSize"] = [0.885, 0.885]
    write_star("tomo.star", star)
    run("--i tomo.star")
    assert "give --coord_angpix 0.885" in capsys.readouterr().err


def test_full30_has_optics_in_its_rows_and_origins_in_px(here):
    star, old = read_star(run("--i particles.star --mode full30 --o old.star")), read_star("particles.star")
    rows, p = star[""], old["particles"]
    assert list(star) == [""] and rows.version is None and "rlnOpticsGroup" not in rows
    assert (rows["rlnVoltage"] == 300).all() and set(rows["rlnAmplitudeContrast"]) == {0.1, 0.07}
    pixel_A = 1e4 * rows["rlnDetectorPixelSize"] / rows["rlnMagnification"]
    np.testing.assert_allclose(pixel_A, np.repeat([3.54, 2.0], N // 2))
    np.testing.assert_allclose(rows["rlnOriginX"] * pixel_A, p["rlnOriginXAngst"], atol=1e-9)
    np.testing.assert_allclose(rows["rlnHelicalTrackLength"] * pixel_A, p["rlnHelicalTrackLengthAngst"], atol=1e-9)
    assert not {label for label in rows if label.endswith("Angst")}
    np.testing.assert_allclose(read_particles("old.star").particles.shift_A[:, 0], p["rlnOriginXAngst"], atol=1e-9)


@pytest.mark.parametrize("who", ["ours", pytest.param("theirs", marks=pytest.mark.interop)])
def test_full30_there_and_back_is_the_same(here, who):
    run("--i particles.star --mode full30 --o old.star")
    if who == "ours":
        read_tables("old.star").write("new.star")
    elif shutil.which("relion_convert_star") is None:
        pytest.skip("relion_convert_star is not installed")
    else:
        subprocess.run(["relion_convert_star", "--i", "old.star", "--o", "new.star"], check=True, capture_output=True)
    new, old = read_star("new.star"), read_star("particles.star")
    for name in ("optics", "particles"):
        assert set(new[name]) - {"rlnHelicalTrackLength"} <= set(old[name])
        for label in new[name]:
            if label in old[name] and old[name][label].dtype != object:
                np.testing.assert_allclose(new[name][label], old[name][label], atol=1e-6, rtol=1e-6, err_msg=label)
    assert list(new["particles"]["rlnImageName"]) == list(old["particles"]["rlnImageName"])


def test_full30_of_a_model_has_its_errors_in_px(here):
    general = {"rlnPixelSize": 4.0, "rlnSigmaOffsetsAngst": 10.0, "rlnNrClasses": 2}
    classes = {"rlnReferenceImage": np.array(["1@a.mrcs", "2@a.mrcs"], object),
               "rlnAccuracyTranslationsAngst": np.array([2.0, 3.0])}  # fmt: skip
    write_star("run_model.star", {"model_general": general, "model_classes": classes})
    star = read_star(run("--i run_model.star --mode full30"))
    assert star["model_general"].value("rlnSigmaOffsets") == 2.5
    assert list(star["model_classes"]["rlnAccuracyTranslations"]) == [0.5, 0.75]


@pytest.mark.parametrize(
    "words, message",
    [
        ("--o a.star", "--i: found nothing"),
        ("--i particles.star --s particles.star", "expected one of them"),
        ("--i particles.star --mode full29", "expected dynamo2m or full30"),
        ("--i flat.star", "give --mode full30 for particles without depth"),
        ("--i old.star --mode full30", "needs no downgrade"),
    ],
)
def test_star_downgrade_mistakes_are_told(here, words, message):
    star = read_star("particles.star")
    del star["particles"].columns["rlnCoordinateZ"]
    write_star("flat.star", star)
    run("--i particles.star --mode full30 --o old.star")
    with pytest.raises(InputError, match=message):
        run(words)
