"""Grids, children, geometries and slices of an iteration."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.engine.plan import coarse_and_fine, half_plane_shells, log_class_prior, make_geometry
from vitreous.engine.settings import Settings
from vitreous.model.band import shell_counts
from vitreous.model.state import Sampling


@pytest.fixture(scope="module")
def cpu():
    return backend.cpu(2)


@pytest.mark.parametrize("step", [30.0, 45.0, 52.0, 72.0])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_plan_children_lie_around_their_parents(cpu, step, order):
    problem = case.problem(psi_step_deg=step, oversampling=order, k=2)
    plan = case.plan_of(cpu, problem)
    k, n_pose = 2, 2 * len(plan.coarse.psi_deg)
    parent_class, parent_psi = plan.coarse.class_and_psi(np.arange(n_pose), k)
    child_class, child_psi = plan.fine.class_and_psi(plan.pose_children, k)
    assert plan.pose_children.shape == (n_pose, 2**order)
    np.testing.assert_array_equal(child_class, np.repeat(parent_class[:, None], 2**order, 1))
    away = (child_psi - parent_psi[:, None] + 180) % 360 - 180
    adjusted = 360 / len(plan.coarse.psi_deg)
    np.testing.assert_allclose(
        away, np.tile((np.arange(2**order) + 0.5) * adjusted / 2**order - adjusted / 2, (n_pose, 1)), atol=1e-9
    )
    assert sorted(plan.pose_children.ravel()) == list(range(2 * len(plan.fine.psi_deg)))
    shifts = plan.fine.shifts_A.reshape(len(plan.coarse.shifts_A), plan.n_child_shift, 2)
    np.testing.assert_allclose(shifts.mean(1), plan.coarse.shifts_A, atol=1e-12)


def test_plan_pose_numbers_round_trip():
    coarse, *_ = coarse_and_fine(Sampling(30.0, 3.0, 3.0, 1))
    i_class, i_psi = np.divmod(np.arange(5 * 12), 12)
    pose = coarse.pose_of(i_class, i_psi, 5)
    assert sorted(pose) == list(range(60))
    got_class, psi = coarse.class_and_psi(pose, 5)
    np.testing.assert_array_equal(got_class, i_class)
    np.testing.assert_allclose(psi, 30.0 * i_psi)


def test_plan_perturbation_moves_both_grids():
    still = coarse_and_fine(Sampling(30.0, 3.0, 3.0, 1))
    moved = coarse_and_fine(Sampling(30.0, 3.0, 3.0, 1, perturb=-0.4))
    for a, b in zip(still[:2], moved[:2]):
        np.testing.assert_allclose(b.psi_deg, a.psi_deg - 12.0)
        np.testing.assert_allclose(b.shifts_A, a.shifts_A - 1.2)


def test_plan_turned_slices_are_conjugates(cpu):
    """The pose that is 180 degrees from its row has that row's slice, conjugated."""
    plan = case.plan_of(cpu, case.problem(two_groups=True))
    group = case.optics_group(case.groups(two=True)[1], 2)
    geometry = plan.geometry(group)
    rows = plan.bank(cpu, geometry, "fine").slices
    whole = replace(plan, fine=replace(plan.fine, half=False), banks={}).bank(cpu, geometry, "fine").slices
    n = plan.fine.n_row_psi
    whole = whole.reshape(2, 2, n, *rows.shape[1:])  # class, half, row
    np.testing.assert_allclose(whole[:, 0].reshape(rows.shape), rows, atol=1e-7)
    scale = np.abs(rows).max()
    np.testing.assert_allclose(whole[:, 1].reshape(rows.shape) * np.array([1, -1])[:, None], rows, atol=2e-5 * scale)


