"""Choosing rows: against the plain double loop, on closed forms, and by what must not change."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitreous.engine import select
from vitreous.model.rotation import euler_to_matrix


def duplicates_oracle(position, source, distance):
    removed = np.zeros(len(position), bool)
    for i in range(len(position)):
        for j in range(i + 1, len(position)):
            if source[i] == source[j] and ((position[i] - position[j]) ** 2).sum() <= distance**2:
                removed[i] = True
    return removed


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("rows_at_once", [3, 50, 20_000])
def test_duplicates_are_those_of_the_double_loop(monkeypatch, n_axes, rows_at_once):
    monkeypatch.setattr(select, "ROWS_AT_ONCE", rows_at_once)
    rng = np.random.default_rng(n_axes)
    position = rng.integers(0, 12, (120, n_axes)).astype(float)  # many equal, many exactly at the distance
    source = rng.integers(0, 5, 120)
    for distance in (0.0, 1.0, 2.0, 5.0):
        np.testing.assert_array_equal(
            select.duplicates(position, source, distance), duplicates_oracle(position, source, distance)
        )


def test_duplicates_of_a_chain_leave_only_its_end():
    position = np.column_stack([np.arange(5.0), np.zeros(5)])
    np.testing.assert_array_equal(select.duplicates(position, np.zeros(5), 1.0), [True, True, True, True, False])


def test_duplicates_leave_particles_without_a_place_alone():
    position = np.array([[np.nan, 0], [np.nan, 0], [1, 1], [1, 1]])
    np.testing.assert_array_equal(select.duplicates(position, np.zeros(4), 5.0), [False, False, True, False])


def test_duplicates_of_a_million_rows_at_one_place_end():
    removed = select.duplicates(np.zeros((100_000, 2)), np.zeros(100_000, int), 1.0)
    assert removed.sum() == 99_999 and not removed[-1]


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 25), st.just(2)), elements=st.integers(0, 6)),
    arrays(np.float64, st.tuples(st.integers(1, 25), st.just(2)), elements=st.integers(0, 6)),
    st.sampled_from([0.0, 1.0, 1.5, 3.0]),
)
def test_first_matches_are_the_first_in_the_double_loop(values, others, distance):
    near = np.hypot(*(values[:, None] - others[None]).transpose(2, 0, 1)) <= distance
    expected = np.where(near.any(axis=1), near.argmax(axis=1), -1)
    np.testing.assert_array_equal(select.first_matches(values, others, distance), expected)


def test_outliers_are_strictly_outside_of_the_population_spread():
    values = np.array([[-1.0, 5], [1, 5], [-1, 5], [1, 5]])  # mean 0, population standard deviation 1
    out, ensemble = select.outliers(values, 1.0)
    assert out.all() and ensemble[0] == (0.0, 1.0) and ensemble[1] == (5.0, 0.0)
    assert not select.outliers(values, 1.0001)[0].any()


def test_outliers_include_images_that_could_not_be_read():
    out, ensemble = select.outliers(np.array([[0.0, 1], [np.nan, np.nan], [1, 1.1]]), 4)
    np.testing.assert_array_equal(out, [False, True, False])
    assert ensemble[0][0] == 0.5


def test_parts_by_size_number_and_both():
    assert select.parts(10, None, 4) == [(0, 4), (4, 8), (8, 10)]
    assert select.parts(10, 3, None) == [(0, 4), (4, 8), (8, 10)]
    assert select.parts(10, 2, 3) == [(0, 3), (3, 6)]
    assert select.parts(2, 4, 1) == [(0, 1), (1, 2), (2, 2), (2, 2)]
    with pytest.raises(ValueError, match="neither"):
        select.parts(3, None, None)


def test_centred_origins_are_the_tested_vectors_of_relion():
    origin, centre = [[20.5, -13.0]] * 2, (5, 2, 3)
    moved = select.centred_origins(origin, [[30, 40, 10], [30, 40, 20]], centre, 8.0)
    np.testing.assert_allclose(moved, [[4.590697, -3.95639], [6.402801, -1.33116]], atol=2e-5)


def test_centred_origins_there_and_back_are_the_same():
    rng = np.random.default_rng(0)
    origin, euler, pixel = rng.normal(size=(9, 3)), rng.uniform(-180, 180, (9, 3)), rng.uniform(1, 5, 9)
    there = select.centred_origins(origin, euler, (3, -4, 5), pixel)
    np.testing.assert_allclose(select.centred_origins(there, euler, (-3, 4, -5), pixel), origin, atol=1e-12)
    assert np.linalg.norm(there - origin, axis=1) == pytest.approx(pixel * np.sqrt(50))
    np.testing.assert_allclose((origin - there)[0] / pixel[0], euler_to_matrix(euler[0]) @ [3, -4, 5], atol=1e-12)


def disc(n, y, x, radius=6.0):
    yy, xx = np.mgrid[:n, :n] - n // 2
    return np.clip(radius + 0.5 - np.hypot(yy - y, xx - x), 0, 1)


@pytest.mark.parametrize("n", [48, 49])
def test_recentred_disc_is_in_the_middle(n):
    images = np.array([disc(n, 5.3, -7.6), disc(n, 0, 0), disc(n, -3.0, 2.5)])
    moved, centres = select.recentred(images)
    np.testing.assert_allclose(centres, [[5.3, -7.6], [0, 0], [-3, 2.5]], atol=0.02)
    for image in moved:
        assert max(map(abs, select.centre_of_mass(image))) < 0.01
    np.testing.assert_array_equal(moved[1], images[1].astype(np.float32))


def test_recentred_images_weigh_what_is_above_zero_and_move_all():
    image = disc(40, 4, 0) - 0.25 * disc(40, -12, 0)
    moved, centres = select.recentred(image[None])
    assert centres[0] == pytest.approx([4, 0], abs=0.01)
    np.testing.assert_allclose(moved[0], np.roll(image, -4, axis=0), atol=1e-2)  # the negative disc moves too
    assert moved.min() < -0.2


def test_translated_image_wraps_and_keeps_its_sum():
    image = np.random.default_rng(0).normal(size=(8, 9))
    np.testing.assert_allclose(select.translated(image, 3, -2), np.roll(image, (3, -2), (0, 1)), atol=1e-12)
    assert select.translated(image, 2.3, 5.9).sum() == pytest.approx(image.sum())
    half = select.translated(image, 0, 0.5)
    np.testing.assert_allclose(half[:, 1:], (image[:, 1:] + image[:, :-1]) / 2)


def test_an_empty_image_stays_where_it_is():
    moved, centres = select.recentred(np.full((1, 8, 8), -1.0))
    assert (moved == -1).all() and (centres == 0).all()


def regroup_oracle(counts_by_scale, average, number):
    names, running = [], 0
    for count in counts_by_scale:
        running += count
        if running > average:
            number += 1
            running = 0
        names.append(number)
    return names, number


def test_regrouped_follows_the_sorted_scales_of_each_optics_group():
    rng = np.random.default_rng(1)
    group, optics = rng.integers(0, 12, 400), rng.integers(0, 2, 400)
    scale = rng.uniform(0.5, 2, 12)
    new = select.regrouped(group, optics, scale, 8)
    order, number = np.argsort(scale), 0
    for i_optics in (0, 1):
        of_this = group[optics == i_optics]
        names, number = regroup_oracle([int((of_this == g).sum()) for g in order], 50, number + 1)
        for g, name in zip(order, names):
            assert set(new[(group == g) & (optics == i_optics)]) <= {name}
    assert not set(new[optics == 0]) & set(new[optics == 1])  # a group never spans two optics groups


def test_regrouped_refuses_groups_below_ten():
    with pytest.raises(ValueError, match="100 particles in 11 groups are 9 in each"):
        select.regrouped(np.zeros(100, int), np.zeros(100, int), [1.0], 11)


def test_rows_of_classes_come_class_by_class_in_the_order_asked():
    classes = np.array([2, 1, 3, 1, 2, 2])
    np.testing.assert_array_equal(select.rows_of_classes(classes, [2, 1]), [0, 4, 5, 1, 3])
    np.testing.assert_array_equal(select.rows_of_classes(classes, [2, 1, 9], most=2), [0, 4, 1, 3])
    assert not len(select.rows_of_classes(classes, []))


def test_histogram_counts_every_value_once():
    values = np.random.default_rng(2).normal(size=1000)
    for bins, low, high in ((None, None, None), (7, -1.0, 1.0), (3, 2.0, None)):
        edges, counts = select.histogram(values, bins, low, high)
        assert counts.sum() == 1000 and len(counts) == len(edges) + 1
        inside = [((values >= a) & (values < b)).sum() for a, b in pairwise(edges)]
        np.testing.assert_array_equal(counts[1:-1], inside)
    np.testing.assert_array_equal(select.histogram(np.full(5, 2.0), None, None, None)[1], [0, 5, 0])
    assert len(select.histogram(np.r_[np.zeros(90), 1e9], None, None, None)[1]) == 12  # quartiles without a spread
