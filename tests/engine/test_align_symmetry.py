"""Axes of a point group: found in turned and noisy maps, and scored as the copies correlate."""

import numpy as np
import pytest
from volume_phantom import Blobs, random_rotations

from vitreous.engine import harmonics
from vitreous.engine.align_symmetry import (
    AngularPower,
    align,
    distance_deg,
    find,
    nearest_to_input,
    of_other_copies,
    prepare,
    refine,
    scan,
)
from vitreous.engine.turn_map import turned
from vitreous.model.symmetry import Symmetry

PIXEL_A = 4.0
GROUPS = ("C2", "C5", "D2", "D3", "D4", "T", "O", "I1", "I2", "I3")


def turned_map(name, seed=1, box=36, noise=0.0):
    """A map with a group, turned and moved, its turn and its centre, px."""
    blobs, turn, centre = Blobs(name, reach_px=10), random_rotations(seed + 1, 3)[seed], np.array([1.5, -2.0, 0.7])
    blobs.places = blobs.places @ turn.T + centre
    volume = blobs.volume(box)
    volume += noise * volume.std() * np.random.default_rng(seed).normal(size=volume.shape).astype(np.float32)
    return volume, turn, centre


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("noise, most_deg, most_A", [(0.0, 0.3, 0.3), (1.5, 2.0, 2.0)])
def test_align_finds_the_axes(name, noise, most_deg, most_A):
    group = Symmetry.parse(name)
    volume, turn, centre = turned_map(name, noise=noise)
    found = align(volume, PIXEL_A, name)
    # turn brings the places to the map, the rotation found brings them back, or to where the axes look the same
    assert distance_deg(group, (found.rotation @ turn)[None], np.eye(3))[0] < most_deg
    off = found.shift_A + PIXEL_A * centre
    if name[0] == "C":  # the place along the axis is free
        off -= found.rotation[2] * (found.rotation[2] @ off)
    assert np.linalg.norm(off) < most_A
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert found.significance > 3 and found.is_shown and (noise or found.weakest > 0.99)
    # the turned map has the group in place: averaging it changes nothing
    if noise == 0:
        averaged = turned(found.volume, np.eye(3), (0, 0, 0), group)
        assert np.corrcoef(averaged.ravel(), found.volume.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("name", ["C5", "D2", "D7", "T", "I2"])
def test_a_map_in_place_stays(name):
    volume = Blobs(name, reach_px=10).volume(36)
    found = align(volume, PIXEL_A, name)
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=0.005)
    assert np.abs(found.shift_A[: 2 if name[0] == "C" else 3]).max() < 0.2


def test_the_score_is_the_correlation_of_turned_coefficients():
    """All orientations at once, one by one, and from the definition."""
    volume, _, _ = turned_map("C1")
    working, group, rotation = prepare(volume, PIXEL_A), Symmetry("D3"), random_rotations(1, 9)[0]
    power = AngularPower(working)
    radii = np.arange(1, int(working.radius_px) + 1)
    f = harmonics.expand(working.volume, working.centre_px, radii, working.degree)
    products = np.zeros(group.order)
    for i, element in enumerate(rotation.T @ group.rotations @ rotation):
        for l in range(1, working.degree + 1):
            copy = f[l] @ harmonics.rotation_matrices(l, element[None])[0].T
            products[i] += (radii[:, None] ** 2 * f[l].conj() * copy).sum().real
    expected = products[1:].mean() / products[0]
    assert power.scores(group, rotation[None])[0] == pytest.approx(expected, abs=1e-9)
    rotations, scores, weights = scan(power, group)
    some = np.random.default_rng(0).choice(len(scores), 20)
    np.testing.assert_allclose(power.scores(group, rotations[some]), scores[some], atol=1e-9)
    # over all orientations each degree keeps the share of its invariants: a theorem, and a test of the grid
    share = sum(np.trace(m).real * round(np.trace(harmonics.rotation_matrices(l, group.rotations).mean(0)).real)
                / (2 * l + 1) for l, m in power.matrices.items())  # fmt: skip
    assert np.average(scores, weights=weights) == pytest.approx(of_other_copies(share, group), abs=0.01)


