"""Phases, mini-batches, steps and weights of a gradient-driven run against the numbers of its definition."""

import numpy as np
import pytest

from vitreous.engine import schedule_gradient as schedule
from vitreous.engine.gradient_settings import FIRST_2D, LAST_2D, GradientOptions

USUAL = GradientOptions(n_iterations=200)


@pytest.mark.parametrize(
    "n, first, last, want",
    [(200, 0.3, 0.2, (60, 100, 40)), (10, 0.3, 0.2, (3, 5, 2)), (200, 0.6, 0.6, (92, 16, 92)), (1, 0.3, 0.2, (0, 1, 0))],
)
def test_phases(n, first, last, want):
    found = schedule.phases(GradientOptions(n_iterations=n, first_fraction=first, last_fraction=last))
    assert found == want and sum(found) == n


@pytest.mark.parametrize(
    "iteration, n_particles, want",
    [
        (1, 100_000, 500),  # 0.5 %
        (60, 100_000, 500),
        (110, 100_000, 5_250),  # half way to 10 %
        (160, 100_000, 10_000),
        (200, 100_000, 10_000),  # one class: not all
        (1, 10_000_000, 5_000),
        (200, 10_000_000, 50_000),
        (1, 450, 200),
        (200, 450, 450),
    ],
)
def test_subsets_of_an_initial_model(iteration, n_particles, want):
    assert schedule.subset_size(iteration, n_particles, 1, USUAL) == want


def test_subsets_are_all_particles_where_each_must_get_a_class():
    assert schedule.subset_size(200, 100_000, 3, USUAL) == 100_000
    tail = GradientOptions(n_iterations=200, em_iterations=5)
    assert [schedule.subset_size(i, 100_000, 1, tail) for i in (195, 196)] == [10_000, 100_000]
    assert [schedule.is_gradient(i, tail) for i in (195, 196)] == [True, False]
    given = GradientOptions(n_iterations=200, first_subset=300, last_subset=700)
    assert [schedule.subset_size(i, 100_000, 1, given) for i in (1, 110, 200)] == [300, 500, 700]


def test_step_falls_and_weight_rises_along_sigmoids():
    assert schedule.step(1, USUAL) == pytest.approx(0.9, abs=1e-3)
    assert schedule.step(60 + 25, USUAL) == pytest.approx(0.7)  # the middle of 50 iterations: half of both
    assert schedule.step(200, USUAL) == pytest.approx(0.5, abs=1e-6)
    assert schedule.tau2_fudge(1, USUAL) == pytest.approx(1, abs=1e-3)
    assert schedule.tau2_fudge(60 + 12.5, USUAL) == pytest.approx(2.5)
    assert schedule.tau2_fudge(200, USUAL) == pytest.approx(4, abs=1e-6)
    plain = GradientOptions(n_iterations=200, step_scheme=0.0, tau2_scheme=0.0)
    assert {schedule.step(i, plain) for i in range(1, 201)} == {0.5}
    assert {schedule.tau2_fudge(i, plain) for i in range(1, 201)} == {4.0}


def test_classes_of_few_particles_step_less():
    found = schedule.class_steps(0.5, [0.5, 0.49, 0.01])
    np.testing.assert_allclose(found, 0.5 * (1 - np.exp(-19 * np.array([0.5, 0.49, 0.01]))))


@pytest.mark.parametrize(
    "first, last, iteration, want",
    [
        (0, 0, 100, 0.0),
        (40, 10, 1, 40.0),
        (40, 10, 110, 1 / ((1 / 40 + 1 / 10) / 2)),  # half way in frequency
        (40, 10, 200, 10.0),
        (40, 0, 1, 40.0),
        (40, 0, 110, 40.0),
        (40, 0, 200, 0.0),
        (0, 10, 1, 0.0),
        (0, 10, 200, 10.0),
    ],
)
def test_limit_of_the_detail(first, last, iteration, want):
    options = GradientOptions(n_iterations=200, first_limit_A=first, last_limit_A=last)
    assert schedule.limit_A(iteration, options) == pytest.approx(want)


def mini_batch(iteration=1, n_classes=1, options=USUAL, n=400):
    usable = np.ones(n, bool)
    usable[7] = False
    return schedule.mini_batch(np.arange(n), usable, n_classes, 3, iteration, options)


def test_mini_batch_is_split_by_parity_and_leaves_out_what_cannot_be_used():
    even, odd = mini_batch()
    assert (even % 2 == 0).all() and (odd % 2 == 1).all() and 7 not in odd
    assert len(even) + len(odd) == 200 and abs(len(even) - len(odd)) < 60
    assert len(set(np.concatenate(mini_batch(2))) & {*even, *odd}) < 150  # drawn afresh: half of them on average


def test_mini_batch_goes_by_the_rows_whatever_their_order():
    rows = np.random.default_rng(0).permutation(400)
    found = schedule.mini_batch(rows, np.ones(400, bool), 1, 3, 1, USUAL)
    want = schedule.mini_batch(np.arange(400), np.ones(400, bool), 1, 3, 1, USUAL)
    for positions, same in zip(found, want):
        assert set(rows[positions]) == set(same)


def test_last_mini_batch_of_several_classes_is_everything():
    parts = mini_batch(200, 2, GradientOptions(n_iterations=200, first_subset=10, last_subset=10))
    assert sum(map(len, parts)) == 399


def test_subsets_of_a_classification_in_2d():
    flat = GradientOptions(n_iterations=200, first_size=FIRST_2D, last_size=LAST_2D)
    sizes = {n: [schedule.subset_size(i, n, 50, flat) for i in (1, 160, 200)] for n in (500, 100_000, 10_000_000)}
    assert sizes == {500: [200, 500, 500], 100_000: [500, 5_000, 100_000], 10_000_000: [10_000, 100_000, 10_000_000]}


def test_accuracies_are_renewed_in_the_first_iteration_every_tenth_and_the_last():
    assert [i for i in range(1, 26) if schedule.renews(i, GradientOptions(n_iterations=25))] == [1, 10, 20, 25]


def test_last_phase_begins_where_the_middle_one_ends():
    assert [schedule.is_last_phase(i, USUAL) for i in (1, 159, 160, 200)] == [False, False, True, True]
