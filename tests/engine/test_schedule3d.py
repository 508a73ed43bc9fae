"""The rules of an automatic refinement, each with the cases that it tells apart."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vitreous.engine import schedule3d
from vitreous.engine.schedule3d import AutoOptions
from vitreous.engine.settings import Settings
from vitreous.model import healpix
from vitreous.model.state import Progress, Sampling

SETTINGS = Settings(particle_diameter_A=100.0)
# Poses and resolution stand still; accuracies ask for a finer grid.
IDLE = Progress(
    iteration=5,
    n_iter_without_gain=1,
    n_iter_without_change=1,
    accuracy_rotation_deg=2.0,
    accuracy_shift_A=1.0,
    change_offset_A=0.5,
    smallest_change_angle_deg=1.0,
    smallest_change_offset_A=0.5,
    smallest_change_class=0.0,
)


def sampling(order=2, reach=10.0, step=4.0, oversampling=1):
    psi = healpix.step_deg(order)
    return Sampling(psi, reach, step, oversampling, 0.5, 0.0, psi, reach, step, order)


def finer(progress=IDLE, options=None, resolution_A=50.0, settings=SETTINGS, **where):
    return schedule3d.finer_sampling(sampling(**where), progress, settings, options or AutoOptions(), resolution_A)


def model(ssnr, box=32, pixel_A=2.0):
    values = np.zeros(box // 2 + 1)
    values[: len(ssnr)] = ssnr
    return SimpleNamespace(box=box, pixel_size_A=pixel_A, data_vs_prior=values[None], n_shells=len(values))


# ---- resolution and size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ssnr, shell",
    [
        ([999] + 7 * [5], 7),
        ([999, 5, 5, 0.5], 5),  # the least resolution
        ([999] + 6 * [5] + [0.9, 2, 0.1], 6),  # rises again two shells on: not counted
        ([999] + 6 * [5] + [0.9, 0.9, 0.9, 2, 0.1], 10),  # four shells on: counted
        ([999] + 6 * [5] + [0.9, 0.9, 2, 0.1], 6),  # three are not more than three
        (17 * [5], 16),
        ([999] + 6 * [5] + 9 * [0.1] + [2], 6),  # the last shell of all is not looked at for a rise
    ],
)
def test_halves_resolution_is_the_shell_before_the_ssnr_falls(ssnr, shell):
    found, progress = schedule3d.halves_resolution(model(ssnr), Progress(iteration=4), SETTINGS)
    assert found == pytest.approx(64 / shell) and progress.n_iter_without_gain == 0
    assert progress.best_resolution_inv_A == pytest.approx(shell / 64)


def test_halves_resolution_counts_iterations_without_gain():
    progress = Progress(iteration=4, best_resolution_inv_A=7 / 64, n_iter_without_gain=0)
    for ssnr, want in ((8 * [5], 1), (7 * [5], 2), (9 * [5], 0)):
        _, progress = schedule3d.halves_resolution(model(ssnr), progress, SETTINGS)
        assert progress.n_iter_without_gain == want


@pytest.mark.parametrize("iteration, cc, shell", [(0, False, 3), (1, True, 3), (1, False, 9), (2, True, 9)])
def test_halves_resolution_starts_at_ini_high(iteration, cc, shell):
    settings = replace(SETTINGS, ini_high_A=20.0, first_iteration_cc=cc)
    found, _ = schedule3d.halves_resolution(model(10 * [5]), Progress(iteration=iteration), settings)
    assert found == pytest.approx(64 / shell)


def falling(first_half, first_low, n=33):
    curve = np.full(n, 0.01)
    curve[:first_low] = 0.3
    curve[:first_half] = 0.9
    return curve


@pytest.mark.parametrize(
    "curve, before, want",
    [
        (falling(10, 18), 10, 13),  # 18 - 10 + 5
        (falling(10, 12), 10, 10),  # never less than before
        (falling(10, 12), 3, 7),
        (falling(33, 33), 3, 5),  # found nowhere: -1 for both
        (falling(10, 33), 3, 3),  # -1 - 10 + 5
    ],
)
def test_grown_increment_follows_how_slowly_the_fsc_falls(curve, before, want):
    assert schedule3d.grown_increment(curve, 40, Progress(increment_px=before)).increment_px == want


@pytest.mark.parametrize(
    "size, before, want", [(22, False, True), (40, False, False), (40, True, True), (20, False, True)]
)
def test_high_fsc_at_the_limit_is_remembered(size, before, want):
    progress = Progress(high_fsc_at_limit=before)
    assert schedule3d.grown_increment(falling(10, 12), size, progress).high_fsc_at_limit is want


# ---- stalled poses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "angle, offset, classes, still",
    [
        (5.0, 1.5, 0.0, True),  # as small as the smallest so far
        (4.9, 1.5, 0.0, True),  # within 3 %
        (4.8, 1.5, 0.0, False),  # angles still fall, and are above 0.4 of the step
        (2.9, 1.5, 0.0, True),  # below 0.4 of 7.5 degrees they may
        (5.0, 1.4, 0.0, False),  # so do offsets
        (5.0, 0.79, 0.0, True),  # below 0.4 of 2 A
        (9.0, 9.0, 0.1, True),  # grown is not improved
    ],
)
def test_stalled_where_nothing_falls_any_more(angle, offset, classes, still):
    progress = Progress(
        n_iter_without_change=3,
        change_angle_deg=angle,
        change_offset_A=offset,
        change_class=classes,
        smallest_change_angle_deg=5.0,
        smallest_change_offset_A=1.5,
        smallest_change_class=0.0,
    )
    after = schedule3d.stalled(progress, sampling())
    assert after.n_iter_without_change == (4 if still else 0)
    assert after.smallest_change_angle_deg == min(angle, 5.0)
    assert after.smallest_change_offset_A == min(offset, 1.5)


def test_stalled_waits_for_classes():
    progress = Progress(change_angle_deg=1.0, change_offset_A=0.1, change_class=0.2, smallest_change_class=0.3)
    assert schedule3d.stalled(progress, sampling()).n_iter_without_change == 0
    progress = replace(progress, smallest_change_class=0.2)
    assert schedule3d.stalled(progress, sampling()).n_iter_without_change == 1


# ---- finer sampling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, options, resolution_A, order",
    [
        ({}, {}, 50.0, 3),
        ({"n_iter_without_gain": 0}, {}, 50.0, 2),  # the resolution still improves
        ({"n_iter_without_change": 0}, {}, 50.0, 2),  # so do poses
        ({"n_iter_without_change": 0}, {"ignore_angles": True}, 50.0, 3),
        # 360 / ceil(pi 100 / 10) = 11.25 degrees are needed, 7.5 there are
        ({"n_iter_without_gain": 0}, {"resolution_angles": True}, 10.0, 2),
        ({"n_iter_without_gain": 0}, {"resolution_angles": True}, 5.0, 3),  # 5.7 are needed
        ({"n_iter_without_gain": 0}, {"resolution_angles": True, "local_order": 3}, 5.0, 2),  # not into local searches
        ({"n_iter_without_gain": 0}, {"resolution_angles": False}, 5.0, 2),
        ({"accuracy_rotation_deg": 9.9}, {}, 50.0, 3),  # 7.5 is more than 0.75 of 9.9
        ({"accuracy_rotation_deg": 10.1}, {}, 50.0, 2),  # and less than that of 10.1: fine enough
    ],
)
def test_finer_sampling_where_nothing_improves(changes, options, resolution_A, order):
    found, progress = finer(replace(IDLE, **changes), AutoOptions(**options), resolution_A)
    assert found.healpix_order == order
    if order == 3:
        assert found.psi_step_deg == 7.5 and found.sigma_deg == 0
        assert progress.n_iter_without_gain == progress.n_iter_without_change == 0
        assert progress.smallest_change_angle_deg == progress.smallest_change_offset_A == 999
        assert progress.smallest_change_class > 1 and not progress.fine_enough
    else:
        assert progress.fine_enough == (changes.get("accuracy_rotation_deg", 0) > 10)
        assert found == sampling()


@pytest.mark.parametrize(
    "accuracy_A, change_A, before, want",
    [
        (1.0, 0.5, (10.0, 4.0), (2.5, 1.5)),  # step 0.75 of 1 A, twice; range 5 x 0.5
        (10.0, 0.5, (10.0, 4.0), (4.5, 3.0)),  # step at most 1.5 A, twice; range at least 1.5 steps
        (1.0, 9.0, (4.0, 4.0), (5.2, 1.5)),  # range at most 1.3 of the last
        (1.0, 1.4, (10.0, 4.0), (3.5, 1.5)),  # more than 4 steps is halved
        (0.4, 1.9, (10.0, 4.0), (4.75, 1.1875)),  # still more: the step is a quarter of it
        (1.0, 0.5, (10.0, 1.0), (10.0, 1.0)),  # never a coarser step
    ],
)
def test_finer_sampling_sets_the_offsets(accuracy_A, change_A, before, want):
    progress = replace(IDLE, accuracy_shift_A=accuracy_A, change_offset_A=change_A)
    found, _ = finer(progress, reach=before[0], step=before[1])
    assert (found.offset_range_A, found.offset_step_A) == pytest.approx(want)


def test_finer_sampling_turns_local():
    for order, sigma in ((2, 0.0), (3, 2 * 1.875), (4, 2 * 0.9375)):
        found, _ = finer(replace(IDLE, accuracy_rotation_deg=0.1), order=order)
        assert found.healpix_order == order + 1 and found.sigma_deg == sigma


def test_a_width_that_was_given_stays_until_searches_turn_local():
    idle = replace(IDLE, accuracy_rotation_deg=0.1)
    given = lambda order: replace(sampling(order=order), sigma_deg=20.0)
    found = [schedule3d.finer_sampling(given(order), idle, SETTINGS, AutoOptions(), 50.0)[0].sigma_deg for order in (1, 3)]
    assert found == [20, 2 * 1.875]


def test_finer_sampling_ends_at_the_finest_grid():
    found, progress = finer(replace(IDLE, accuracy_rotation_deg=0.0), order=healpix.MAX_ORDER - 1)
    assert progress.fine_enough and found.healpix_order == healpix.MAX_ORDER - 1


@pytest.mark.parametrize(
    "fine, gain, change, ignore, want",
    [
        (True, 1, 1, False, True),
        (False, 1, 1, False, False),
        (True, 0, 1, False, False),
        (True, 1, 0, False, False),
        (True, 1, 0, True, True),
    ],
)
def test_converged_needs_all_three(fine, gain, change, ignore, want):
    progress = Progress(fine_enough=fine, n_iter_without_gain=gain, n_iter_without_change=change)
    assert schedule3d.converged(progress, AutoOptions(ignore_angles=ignore)) is want
