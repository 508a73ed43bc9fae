"""Orientation grids: numbers of poses, their children, and the windows of local searches."""

import numpy as np
import pytest
from volume_phantom import random_rotations

from vitreous import backend
from vitreous.engine import orientations
from vitreous.model import healpix
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.state import Sampling
from vitreous.model.symmetry import Symmetry


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def grids(be, order, oversampling=1, symmetry="C1", n_classes=1, perturb=0.3, reach=3.0, step=3.0):
    sampling = Sampling(
        healpix.step_deg(order), reach, step, oversampling, 0.5, perturb, healpix_order=order, sigma_deg=1.0
    )
    return orientations.coarse_and_fine(be, sampling, Symmetry.parse(symmetry), n_classes)


def test_unit_is_not_more_than_the_group_s_where_that_suffices(be):
    for name, n_dir in (("C1", 192), ("C2", 96), ("C4", 48), ("D2", 48), ("D4", 24)):
        assert len(orientations.unit_pixels(be, 2, Symmetry.parse(name))) == n_dir


def turn_deg(a, b):
    """Angle of the rotation between two orientations, from the length of their difference: exact for small angles."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8), 0, 1)))


@pytest.mark.parametrize("symmetry, n_classes", [("C1", 1), ("C1", 3), ("D2", 2)])
def test_pose_numbers_are_a_bijection(be, symmetry, n_classes):
    for grid in grids(be, 1, symmetry=symmetry, n_classes=n_classes):
        pose = np.arange(2 * grid.n_row)
        parts = grid.split(pose)
        np.testing.assert_array_equal(grid.pose(*parts), pose)
        assert len(set(zip(*parts))) == n_classes * grid.n_dir * len(grid.psi_deg) == len(pose)
        assert [p.max() + 1 for p in parts] == [n_classes, grid.n_dir, len(grid.psi_deg)]


def test_turned_poses_are_turned_by_half_in_the_plane(be):
    """So their slices, at the frequencies (-x, -y), are the complex conjugates of the rows' own."""
    for grid in grids(be, 1):
        row = np.arange(grid.n_row)
        plain, turned = grid.matrices(row), grid.matrices(row + grid.n_row)
        np.testing.assert_allclose(turned[:, :2], -plain[:, :2], atol=1e-12)
        np.testing.assert_allclose(turned[:, 2], plain[:, 2], atol=1e-12)


def test_matrices_are_perturbed_in_the_reference(be):
    grid, _ = grids(be, 1, perturb=0.3)
    _, i_dir, i_psi = grid.split(np.array([5, 40]))
    q = 0.3 * 30.0
    for k in range(2):
        euler = [*grid.directions_deg[i_dir[k]], grid.psi_deg[i_psi[k]]]
        want = euler_to_matrix(euler) @ euler_to_matrix([q, q, q])
        np.testing.assert_allclose(grid.matrices(np.array([5, 40]))[k], want, atol=1e-12)


def test_shifts_move_by_the_perturbation(be):
    coarse, fine = grids(be, 0, perturb=-0.4, reach=6.0, step=3.0)
    assert coarse.shifts_A.mean(0) == pytest.approx([-1.2, -1.2])
    np.testing.assert_allclose(fine.shifts_A.reshape(len(coarse.shifts_A), 4, 2).mean(1), coarse.shifts_A, atol=1e-12)


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "D7", "T", "O", "I2"])
@pytest.mark.parametrize("oversampling", [0, 1, 2])
def test_children_make_up_the_fine_grid(be, symmetry, oversampling):
    coarse, fine = grids(be, 1, oversampling, symmetry, 2)
    child = orientations.children(coarse, fine, np.arange(2 * coarse.n_row))
    assert child.shape[1] == 8**oversampling
    np.testing.assert_array_equal(np.sort(child.ravel()), np.arange(2 * fine.n_row))
    np.testing.assert_array_equal(
        fine.split(child)[0], np.broadcast_to(coarse.split(np.arange(2 * coarse.n_row))[0][:, None], child.shape)
    )


@pytest.mark.parametrize("order", [0, 1, 2])
def test_children_lie_around_their_parent(be, order):
    """Half a step of the grid along the sphere and in the plane: none is farther than its parent's neighbours are."""
    coarse, fine = grids(be, order)
    pose = np.arange(0, 2 * coarse.n_row, 7)
    direction = coarse.matrices(pose)[:, None, 2]
    child = fine.matrices(orientations.children(coarse, fine, pose).ravel()).reshape(len(pose), -1, 3, 3)
    away = np.degrees(np.arccos(np.clip((child[:, :, 2] * direction).sum(-1), -1, 1)))
    assert away.max() < 0.75 * healpix.step_deg(order) and away.min() > 0.1 * healpix.step_deg(order)
    psi = fine.psi_deg[fine.split(orientations.children(coarse, fine, pose))[2]]
    off = (psi - coarse.psi_deg[coarse.split(pose)[2]][:, None] + 180) % 360 - 180
    assert set(np.round(np.abs(off) / healpix.step_deg(order), 9).ravel()) == {0.25}