def test_the_weakest_copy_tells_what_is_alike_about_an_axis():
    in_place = prepare(Blobs("C6", reach_px=10).volume(36), PIXEL_A, keep_centre=True)
    power = AngularPower(in_place)
    assert power.weakest(Symmetry("C1"), np.eye(3)) == 1.0
    assert power.weakest(Symmetry("C3"), np.eye(3)) > 0.99
    # by a twelfth of a turn the sixfold waves are opposite, and what has no waves does not count
    assert power.weakest(Symmetry("C12"), np.eye(3)) < -0.9


def test_keep_centre_and_only_rot_are_kept():
    blobs = Blobs("D3", reach_px=10)
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    blobs.places = blobs.places @ turn.T
    found = align(blobs.volume(36), PIXEL_A, "D3", only_rot=True, keep_centre=True)
    np.testing.assert_array_equal(found.shift_A, 0)
    np.testing.assert_array_equal(np.abs(found.rotation[2]), [0, 0, 1])
    assert distance_deg(Symmetry("D3"), (found.rotation @ turn)[None], np.eye(3))[0] < 0.3


def test_refine_climbs_from_a_few_degrees():
    volume, turn, centre = turned_map("D4")
    working = prepare(volume, PIXEL_A)
    group = Symmetry("D4")
    off = random_rotations(1, 1)[0]
    axis, angle = off[2], np.deg2rad(5)
    cross = np.array([(0, -axis[2], axis[1]), (axis[2], 0, -axis[0]), (-axis[1], axis[0], 0)])
    start = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) @ turn.T
    share, rotation, found = refine(working, group, start)
    assert share > 0.99
    assert distance_deg(group, rotation[None], turn.T)[0] < 0.3
    np.testing.assert_allclose(found, centre, atol=0.1)


def test_nearest_to_input_is_the_smallest_turn():
    for name in GROUPS:
        group = Symmetry.parse(name)
        for rotation in random_rotations(5, 2):
            found = nearest_to_input(group, rotation)
            assert np.trace(found) >= np.trace(rotation) - 1e-9
            assert distance_deg(group, found[None], rotation)[0] < 1e-3


def test_a_map_without_the_group_says_so():
    volume, _, _ = turned_map("C1")
    for name in ("C2", "D2", "D7", "T", "I2"):
        found = find(prepare(volume, PIXEL_A), Symmetry(name))
        assert found.weakest < 0.4 and not found.is_shown


@pytest.mark.parametrize("volume, text", [
    (np.zeros((16, 16, 20), np.float32), "expected a cube"), (np.ones((16,) * 3, np.float32), "all voxels are alike"),
])  # fmt: skip
def test_what_is_no_map_is_refused(volume, text):
    with pytest.raises(ValueError, match=text):
        align(volume, PIXEL_A, "C2")


MAPS = {
    "O": "sim/maps/apoferritin_CAonly_64_3A.mrc.gz", "D4": "sim/maps/rubisco_1bxn_64_2.8A.mrc.gz",
    "C6": "sim/maps/hiv_casp1_64_2.7A.mrc.gz", "D7": "sim/spa_d7_groel/truth/map_state1.mrc.gz",
    "D2": "real/bgal_empiar10204/reference/betaGal_ngl_3.54A_crop64.mrc.gz",
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", MAPS)
def test_align_finds_the_axes_of_molecules_in_noise(test_data, name):
    """Maps whose axes are in place, turned; white noise of twice the deviation."""
    from vitreous.io.mrc import read_mrc

    volume, pixel_size_A = read_mrc(test_data / MAPS[name])
    group = Symmetry.parse(name)
    for seed, turn in enumerate(random_rotations(3, 11)):
        noisy = turned(volume, turn, (2.0, -1.0, 1.5))
        noise = np.random.default_rng(seed).normal(size=noisy.shape).astype(np.float32)
        found = align(noisy + 2 * noisy.std() * noise, pixel_size_A, name)
        assert distance_deg(group, (found.rotation @ turn)[None], np.eye(3))[0] < 2
        assert found.weakest > 0.5
