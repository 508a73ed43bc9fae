"""Principal volumes: expectations against joint Gaussians, blindness to errors of pose, known coordinates found again."""

from dataclasses import replace

import numpy as np
import pytest
from volume_phantom import random_rotations

from vitreous import backend
from vitreous.engine import principal_views as pw
from vitreous.engine import principal_volumes as pv
from vitreous.engine.phantom import make_phantom
from vitreous.engine.reconstruct3d import inverse_transform, reference_transform
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice

BOX, RADIUS_PX, PIXEL_A = 24, 7, 6.0
ALONE = lambda value: value  # the sum over one process


@pytest.fixture(scope="module")
def be():
    return backend.cpu(1)


def space_of(symmetry="C1"):
    return pw.Space.of(BOX, RADIUS_PX, 2.0, 0.36, 0.1, Symmetry.parse(symmetry))


def half_plane(radius):
    k = np.arange(-radius, radius + 1)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    kept = (np.hypot(kx, ky) <= radius) & ((kx > 0) | ((kx == 0) & (ky >= 0)))
    return kx[kept].astype(np.float32), ky[kept].astype(np.float32)


def blank_views(n, seed=0):
    """Views of random orientations with a smooth transfer and no data."""
    kx, ky = half_plane(RADIUS_PX)
    rng = np.random.default_rng(seed)
    k2 = kx**2 + ky**2
    transfer = np.cos(rng.uniform(0.01, 0.03, (n, 1)) * k2).astype(np.float32)
    transfer[:, k2 == 0] = 0
    matrix = np.ascontiguousarray(2 * np.swapaxes(random_rotations(n, seed), 1, 2)[:, :, :2], np.float32)
    data = np.zeros((n, 2, len(kx)), np.float32)
    shell = np.floor(np.sqrt(k2) + 0.5).astype(int)
    return pw.Views(np.arange(n), data, transfer, matrix, kx, ky, shell, 0, np.zeros((n, 0, 2 * len(kx)), np.float32))


def molecule(space):
    box = space.lattice.box
    return (make_phantom(90.0, n_rods=30, sigma_A=5.0, seed=3).volume(box, PIXEL_A * BOX / box) * space.mask).astype(np.float32)


def knob(space):
    """A Gaussian off the centre."""
    pixel_A = PIXEL_A * BOX / space.lattice.box
    z, y, x = (np.indices(space.mask.shape) - space.lattice.box // 2) * pixel_A
    return np.exp(-((x - 20) ** 2 + (y + 15) ** 2 + (z - 22) ** 2) / (2 * 9.0**2)).astype(np.float32)


def data_of(be, space, volumes, weights, views, noise=1.0, seed=1):
    """Data of views (n) that show the volumes (q) with weights (n, q), and white noise."""
    shown = pw.slices(be, space, pw.transforms(be, space, volumes), views)
    data = np.einsum("nq,nqp->np", weights, shown).reshape(views.data.shape)
    return replace(views, data=(data + noise * np.random.default_rng(seed).normal(size=data.shape)).astype(np.float32))


def test_expected_is_that_of_the_joint_gaussian():
    """Coordinates with unit variance and nuisance of any size, from the joint normal equations in double precision."""
    rng = np.random.default_rng(0)
    n, q, m, p = 5, 2, 3, 40
    shown, nuisance = rng.normal(size=(n, q, p)), np.linalg.qr(rng.normal(size=(n, p, m)))[0].swapaxes(1, 2)
    raw = rng.normal(size=(n, p))
    data = raw - np.einsum("np,nmp,nml->nl", raw, nuisance, nuisance)
    empty = blank_views(n)
    views = replace(empty, data=data.reshape(n, 2, -1).astype(np.float32), nuisance=nuisance.astype(np.float32))
    found, gain = pv.expected(views, shown.astype(np.float32)), 0.0
    for i in range(n):
        both = np.concatenate([shown[i], nuisance[i]])
        variance = np.linalg.inv(both @ both.T + np.diag([1.0] * q + [0.0] * m))
        mean = variance @ both @ raw[i]
        second = variance + np.outer(mean, mean)
        np.testing.assert_allclose(found.mean[i], mean[:q], atol=1e-5)
        np.testing.assert_allclose(found.second[i], second[:q, :q], atol=1e-5)
        for j in range(q):
            others = [k for k in range(q + m) if k != j]
            np.testing.assert_allclose(found.rows[i, j], mean[j] * raw[i] - second[j, others] @ both[others], atol=1e-4)
        blind = np.eye(p) - nuisance[i].T @ nuisance[i]  # what a flat prior leaves of the precision of white noise
        g, b = shown[i] @ blind @ shown[i].T, shown[i] @ blind @ raw[i]
        gain += 0.5 * (b @ np.linalg.solve(np.eye(q) + g, b) - np.linalg.slogdet(np.eye(q) + g)[1])
    assert found.log_likelihood == pytest.approx(gain, rel=1e-5)


def test_views_are_blind_to_small_errors_of_contrast_and_pose(be):
    """Images of the mean 2 % fainter, turned by 1 degree and moved by 0.1 px: next to nothing of the difference is left."""
    space, n = space_of(), 12
    mean, true = molecule(space), blank_views(n)
    axis = np.random.default_rng(2).normal(size=(n, 3))
    wrong = random_rotations(n, 0)
    x, y, z = np.radians(1.0) * (axis / np.linalg.norm(axis, axis=1, keepdims=True)).T
    turn = np.eye(3) + np.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]]).transpose(2, 0, 1)
    wrong = replace(true, matrix=np.ascontiguousarray(2 * np.swapaxes(wrong @ turn, 1, 2)[:, :, :2], np.float32))
    seen = data_of(be, space, mean[None], np.full((n, 1), 0.98), wrong, noise=0)
    moved = (seen.data[:, 0] + 1j * seen.data[:, 1]) * np.exp(-2j * np.pi * 0.1 * (true.kx - true.ky) / BOX)
    views = replace(true, data=np.stack([moved.real, moved.imag], 1).astype(np.float32))
    ft = pw.transforms(be, space, mean[None])
    difference = views.data - pw.slices(be, space, ft, views)[:, 0].reshape(views.data.shape)
    all_ft = pw.transforms(be, space, np.concatenate([mean[None], pw.turns(mean)]))
    left = pw.blinded(be, space, all_ft, replace(views, data=difference))
    assert (left.data**2).sum() < 0.02 * (difference**2).sum()  # of second order, and of interpolation
    np.testing.assert_allclose(left.nuisance @ np.swapaxes(left.nuisance, 1, 2), np.repeat(np.eye(6)[None], n, 0), atol=1e-5)


