"""The least error that tells: against its definition and closed forms."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import accuracy


@pytest.fixture(scope="module")
def cpu():
    return backend.cpu(2)


def estimate(be, molecules, snr=1.0, class_weight=None, **changes):
    references = np.stack([case.picture(m, 24, 3.0) for m in molecules])
    k = len(molecules)
    problem = case.problem(k=k, increment_px=8, **changes)
    weight = np.full(k, 1 / k) if class_weight is None else np.array(class_weight)
    problem = replace(problem, references=references, class_weight=weight)
    plan = case.plan_of(be, problem)
    geometry = plan.geometry(case.optics_group(problem.groups[0], 1))
    half_inv_var = np.full(len(geometry.band), snr * 2 * 24**2 / 2)
    return (
        plan,
        geometry,
        half_inv_var,
        accuracy.accuracies(be, plan, geometry, np.full(len(geometry.band), 0.5), half_inv_var),
    )


def test_accuracy_is_the_least_error_that_tells(cpu):
    """The slices of the definition: |C (A(psi + d) - A(psi))|^2 / (2 sigma^2) first exceeds -ln 0.01."""
    _, geometry, half_inv_var, (rotation, shift) = estimate(cpu, case.MOLECULES, 30.0)
    kx, ky = geometry.band.kx, geometry.band.ky
    for c, molecule in enumerate(case.MOLECULES):
        ft = lambda psi, molecule=molecule: case.oracle_images.transform(case.picture(molecule, 24, 3.0, psi))(kx, ky)
        own = ft(0.0)
        told = lambda other, own=own: np.sum(0.5 * half_inv_var[1:] * np.abs(other - own)[1:] ** 2) > -np.log(0.01)
        found = np.flatnonzero(rotation[c] == accuracy.ANGLES_DEG)[0]
        # Interpolated slices against closed ones: within a step or two of the list of errors.
        assert told(ft(accuracy.ANGLES_DEG[found + 2])) and not told(ft(accuracy.ANGLES_DEG[found - 2]))
        move = lambda s, own=own: own * np.exp(-2j * np.pi * kx * s / 24)
        step = np.flatnonzero(np.isclose(accuracy.SHIFTS_PX, shift[c] / 3.0))[0]
        assert told(move(accuracy.SHIFTS_PX[step] * 1.05)) and not told(move(accuracy.SHIFTS_PX[step - 1] * 0.95))


def test_accuracy_of_a_round_molecule_is_the_largest_error(cpu):
    """Nothing tells the turns of a disc."""
    *_, (rotation, shift) = estimate(cpu, [((0, 0, 6, 1.0),)], 10.0)
    assert rotation[0] == accuracy.ANGLES_DEG[-1] == 30.0 and 0 < shift[0] < 10


def test_accuracy_improves_with_signal(cpu):
    weak, strong = (estimate(cpu, case.MOLECULES, snr)[-1] for snr in (10.0, 30.0))
    assert np.all(strong[0] < weak[0]) and np.all(strong[1] < weak[1])


def test_accuracy_of_small_classes_is_not_estimated(cpu):
    *_, (rotation, shift) = estimate(cpu, case.MOLECULES, 30.0, class_weight=[0.995, 0.005])
    assert rotation[1] == 999 and shift[1] == 999 and rotation[0] < 999


def test_accuracy_errors_rise():
    for errors, last in ((accuracy.ANGLES_DEG, 30.0), (accuracy.SHIFTS_PX, 10.0)):
        assert np.all(np.diff(errors) > -1e-9) and errors[-1] == pytest.approx(last)


def test_accuracy_does_not_depend_on_the_box(cpu):
    """The same molecule in the same noise per pixel tells as much in a larger box."""
    references = np.stack([case.picture(m, 24, 3.0) for m in case.MOLECULES])
    problem = replace(case.problem(increment_px=8), references=references)
    plan, found = case.plan_of(cpu, problem), []
    for box in (24, 40):
        geometry = plan.geometry(case.optics_group(case.oracle_images.Group(box, 3.0), 1))
        ones = np.ones(len(geometry.band))
        found.append(accuracy.accuracies(cpu, plan, geometry, ones, 20 * box**2 * ones))
    step = lambda errors, value: np.abs(errors - value).argmin()
    for c in range(2):
        assert found[0][0][c] < 30
        assert abs(step(accuracy.ANGLES_DEG, found[0][0][c]) - step(accuracy.ANGLES_DEG, found[1][0][c])) <= 1
        assert abs(step(accuracy.SHIFTS_PX, found[0][1][c] / 3) - step(accuracy.SHIFTS_PX, found[1][1][c] / 3)) <= 1
