import numpy as np
import pytest

from vitreous import backend
from vitreous.engine.pick_peaks import Peaks, PeakSettings, apart, find_peaks, local_maxima, thin
from vitreous.engine.pick_size import work_size

BE = backend.cpu(2)
SIZE = work_size(64, 64, 4.0, lowpass_A=None, shrink=1)
SMALL = work_size(128, 128, 4.0, lowpass_A=None, shrink=0.5)
FLAT = np.zeros((64, 64), np.float32)


def peaks(*rows):
    y, x, fom = np.array(rows, float).T
    n = len(rows)
    return Peaks(y, x, fom, np.ones(n, int), np.zeros(n))


def settings(**changes):
    return PeakSettings(**({"threshold": 0.5, "min_distance_px": 6, "link_px": 8, "margin_px": 4} | changes))


def spots(*rows, base=0.6):
    fom = np.full((64, 64), base, np.float32)
    for y, x, value in rows:
        fom[y, x] = value
    return fom


def test_local_maxima_respect_threshold_margin_and_noise():
    fom = spots((20, 20, 2), (40, 40, 3), (1, 30, 5), base=0.55)
    fom[fom < 0.6] -= np.random.default_rng(0).uniform(0, 0.04, (fom < 0.6).sum())
    found = set(zip(*local_maxima(fom, FLAT, FLAT + 1, SIZE, settings(threshold=0.5))))
    assert {(20, 20), (40, 40)} <= found and (1, 30) not in found
    sd, mean = FLAT + 1, FLAT.copy()
    sd[20, 20], mean[40, 40] = 1.3, -2
    kept = set(zip(*local_maxima(fom, mean, sd, SIZE, settings(max_sd=1.1, min_mean=-1.0))))
    assert (20, 20) not in kept and (40, 40) not in kept


def test_local_maxima_of_full_size_need_neighbours_above_the_threshold():
    fom = spots((20, 20, 2), base=0.1)
    assert len(local_maxima(fom, FLAT, FLAT + 1, SIZE, settings())[0]) == 0
    assert len(local_maxima(fom, FLAT, FLAT + 1, SMALL, settings())[0]) == 1


def test_thin_keeps_the_best_of_a_cluster_and_what_is_far_from_it():
    found = thin(BE, peaks((10, 10, 1), (10, 14, 3), (10, 20, 2), (50, 50, 0.5)), link=8, distance=6)
    assert sorted(found.fom) == [0.5, 2, 3]


def test_thin_does_not_compare_clusters():
    two = peaks((10, 10, 1), (10, 15, 3))
    assert len(thin(BE, two, link=4, distance=9).fom) == 2
    assert len(apart(two, 9).fom) == 0  # both go, as in RELION
    assert len(apart(two, 5).fom) == 0 and len(apart(two, 4.9).fom) == 2


def test_find_peaks_takes_the_best_reference_and_its_angle():
    a, b = spots((20, 20, 2), base=0), spots((21, 20, 3), (40, 30, 1), base=0)
    psi = [np.full((64, 64), v, np.float32) for v in (10, 20)]
    picks = find_peaks(BE, [a, b], psi, FLAT, FLAT + 1, SMALL, settings())
    assert picks.class_number.tolist() == [2, 2] and picks.psi_deg.tolist() == [20, 20]
    assert picks.x_px == pytest.approx([40, 60]) and picks.y_px == pytest.approx([42, 80])
    assert picks.fom.tolist() == [3, 1]


def test_find_peaks_of_nothing_is_empty():
    assert len(find_peaks(BE, [FLAT], [FLAT], FLAT, FLAT + 1, SIZE, settings())) == 0


def test_apart_is_what_its_definition_says():
    rng = np.random.default_rng(0)
    many = peaks(*np.floor(rng.uniform(0, 60, (80, 3))))
    distance = np.hypot(*(many.points[:, None] - many.points[None]).transpose(2, 0, 1)) + 1e9 * np.eye(80)
    for least in (2.0, 5.0, 8.0):
        np.testing.assert_array_equal(apart(many, least).points, many.points[distance.min(1) > least])
