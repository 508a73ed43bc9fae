import numpy as np
import pytest
from test_pick_bank import references

from vitreous import backend
from vitreous.engine import pick_bank
from vitreous.engine import pick_template as engine
from vitreous.engine.pick_image import transforms
from vitreous.engine.pick_size import crop, forward, work_size


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def micrograph(n=64, seed=1):
    return np.random.default_rng(seed).normal(size=(n, n)).astype(np.float32)


def test_surroundings_are_those_of_the_ring(be):
    refs = references(1, box=24)
    size = work_size(64, 64, 4.0, lowpass_A=None, shrink=1)
    image = micrograph()
    kernel, n_outside = engine.surroundings_kernel(refs, size)
    image = (image - image.mean()) / image.std()
    fts = transforms(be, image, size, size.work, outlier_sd=8.0, seed=0, squared=True)
    around = engine.surroundings(be, fts, kernel, n_outside, size)
    y, x = 30, 41
    ring = image[y - 12 : y + 12, x - 12 : x + 12][~refs.inside]
    assert around.mean[y, x] == pytest.approx(ring.mean(), abs=1e-5) and around.sd[y, x] == pytest.approx(
        ring.std(), rel=1e-4
    )


@pytest.mark.parametrize("shrink", [1, 0])
def test_correlate_finds_the_template_where_it_is(be, shrink):
    refs = references(2)
    size = work_size(96, 96, 4.0, lowpass_A=12.0, shrink=shrink)
    bank = pick_bank.make_bank(be, refs, size, step_deg=90, error=0.001)
    image = np.zeros((96, 96), np.float32)
    image[42 - 12 : 42 + 12, 57 - 12 : 57 + 12] += refs.images[1]
    ft = engine.for_bank(crop(forward(image), size.work), None, size)
    best, which = engine.correlate(be, bank, ft, size, refs.n_inside)
    y, x = np.unravel_index(best[1].argmax(), best[1].shape)
    assert abs(y / size.scale - 42) <= 0.6 / size.scale and abs(x / size.scale - 57) <= 0.6 / size.scale
    assert which[1, y, x] == 0
    low = np.abs(bank.first[1]) ** 2 * np.where(np.arange(bank.first.shape[2]) > 0, 2, 1)
    assert best[1].max() == pytest.approx(low.sum() * size.full**2 / refs.n_inside, rel=0.003)  # the basis


def test_figure_of_merit_of_what_is_expected_is_1(be):
    refs = references(1)
    size = work_size(96, 96, 4.0, lowpass_A=None, shrink=1)
    bank = pick_bank.make_bank(be, refs, size, step_deg=360, error=0)
    expect = engine.expected(bank.first, None, refs, size)[0]
    n, inside = refs.n_inside, refs.images[0][refs.inside].astype(float)
    assert expect.mean == pytest.approx(inside.sum() / (n + 1), rel=2e-3) and expect.power == pytest.approx(
        (inside**2).sum() / (n + 1), rel=2e-3
    )  # the corners of the band are left out
    assert expect.ratio == pytest.approx(np.exp(expect.power / 2), rel=1e-6)
    around = engine.Surroundings(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    fom = engine.figure_of_merit(np.full((1, 1), expect.power, np.float32), around, expect)
    assert fom[0, 0] == pytest.approx(1, rel=1e-4)
    assert engine.figure_of_merit(np.zeros((1, 1), np.float32), around, expect)[0, 0] < 0


def test_expected_with_noise_scatters_around_the_ratio_without(be):
    refs = references(1)
    size = work_size(96, 96, 4.0, lowpass_A=None, shrink=1)
    bank = pick_bank.make_bank(be, refs, size, step_deg=360, error=0)
    exact = engine.expected(bank.first, None, refs, size)[0]
    noisy = [engine.expected(bank.first, None, refs, size, np.random.default_rng(i))[0].ratio for i in range(200)]
    scatter = np.sqrt(exact.power / refs.n_inside)
    assert np.log(np.mean(noisy)) == pytest.approx(np.log(exact.ratio), abs=4 * scatter / np.sqrt(200) + scatter**2)
