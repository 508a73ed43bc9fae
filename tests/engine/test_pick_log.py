from dataclasses import replace

import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import pick_log
from vitreous.engine.pick_image import transforms
from vitreous.engine.pick_size import work_size

PIXEL_A = 4.0
TRUTH = np.array([(60, 70), (120, 180), (200, 60), (190, 200), (130, 100)])  # x, y


def micrograph(nx=256, ny=256, diameter_A=100.0, noise=0.3, sign=-1):
    y, x = np.mgrid[:ny, :nx]
    image = np.random.default_rng(0).normal(size=(ny, nx)) * noise
    for cx, cy in TRUTH:
        image += sign * (np.hypot(x - cx, y - cy) < diameter_A / PIXEL_A / 2)
    return (image * 5 + 40).astype(np.float32)


def pick(image, **options):
    settings = pick_log.LogSettings(90.0, 110.0, PIXEL_A, adjust_threshold=1.0)
    settings = replace(settings, **{k: v for k, v in options.items() if hasattr(settings, k)})
    size = work_size(
        image.shape[1],
        image.shape[0],
        PIXEL_A,
        lowpass_A=options.get("lowpass_A", 20.0),
        shrink=options.get("shrink", 0),
    )
    be = backend.cpu(2)
    ft = transforms(be, image, size, size.work, outlier_sd=8.0, seed=0)[0]
    n, every = options.get("at_once", 11), settings.diameters_A
    parts = [every[i : i + n] for i in range(0, len(every), n)]
    maps = ((part, pick_log.log_maps(be, ft, pick_log.log_gains(size, settings, part), size)) for part in parts)
    return pick_log.log_peaks(*pick_log.best_response(be, maps), size, settings), size


@pytest.mark.parametrize("at_once", [1, 4])
def test_log_is_the_same_some_diameters_at_a_time(at_once):
    (all_at_once, _), (some, _) = pick(micrograph()), pick(micrograph(), at_once=at_once)
    np.testing.assert_array_equal(some.gated, all_at_once.gated)
    assert len(some.picks) and some.picks.fom.tolist() == all_at_once.picks.fom.tolist()


def test_log_holds_all_diameters_at_usual_sizes_and_one_at_large_ones():
    sizes = [work_size(n, n, 1.0, lowpass_A=lowpass_A, shrink=0) for n, lowpass_A in ((3840, 20.0), (11520, None))]
    usual, large = (pick_log.diameters_at_once(size) for size in sizes)
    assert usual >= 11 and large == 1


@pytest.mark.parametrize("options", [{}, {"shrink": 1}, {"shrink": 0.5}, {"lowpass_A": 30.0}])
@pytest.mark.parametrize("shape", [{}, {"ny": 300}, {"nx": 301}])
def test_log_finds_the_blobs(options, shape):
    picks = pick(micrograph(**shape), **options)[0].picks
    found = np.stack([picks.x_px, picks.y_px], 1)[: len(TRUTH)]
    distance = np.hypot(*(found[:, None] - TRUTH[None]).transpose(2, 0, 1))
    assert sorted(distance.argmin(1)) == list(range(len(TRUTH)))
    assert distance.min(1).max() < 5  # a fifth of the blob: half of a map's pixel, and what noise moves its maximum
    assert (np.diff(picks.fom) <= 0).all()


def test_log_finds_white_particles_when_told():
    white = pick(micrograph(sign=1), white=True)[0].picks
    dark = pick(micrograph(sign=-1))[0].picks
    assert len(white) >= len(TRUTH) and len(dark) >= len(TRUTH)
    assert white.fom[4] == pytest.approx(dark.fom[4], rel=0.2)


def test_log_leaves_out_blobs_of_another_size():
    image = micrograph(diameter_A=260.0, noise=0.1)
    best, size = pick(image)
    gated = best.gated
    y, x = (round(v * size.scale) for v in (TRUTH[0][1], TRUTH[0][0]))
    assert gated[y, x] == 0


def test_log_threshold_and_upper_threshold_take_away():
    image = micrograph()
    many, few = (pick(image, adjust_threshold=t)[0].picks for t in (-0.5, 2.5))
    assert len(few) < len(many)
    mid = pick(image, adjust_threshold=-0.5, upper_threshold=2.5)[0].picks
    assert 0 < len(mid) < len(many) and mid.fom.max() < few.fom.min()


def test_log_picks_keep_their_distance():
    picks = pick(micrograph(), adjust_threshold=-0.5)[0].picks
    points = np.stack([picks.x_px, picks.y_px], 1)
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(points))
    assert distance.min() * PIXEL_A > 90 - 2 * 20  # the least diameter, less one map pixel of 10 A on each side
    near = pick(micrograph(), adjust_threshold=-0.5, neighbour_percent=50.0)[0].picks
    assert len(near) > len(picks)


def test_log_picks_none_at_the_edge():
    picks = pick(micrograph(), adjust_threshold=0.0, skip_side_px=50)[0].picks
    assert (
        len(picks) and min(picks.x_px.min(), picks.y_px.min()) >= 49 and max(picks.x_px.max(), picks.y_px.max()) <= 207
    )


def test_diameters_are_relions():
    settings = pick_log.LogSettings(150.0, 180.0, 1.0)
    assert settings.diameters_A == [30, 38, 50, 75, 150, 165, 180, 360, 540, 720, 900]


def test_greedy_skips_what_is_too_bright_but_forgets_its_neighbours():
    above = np.zeros((20, 20), np.float32)
    above[5, 5], above[5, 7], above[15, 15] = 9, 3, 2
    y, x, value = pick_log.greedy(above, lambda d: 4, np.zeros((20, 20), np.float32), upper=5)
    assert (y.tolist(), x.tolist(), value.tolist()) == ([15], [15], [2])