@pytest.mark.parametrize("symmetry", ["C1", "C3", "C7", "D2", "D7", "D12", "T", "O", "I1", "I2", "I3", "I4"])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_unit_and_its_mates_reach_every_orientation(be, symmetry, order):
    """Any view has a mate near it, nearly as near as in a grid over the whole sphere, at the poles too."""
    group = Symmetry.parse(symmetry)
    coarse, _ = grids(be, order, symmetry=symmetry, perturb=0.0)
    view = np.concatenate([random_rotations(1000)[:, 2], POLES[:, 2], group.rotations[:, 2]])
    plain = euler_to_matrix(np.column_stack([coarse.directions_deg, np.zeros(coarse.n_dir)]))[:, 2]
    best = np.max([plain @ r @ view.T for r in group.rotations], (0, 1))
    assert np.degrees(np.arccos(best.min())) < 1.0 * healpix.step_deg(order)
    whole = healpix.n_directions(order) / group.order
    assert coarse.n_dir <= 1.3 * whole + 3


# ---- windows -----------------------------------------------------------------------------------------------------


def all_turns(coarse, own, symmetry):
    """(n_dir * n_psi,) rotation to the nearest mate of own, of every sample of the unperturbed grid, in pose order."""
    row = np.arange(2 * coarse.n_row)
    _, i_dir, i_psi = coarse.split(row)
    matrix = euler_to_matrix(np.column_stack([coarse.directions_deg[i_dir], coarse.psi_deg[i_psi]]))
    return np.min([turn_deg(matrix, own @ r) for r in symmetry.rotations], 0)


POLES = euler_to_matrix([[10.0, 0.0, 20.0], [40.0, 180.0, -70.0], [3.0, 2.0, 175.0], [60.0, 179.0, 0.0]])


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "D7", "O"])
@pytest.mark.parametrize("order, sigma_deg", [(1, 12.0), (2, 5.5), (0, 25.0), (0, 80.0)])
def test_window_matches_brute_force(be, symmetry, order, sigma_deg):
    group = Symmetry.parse(symmetry)
    coarse, _ = grids(be, order, symmetry=symmetry, n_classes=2)
    own = np.concatenate([POLES, random_rotations(5, seed=order)])
    start, pose, prior = orientations.window(coarse, own, sigma_deg, group)
    assert pose.dtype == np.int32 and prior.dtype == np.float32 and start[-1] == len(pose)
    for i, matrix in enumerate(own):
        turn = all_turns(coarse, matrix, group)
        mine = slice(start[i], start[i + 1])
        if turn.min() >= 3 * sigma_deg:  # held below
            continue
        inside = np.flatnonzero(turn < 3 * sigma_deg - 1e-7)
        doubtful = np.flatnonzero(np.abs(turn - 3 * sigma_deg) < 1e-6)
        assert set(inside) <= set(pose[mine]) <= set(inside) | set(doubtful)
        assert (np.diff(pose[mine]) > 0).all()
        density = np.exp(-0.5 * (turn[pose[mine]] / sigma_deg) ** 2)
        want = np.log(2 * density / density.sum())  # each class's prior sums to 1
        np.testing.assert_allclose(prior[mine], want, atol=1e-5)  # float32 of numbers up to 10
    assert len(pose) > 2 * len(own)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_window_without_a_sample_takes_the_nearest(be, symmetry):
    group = Symmetry.parse(symmetry)
    coarse, _ = grids(be, 1, symmetry=symmetry)
    own = np.concatenate([POLES[:1], random_rotations(40, seed=3)])
    for sigma_deg in (0.01, 1.5):
        start, pose, prior = orientations.window(coarse, own, sigma_deg, group)
        n_alone = 0
        for i, matrix in enumerate(own):
            turn = all_turns(coarse, matrix, group)
            if turn.min() < 3 * sigma_deg:
                continue
            n_alone += 1
            assert start[i + 1] - start[i] == 1 and prior[start[i]] == 0
            assert turn[pose[start[i]]] == pytest.approx(turn.min(), abs=1e-6)
        assert n_alone > 10


def test_window_is_that_of_any_symmetry_mate(be):
    for name in ("C3", "D2", "D7", "O"):
        group = Symmetry.parse(name)
        coarse, _ = grids(be, 2, symmetry=name)
        own = random_rotations(6, seed=5)
        want = orientations.window(coarse, own, 6.0, group)
        for rotation in group.rotations[1::3]:
            got = orientations.window(coarse, own @ rotation, 6.0, group)
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])
            np.testing.assert_allclose(got[2], want[2], atol=1e-5)


def test_window_near_the_pole_follows_the_rotation(be):
    """At tilt 1 degree rot and psi are nearly one angle: samples far off in psi count where the rotation is near."""
    coarse, _ = grids(be, 3, perturb=0.0)
    own = euler_to_matrix([[100.0, 1.0, -100.0]])
    _, pose, _ = orientations.window(coarse, own, 4.0, Symmetry("C1"))
    psi = coarse.psi_deg[coarse.split(pose)[2]]
    assert len(pose) > 10 and np.ptp((psi + 100 + 180) % 360 - 180) > 90


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_window_size_is_the_mean_of_windows(be, symmetry):
    group = Symmetry.parse(symmetry)
    coarse, _ = grids(be, 2, symmetry=symmetry, n_classes=2)
    sigma_deg = healpix.step_deg(2)
    start, *_ = orientations.window(coarse, random_rotations(200, seed=4), sigma_deg, group)
    expected = orientations.window_size(coarse, sigma_deg, group)
    # Counts of points in a ball scatter by less than their root; the grid reaches a little over the seams of the unit.
    assert 0.95 < np.diff(start).mean() / expected < 1.15
