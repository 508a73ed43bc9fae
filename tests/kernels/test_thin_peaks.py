import numpy as np
import pytest

from vitreous.kernels_pick import thin_peaks


def case(n=300, side=200.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.floor(rng.uniform(0, side, (n, 2))), np.round(rng.uniform(0, 1, n), 2)


def oracle(points, fom, link, distance):
    """From the definition: distances of all pairs, clusters by spreading the least number, then from the best on."""
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    cluster = np.arange(len(points))
    for _ in points:
        cluster = np.array([cluster[row].min() for row in (apart < link) | np.eye(len(points), dtype=bool)])
    kept = np.ones(len(points), bool)
    for i in np.argsort(-fom, kind="stable"):
        if kept[i]:
            kept[(apart[i] < distance) & (cluster == cluster[i]) & (np.arange(len(points)) != i)] = False
    return kept


@pytest.mark.parametrize(("link", "distance"), [(8, 12), (14, 6), (5, 5), (0, 20), (60, 30), (9.5, 10.5)])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_thin_peaks_match_oracle(be, n, link, distance):
    points, fom = case(n)
    np.testing.assert_array_equal(thin_peaks(be, points, fom, link, distance), oracle(points, fom, link, distance))


def test_thin_peaks_leave_the_best_and_none_too_near_in_one_cluster(be):
    points, fom = case(2000)
    kept = thin_peaks(be, points, fom, 1000.0, 15.0)
    left = points[kept]
    distance = np.hypot(*(left[:, None] - left[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(left))
    assert kept[fom.argmax()] and distance.min() >= 15


def test_thin_peaks_of_none_are_none(be):
    assert len(thin_peaks(be, np.zeros((0, 2)), np.zeros(0), 5.0, 5.0)) == 0


def test_thin_peaks_refuse_points_of_another_number(be):
    with pytest.raises(ValueError, match="thin_peaks: points"):
        thin_peaks(be, np.zeros((3, 2)), np.zeros(4), 5.0, 5.0)