def two_states(be, n=300, noise=3.0, height=0.35, symmetry="C1"):
    """Space, residuals, prior and the true states of a molecule with and without a part of another one."""
    space = space_of(symmetry)
    first, part = molecule(space), height * molecule(space).max() * knob(space)
    state = np.random.default_rng(4).integers(0, 2, n)
    shown = pw.slices(be, space, pw.transforms(be, space, first[None]), blank_views(n))
    scale = 8.0 / np.abs(shown).std()
    views = data_of(be, space, scale * np.stack([first, part]), np.column_stack([np.ones(n), state]), blank_views(n), noise)
    parts = [cut(views, slice(0, n // 3)), cut(views, slice(n // 3, n))]
    mean = pw.mean_map(be, space, parts, ALONE)
    tau2 = 0.2 * reference_transform(mean, space.lattice)[1]
    return space, pw.residuals(be, space, parts, mean, 1, ALONE), tau2, state, scale * part


def cut(views, some):
    return replace(views, **{name: getattr(views, name)[some] for name in ("row", "data", "transfer", "matrix", "nuisance")})


def test_fitted_finds_the_difference_of_two_states(be):
    space, parts, tau2, state, part = two_states(be)
    found = pv.fitted(be, space, parts, tau2, 1, seed=1, start=0, add=ALONE)
    at, share = pv.points(found.precision, found.pull, 2, seed=1)
    right = (share.argmax(1) == state).mean()
    assert max(right, 1 - right) > 0.95
    assert abs(np.corrcoef(found.volumes.ravel(), part.ravel())[0, 1]) > 0.85
    assert np.ptp(at[:, 0]) * found.volumes.std() == pytest.approx(part.std(), rel=0.3)  # the two maps are as far apart
    again = pv.fitted(be, space, parts, tau2, 1, seed=1, start=1, add=ALONE)
    assert again.log_likelihood == pytest.approx(found.log_likelihood, rel=1e-2)  # any start finds it


def test_fitted_of_one_state_gains_no_more_than_with_exchanged_orientations(be):
    space, parts, tau2, _, _ = two_states(be, height=0.0)
    order = np.random.default_rng(5).permutation(sum(map(len, parts)))
    matrix = np.concatenate([v.matrix for v in parts])[order]
    others = [replace(v, matrix=matrix[v.row]) for v in parts]
    gain, by_chance = (pv.fitted(be, space, p, tau2, 1, 1, 0, ALONE).log_likelihood for p in (parts, others))
    assert gain < 1.05 * by_chance


def test_step_raises_the_likelihood_and_keeps_the_symmetry(be):
    space, parts, tau2, _, _ = two_states(be, n=60, symmetry="C2")
    volumes = pv.first_volumes(be, space, parts, tau2, 2, 1, 0, ALONE)
    gains = []
    for _ in range(8):
        volumes, found = pv.step(be, space, parts, volumes, tau2, ALONE)
        gains.append(found.log_likelihood)
    assert gains[-1] > gains[0] and gains[-1] > 0
    turned = volumes[:, :, ::-1, ::-1]  # by 180 degrees about z; the centre is at box // 2
    np.testing.assert_allclose(volumes[:, :, 1:, 1:], turned[:, :, :-1, :-1], atol=1e-3 * np.abs(volumes).max())


def test_points_finds_three_points_in_the_plane():
    rng = np.random.default_rng(0)
    true, n = np.array([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]]), 600
    kind = rng.integers(0, 3, n)
    precision = np.repeat(np.diag([3.0, 5.0])[None], n, 0)
    pull = np.einsum("nij,nj->ni", precision, true[kind]) + rng.normal(size=(n, 2)) * np.sqrt([3.0, 5.0])
    at, share = pv.points(precision, pull, 3, seed=2)
    order = [int(np.argmin(((at - t) ** 2).sum(1))) for t in true]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(at[order], true, atol=0.15)
    assert (np.array(order)[kind] == share.argmax(1)).mean() > 0.9
    np.testing.assert_allclose(share.sum(1), 1)


def test_in_box_has_the_same_projections(be):
    """A volume of the space and its copy on the map's grid have one transform within the radius."""
    box = 40
    space = pw.Space.of(box, 6, 2.0, 0.36, 0.1, Symmetry("C1"))
    assert space.lattice.box == 18
    smooth = inverse_transform(reference_transform(molecule(space), space.lattice, for_slices=False)[0], space.lattice)
    mine, _ = reference_transform(smooth, space.lattice, for_slices=False)
    lattice = VolumeLattice(box, 2.0, 6)
    theirs, _ = reference_transform(pw.in_box(be, space, smooth, box), lattice, for_slices=False)
    # cropping to the box puts back a little of what lies beyond the radius
    assert np.abs(mine - theirs).max() < 0.05 * np.abs(mine).max()
