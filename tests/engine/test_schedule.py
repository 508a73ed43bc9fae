"""Resolution, sizes, sampling and subsets of an iteration, by their rules."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest

from vitreous.engine.schedule import (
    class_shells,
    coarse_size,
    coarser_sampling,
    current_size,
    particle_order,
    resolution_shell,
    subset_size,
    updated_resolution,
)
from vitreous.engine.settings import Settings
from vitreous.model.state import Progress, Sampling

SETTINGS = Settings(particle_diameter_A=48.0)


@pytest.fixture
def model():
    return case.model_of(case.problem())  # box 24 px of 3 A


def test_resolution_is_the_last_shell_before_one_below():
    ratio = np.array([[9.0, 9, 9, 0.9, 5, 5, 0], [9, 0.5, 9, 9, 9, 9, 9], [9, 9, 9, 9, 9, 9, 9]])
    np.testing.assert_array_equal(class_shells(ratio), [2, 0, 6])
    assert resolution_shell(ratio[:2], 0) == 2 and resolution_shell(ratio[:2], 5) == 5
    assert resolution_shell(ratio, 5) == 6


def test_resolution_of_the_start_and_after(model):
    model = replace(model, data_vs_prior=np.where(np.arange(13) <= 8, 2.0, 0.5) * np.ones((2, 1)))
    low = replace(SETTINGS, ini_high_A=24.0)
    assert updated_resolution(model, Progress(iteration=0), low)[0] == 24.0
    assert updated_resolution(model, Progress(iteration=1), low)[0] == 9.0
    assert updated_resolution(model, Progress(iteration=1), replace(low, first_iteration_cc=True))[0] == 24.0
    assert updated_resolution(model, Progress(iteration=0), SETTINGS)[0] == 9.0


def test_resolution_without_gain_is_counted(model):
    progress = Progress(iteration=3)
    counts = []
    for last_shell in (6, 8, 8, 7, 9):
        model = replace(model, data_vs_prior=np.where(np.arange(13) <= last_shell, 2.0, 0.5) * np.ones((2, 1)))
        _, progress = updated_resolution(model, progress, SETTINGS)
        counts.append(progress.n_iter_without_gain)
    assert counts == [0, 0, 1, 2, 0]


def test_current_size_adds_the_increment(model):
    size = lambda resolution_A, **changes: current_size(
        replace(model, current_resolution_A=resolution_A), Progress(**({"increment_px": 3} | changes))
    )
    assert size(18.0) == 2 * (4 + 3)
    assert size(7.0) == 24  # no more than the box
    assert size(18.0, high_fsc_at_limit=True) == 14  # Pmax is still 0
    model = replace(model, average_p_max=0.5)
    assert current_size(replace(model, current_resolution_A=18.0), Progress(high_fsc_at_limit=True)) == 2 * (4 + 3)


def test_coarse_size_resolves_the_arc(model):
    sampling = lambda step, order=1: Sampling(step, 3.0, 3.0, order)
    # 45 degrees of a circle of 48 A: an arc of 18.85 A, two thirds of it 12.57 A, of 72 A 5.73: 12 px.
    assert coarse_size(model, sampling(45.0), SETTINGS, 24) == 12
    assert coarse_size(model, sampling(45.0), SETTINGS, 10) == 10
    assert coarse_size(model, sampling(45.0, 0), SETTINGS, 20) == 20  # without oversampling there is one pass
    assert coarse_size(model, sampling(45.0), replace(SETTINGS, coarse_size_px=8), 24) == 8
    assert coarse_size(model, sampling(45.0), replace(SETTINGS, strict_highres_A=9.0), 24) == 16


def test_coarser_sampling_follows_the_accuracy(model):
    sampling = Sampling(
        10.0, 18.0, 6.0, 1, psi_step_original_deg=10.0, offset_range_original_A=18.0, offset_step_original_A=6.0
    )
    coarser = lambda angle, shift: coarser_sampling(sampling, angle, shift, model, SETTINGS)
    assert (coarser(2.0, 1.0).psi_step_deg, coarser(2.0, 1.0).offset_step_A) == (
        10.0,
        6.0,
    )  # never finer than asked for
    assert coarser(10.0, 5.0).psi_step_deg == 16.0 and coarser(10.0, 5.0).offset_step_A == 8.0
    assert coarser(10.0, 500.0).offset_step_A == pytest.approx(17.1)  # 0.95 of the range


def test_coarser_sampling_without_an_accuracy(model):
    """After a correlation iteration, what the resolution needs at the rim: 360 / ceil(pi 48 / 18) = 40 degrees."""
    sampling = Sampling(
        10.0, 18.0, 6.0, 1, psi_step_original_deg=10.0, offset_range_original_A=18.0, offset_step_original_A=6.0
    )
    found = coarser_sampling(sampling, 999.0, 999.0, model, SETTINGS)
    assert found.psi_step_deg == pytest.approx(0.8 * 40 * 2) and found.offset_step_A == 6.0
    fine = coarser_sampling(sampling, 999.0, 999.0, replace(model, current_resolution_A=3.0), SETTINGS)
    assert fine.psi_step_deg == pytest.approx(0.8 * 2 * 360 / 51)


def test_subsets_grow():
    fast = replace(SETTINGS, fast_subsets=True)
    sizes = [subset_size(i, 10, 100_000, fast) for i in (1, 5, 6, 10, 11, 15, 16)]
    assert sizes == [1000, 1000, 3000, 3000, 30_000, 30_000, 100_000]
    assert subset_size(12, 50, 20_000, fast) == 15_000 and subset_size(1, 10, 300, fast) == 300
    assert subset_size(1, 10, 100_000, SETTINGS) == 100_000


def test_particle_order_is_a_function_of_identity():
    rows = np.arange(500)
    order = particle_order(rows, 7, 3)
    assert sorted(order) == list(rows)
    part = np.array([400, 3, 77, 250])
    # Of some particles the order is that in which they come among all.
    assert list(part[particle_order(part, 7, 3)]) == [r for r in order if r in part]
    assert list(particle_order(rows, 7, 4)) != list(order) and list(particle_order(rows, 8, 3)) != list(order)
    assert len(particle_order(np.zeros(0, int), 1, 1)) == 0