def test_plan_geometry_of_the_models_own_grid():
    problem = case.problem()
    model, settings = case.model_of(problem), Settings(particle_diameter_A=48.0)
    geometry = make_geometry(case.optics_group(problem.groups[0], 1), model, settings, 16, 12)
    assert geometry.ratio == 1 and geometry.gain == 1
    np.testing.assert_array_equal(geometry.shell, geometry.band.shell)
    np.testing.assert_array_equal(geometry.counts, shell_counts(24))
    assert geometry.band.k2.max() == 64 and geometry.n_coarse == (geometry.band.k2 <= 36).sum()
    assert geometry.n_fine == len(geometry.band)
    strict = make_geometry(
        case.optics_group(problem.groups[0], 1), model, replace(settings, strict_highres_A=9.0), 16, 12
    )
    assert strict.n_fine == strict.n_coarse


@pytest.mark.parametrize(("box", "pixel_A"), [(24, 3.0), (48, 1.5), (32, 3.0), (20, 4.0), (28, 3.2)])
def test_plan_geometry_keeps_physical_frequency(box, pixel_A):
    """Shells, sizes and the particle's mask are the same lengths in Angstrom on any grid."""
    model = case.model_of(case.problem())
    group = case.optics_group(case.oracle_images.Group(box, pixel_A), 1)
    geometry = make_geometry(group, model, Settings(particle_diameter_A=48.0), 16, 12)
    frequency = np.sqrt(geometry.band.k2) / (box * pixel_A)
    assert np.all(np.abs(geometry.shell / 72.0 - frequency) <= 0.5 / 72 + 1e-9)
    # Out to the current size, rounded up to whole pixels, or to the image's own limit.
    wanted = 8 / 72
    assert min(wanted, 0.5 / pixel_A) - 1e-9 <= frequency.max() < wanted + 1 / (box * pixel_A)
    inside = geometry.mask > 0.5
    assert inside.sum() * pixel_A**2 == pytest.approx(np.pi * (24 + 2.5 * pixel_A) ** 2, rel=0.06)


def test_plan_slices_of_unequal_boxes_are_one_density(cpu):
    """FFT / n^2 is a mean over the box, so in another box a molecule's slice has the ratio of the areas."""
    molecule = case.MOLECULES[0]
    problem = case.problem(increment_px=8, perturb=0.0, psi_step_deg=90.0, oversampling=0)
    problem = replace(problem, references=np.stack([case.picture(molecule, 24, 3.0)] * 2))
    plan = case.plan_of(cpu, problem)
    for box, pixel_A in ((24, 3.0), (32, 3.0), (30, 2.8)):
        geometry = plan.geometry(case.optics_group(case.oracle_images.Group(box, pixel_A), 1))
        row = plan.bank(cpu, geometry, "fine").slices[0]
        kx, ky = geometry.band.kx, geometry.band.ky
        want = case.oracle_images.transform(case.picture(molecule, box, pixel_A))(kx, ky)
        low = geometry.shell < 8
        # Bilinear interpolation at twofold padding (test_reconstruct.py).
        assert np.abs(row[0] + 1j * row[1] - want)[low].max() < 0.025 * np.abs(want).max()


def test_plan_empty_classes_are_not_sampled(cpu):
    prior = log_class_prior([0.5, 0.0, 0.5])
    assert prior[1] == -np.inf and prior[0] == np.log(0.5)
    plan = case.plan_of(cpu, case.problem(k=3, class_weight=np.array([0.5, 0.0, 0.5])))
    bank = plan.bank(cpu, plan.geometry(case.optics_group(case.groups()[0], 1)), "coarse")
    prior = bank.pose_prior.reshape(2, 3, -1)
    assert np.all(prior[:, 1] == -np.inf)
    np.testing.assert_allclose(np.exp(prior[:, [0, 2]]).sum(), 1, rtol=1e-6)  # a prior of all poses


def test_plan_shells_of_a_half_plane():
    shell = half_plane_shells(8, 1.0, 5)
    assert shell.shape == (8, 5) and shell[0, 0] == 0
    np.testing.assert_array_equal(shell[:, 0], [0, 1, 2, 3, 4, -1, -1, -1])  # the redundant half of the first column
    assert shell[3, 4] == -1  # beyond the last shell
    np.testing.assert_array_equal(half_plane_shells(8, 2.0, 5)[0], [0, 2, 4, -1, -1])
