"""Local resolution: windows and grids by hand, places of known resolution, filters that agree with a plain low-pass."""

import numpy as np
import pytest

from vitreous.engine import filters
from vitreous.engine import local_resolution as local
from vitreous.engine.local_resolution import LocalResolution

PIXEL_A = 3.0


def test_grid_points_lie_in_the_ball_of_the_box():
    points = local.grid_points((40, 40, 44), 6, 5.0)
    assert (np.linalg.norm(points, axis=1) <= 15).all() and (points % 6 == 0).all()
    assert len(points) == sum(x * x + y * y + z * z <= 225 for x in range(-12, 13, 6) for y in range(-12, 13, 6)
                              for z in range(-12, 13, 6))  # fmt: skip
    assert len(local.grid_points((20, 20, 20), 4, 12.0)) == 1


def test_windows_have_the_point_in_their_centre_and_zeros_beyond_the_box():
    volume = np.random.default_rng(0).normal(size=(12, 14, 16)).astype(np.float32)
    window = local.window_at(volume, (2, -1, 3), 6)
    assert window[3, 3, 3] == volume[6 + 3, 7 - 1, 8 + 2]
    np.testing.assert_array_equal(window, volume[6:12, 3:9, 7:13])
    edge = local.window_at(volume, (7, 0, 0), 6)
    np.testing.assert_array_equal(edge[:, :, :4], volume[3:9, 4:10, 12:16])
    assert (edge[:, :, 4:] == 0).all()
    np.testing.assert_array_equal(local.window_at(volume, (0, 0, 0), 20)[4:16, 3:17, 2:18], volume)


def test_window_size_is_even_and_within_the_box():
    assert local.window_size(256, 10, 10) == 60 and local.window_size(40, 10, 10) == 40
    assert all(local.window_size(512, r, r) % 2 == 0 for r in range(3, 40))


def half_maps(n=48, seed=0):
    """White signal whose right half (x > 0) ends at 8 shells and its left half at 18; noise everywhere."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, n, n))
    coarse, fine = (filters.filtered(signal, filters.low_pass(shell, n)) for shell in (8, 18))
    share = np.clip((np.arange(n) - n / 2) / 4 + 0.5, 0, 1)
    truth = share * coarse + (1 - share) * fine
    return tuple((truth + 0.7 * rng.normal(size=truth.shape)).astype(np.float32) for _ in range(2))


@pytest.fixture(scope="module")
def found():
    return local.local_resolution(half_maps(), PIXEL_A, 6, 5.0, 5.0, first_random=4, least_A=60.0)


def test_two_regions_have_their_own_resolution(found):
    x = found.points_px[:, 0]
    # the edge of the filters ends one shell beyond their cutoff; the ball's own transform blurs the fall by a few percent
    assert np.median(found.resolution_A[x >= 12]) == pytest.approx(144 / 9, rel=0.1)
    assert np.median(found.resolution_A[x <= -12]) == pytest.approx(144 / 19, rel=0.1)
    assert found.curves.shape == (len(x), found.window_px // 2 + 1)


def test_noise_has_the_least_resolution():
    rng = np.random.default_rng(1)
    halves = tuple(rng.normal(size=(32, 32, 32)).astype(np.float32) for _ in range(2))
    calls = []
    none = local.local_resolution(halves, PIXEL_A, 8, 5.0, 5.0, first_random=2, least_A=40.0,
                                  advance=lambda: calls.append(1))  # fmt: skip
    assert np.median(none.resolution_A) == 40 and none.resolution_A.max() == 40
    assert len(calls) == len(none.points_px)


def test_resolution_map_is_constant_where_all_points_agree(found):
    same = LocalResolution(found.points_px, np.full(len(found.points_px), 9.0), found.curves, found.window_px)
    volume, reached = local.resolution_map((48, 48, 48), same, 5.0, 5.0)
    np.testing.assert_allclose(volume[reached], 9.0, rtol=1e-5)
    assert (volume[~reached] == 0).all() and 0.3 < reached.mean() < 0.9


def test_resolution_map_averages_frequencies_by_their_masks():
    points = np.array([[-2, 0, 0], [2, 0, 0]])
    two = LocalResolution(points, np.array([10.0, 20.0]), np.zeros((2, 9)), 16)
    volume, _ = local.resolution_map((16, 16, 16), two, 2.0, 4.0)
    assert volume[8, 8, 8] == pytest.approx(2 / (1 / 10 + 1 / 20))
    weight = 0.5 + 0.5 * np.cos(np.pi * 0.5)  # 4 px from the other ball, whose edge goes from 2 to 6
    assert volume[8, 8, 6] == pytest.approx((1 + weight) / (1 / 10 + weight / 20), rel=1e-5)


def test_local_filter_of_one_resolution_is_a_low_pass():
    volume = np.random.default_rng(2).normal(size=(24, 24, 24)).astype(np.float32)
    out = local.locally_filtered(volume, 2.0, np.full(volume.shape, 6.0, np.float32))
    np.testing.assert_allclose(out, filters.filtered(volume, filters.low_pass(8, 24)), atol=1e-6)
    between = local.locally_filtered(volume, 2.0, np.full(volume.shape, 48 / 8.25, np.float32))
    mixed = 0.75 * out + 0.25 * filters.filtered(volume, filters.low_pass(9, 24))
    np.testing.assert_allclose(between, mixed, atol=1e-5)


def test_local_filter_is_0_where_nothing_is_known():
    volume = np.ones((8, 8, 8), np.float32)
    known = np.zeros(volume.shape, np.float32)
    assert (local.locally_filtered(volume, 2.0, known) == 0).all()
    known[:4] = 8.0
    out = local.locally_filtered(volume, 2.0, known)
    np.testing.assert_allclose(out[:4], 1, atol=1e-6)
    assert (out[4:] == 0).all()
