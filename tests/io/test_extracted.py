import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io import extracted as io
from vitreous.io.star import read_star, write_star


def refined(path, names, optics=True, **more):
    n = len(names)
    rows = {
        "rlnMicrographName": np.array(names, object),
        "rlnCoordinateX": np.arange(n) + 0.5,
        "rlnCoordinateY": np.full(n, 7.0),
        "rlnImageName": np.array([f"{i:06d}@a.mrcs" for i in range(1, n + 1)], object),
    } | more
    groups = {
        "rlnOpticsGroupName": ["a"],
        "rlnOpticsGroup": [1],
        "rlnImagePixelSize": [4.0],
        "rlnImageSize": [32],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
    }
    if optics:
        rows["rlnOpticsGroup"] = np.ones(n, int)
    write_star(path, ({"optics": groups} if optics else {}) | {"particles" if optics else "": rows})
    return str(path)


def test_rows_by_micrograph_compare_behind_the_job(tmp_path):
    names = ["MotionCorr/job002/M/a1.mrc", "MotionCorr/job002/M/a1.mrc_x", "MotionCorr/job002/M/b.mrc", "M/none.mrc"]
    table = io.read_refined(refined(tmp_path / "d.star", names))
    rows, n_lost, loose = io.rows_by_micrograph(table, ["MotionCorr/job005/M/a1.mrc", "MotionCorr/job005/M/b.mrc"])
    assert [r.tolist() for r in rows] == [[0, 1], [2]]
    assert n_lost == 1 and loose == ["MotionCorr/job002/M/a1.mrc_x"]  # found as RELION does, and told


def test_refined_origins_in_pixels_become_angstrom(tmp_path):
    names = ["a.mrc"] * 3
    new = io.read_refined(refined(tmp_path / "n.star", names, rlnOriginXAngst=[1.0, 2, 3], rlnOriginYAngst=[0.0, 0, 4]))
    old = io.read_refined(refined(tmp_path / "o.star", names, rlnOriginX=[0.25, 0.5, 0.75], rlnOriginY=[0.0, 0, 1]))
    for table in (new, old):
        np.testing.assert_allclose(table.origins_A(np.arange(3)), [[1, 0], [2, 0], [3, 4]])


def test_read_refined_needs_positions(tmp_path):
    write_star(tmp_path / "x.star", {"particles": {"rlnMicrographName": ["a"], "rlnAnglePsi": [1.0]}})
    with pytest.raises(InputError, match="there is no column rlnCoordinateX"):
        io.read_refined(str(tmp_path / "x.star"))


def test_join_fills_columns_that_some_lack():
    a = {"rlnImageName": np.array(["1@a"], object), "rlnAnglePsi": np.array([5.0])}
    b = {
        "rlnImageName": np.array(["1@b", "2@b"], object),
        "rlnClassNumber": np.array([3, 4]),
        "rlnGroupName": np.array(["g", "g"], object),
    }
    out = io.join([a, {}, b])
    assert list(out) == ["rlnImageName", "rlnAnglePsi", "rlnClassNumber", "rlnGroupName"]
    assert out["rlnAnglePsi"].tolist() == [5, 0, 0] and out["rlnClassNumber"].tolist() == [0, 3, 4]
    assert out["rlnGroupName"].tolist() == ["None", "g", "g"] and out["rlnClassNumber"].dtype.kind == "i"


def test_drop_unused_groups_numbers_the_others_from_1():
    optics = {"rlnOpticsGroup": np.array([1, 2, 3]), "rlnOpticsGroupName": np.array(["a", "b", "c"], object)}
    kept, rows = io.drop_unused_groups(optics, {"rlnOpticsGroup": np.array([3, 1, 3])})
    assert kept["rlnOpticsGroupName"].tolist() == ["a", "c"] and kept["rlnOpticsGroup"].tolist() == [1, 2]
    assert rows["rlnOpticsGroup"].tolist() == [2, 1, 2]


def test_optics_of_particles_follow_the_rescaling():
    optics = {
        "rlnOpticsGroup": np.array([1]),
        "rlnMicrographPixelSize": np.array([0.885]),
        "rlnVoltage": np.array([300.0]),
    }
    out = io.optics_of_particles(optics, np.array([0.885]), 4.0, 64, premultiplied=True, flipped=False)
    assert out["rlnImagePixelSize"].tolist() == [3.54] and out["rlnImageSize"].tolist() == [64]
    assert out["rlnMicrographOriginalPixelSize"].tolist() == [0.885] and "rlnMicrographPixelSize" not in out
    assert out["rlnCtfDataAreCtfPremultiplied"].tolist() == [1] and "rlnCtfDataArePhaseFlipped" not in out


def test_extract_star_of_no_particles_is_an_empty_file(tmp_path):
    path = tmp_path / "x_extract.star"
    io.write_extract_star(path, {"rlnImageName": np.zeros(0, object)})
    assert path.stat().st_size == 0 and io.read_extract_star(path) == {}
    io.write_extract_star(path, {"rlnImageName": np.array(["1@a"], object)})
    assert read_star(path)["images"]["rlnImageName"].tolist() == ["1@a"]
