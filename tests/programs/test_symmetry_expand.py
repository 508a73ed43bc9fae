"""``vitreous symmetry-expand``: every equivalent orientation once, all else kept."""

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.errors import InputError
from vitreous.io.star import read_star, write_star
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry

OPTICS = {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["a"], "rlnImagePixelSize": [2.0]}


@pytest.fixture
def particles(tmp_path):
    columns = {
        "rlnImageName": ["000001@a.mrcs", "000002@a.mrcs", "000001@b.mrcs"],
        "rlnOpticsGroup": [1, 1, 1],
        "rlnAngleRot": [10.0, 20.0, 30.0],
        "rlnAngleTilt": [40.0, 90.0, 0.0],
        "rlnAnglePsi": [-60.0, 70.0, 80.0],
        "rlnOriginXAngst": [1.0, 2.0, 3.0],
        "rlnOriginYAngst": [-1.0, -2.0, -3.0],
        "rlnRandomSubset": [1, 2, 1],
        "myColumn": ["x", "y", "z"],
    }
    path = tmp_path / "data.star"
    write_star(path, {"optics": OPTICS, "particles": columns})
    return path


def expand(particles, tmp_path, **options):
    result = call("symmetry-expand", i=str(particles), o=str(tmp_path / "out" / "expanded.star"), verb=0, **options)
    return result, read_star(result.path)


def angles(block):
    return np.column_stack([block[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")])


def test_expansion_holds_the_group_of_every_particle(particles, tmp_path):
    result, star = expand(particles, tmp_path, sym="d3")
    assert (result.n_particles, result.n_copies) == (3, 6)
    block, before = star["particles"], read_star(particles)["particles"]
    expected = euler_to_matrix(angles(before))[:, None] @ Symmetry("D3").rotations
    np.testing.assert_allclose(euler_to_matrix(angles(block)).reshape(3, 6, 3, 3), expected, atol=1e-6)
    for label in set(before.columns) - {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"}:
        np.testing.assert_array_equal(block[label], np.repeat(before[label], 6))
    assert list(block.columns) == list(before.columns) and star["optics"]["rlnImagePixelSize"][0] == 2
    np.testing.assert_array_equal(angles(block)[::6], angles(before))


def test_expansion_by_nothing_changes_nothing(particles, tmp_path):
    _, star = expand(particles, tmp_path)
    before = read_star(particles)["particles"]
    for label, column in before.columns.items():
        np.testing.assert_array_equal(star["particles"][label], column)


def test_expansion_alone_without_optics(particles, tmp_path):
    _, star = expand(particles, tmp_path, sym="C2", ignore_optics=True)
    assert list(star) == [""] and star[""].n_rows == 6


def test_helix_moves_along_its_axis(particles, tmp_path):
    result, star = expand(particles, tmp_path, helix=True, twist=30, rise=5, asu=4)
    block = star["particles"]
    assert result.n_copies == 4
    np.testing.assert_allclose(block["rlnAngleRot"][:4], [40, 10, -20, -50], atol=1e-6)
    # the second particle is seen from the side: the axis lies at (-cos psi, sin psi) in the image
    step = 5 * np.array([-np.cos(np.radians(70)), np.sin(np.radians(70))])
    origins = np.column_stack([block["rlnOriginXAngst"], block["rlnOriginYAngst"]])[4:8]
    np.testing.assert_allclose(origins, [2, -2] - np.arange(-1, 3)[:, None] * step, atol=1e-5)
    np.testing.assert_allclose(block["rlnOriginXAngst"][8:], 3, atol=1e-6)  # along the axis nothing moves


def test_helix_in_fractions_of_the_rise(particles, tmp_path):
    result, star = expand(particles, tmp_path, helix=True, twist=30, rise=5, frac_sampling=4, frac_range=0.4)
    assert result.n_copies == 4
    np.testing.assert_allclose(
        star["particles"]["rlnAngleRot"][:4], 10 - 30 * np.array([-0.4, -0.15, 0.1, 0.35]), atol=1e-6
    )


@pytest.mark.parametrize(
    "change, text",
    [
        ({"sym": "OH"}, "--sym: found OH, which is no point group"),
        ({"sym": "C2", "helix": True}, "--helix: found together with --sym"),
        ({"helix": True, "asu": 2, "frac_sampling": 2}, "--asu: found together with --frac_sampling"),
        ({"asu": 2}, "--asu: found without --helix"),
        ({"i": "nowhere.star"}, "nowhere.star"),
    ],
)
def test_bad_input_is_refused(particles, tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        expand(change.pop("i", particles), tmp_path, **change)


def test_an_angle_that_is_none_is_named(particles, tmp_path):
    star = read_star(particles)
    star["particles"].columns["rlnAngleTilt"][1] = np.nan
    write_star(particles, star, allow_nan=True)
    with pytest.raises(InputError, match=r"data\.star:\d+.*rlnAngleTilt"):
        expand(particles, tmp_path, sym="C2")


def test_a_file_without_orientations_is_refused(tmp_path):
    write_star(tmp_path / "a.star", {"particles": {"rlnImageName": ["1@a.mrcs"]}})
    with pytest.raises(InputError, match="found no table with rlnImageName and rlnAngleRot"):
        expand(tmp_path / "a.star", tmp_path, sym="C2")
