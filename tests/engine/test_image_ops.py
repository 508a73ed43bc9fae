"""Operations on images: identities, closed forms, centres that stay where they are."""

import numpy as np
import pytest

from vitreous.engine import filters, image_ops
from vitreous.model.symmetry import Symmetry


def image(shape=(16, 16), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def smooth(shape, centre=(0, 0, 0), sigma=2.0):
    """A Gaussian of height 1; centre x, y, z in px from the centre pixel."""
    axes = [np.arange(n) - n // 2 - c for n, c in zip(shape, list(centre)[: len(shape)][::-1])]
    r2 = sum(a * a for a in np.meshgrid(*axes, indexing="ij"))
    return np.exp(-r2 / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize("n, m", [(16, 24), (16, 23), (15, 24), (15, 21), (24, 16), (24, 15), (21, 16)])
def test_resized_samples_the_same_band_limited_image(n, m):
    """A sum of waves below both Nyquist frequencies, written on both grids."""

    def waves(size):
        x = np.arange(size) / size
        y = x[:, None]
        return 1 + np.cos(2 * np.pi * (3 * x + 2 * y)) + np.sin(2 * np.pi * (x - 4 * y)) + 0.5 * np.cos(10 * np.pi * x)

    np.testing.assert_allclose(image_ops.resized(waves(n).astype(np.float32), (m, m)), waves(m), atol=2e-6)


@pytest.mark.parametrize("shape", [(12, 12, 12), (10, 14)])
def test_resized_there_and_back_is_the_identity_below_nyquist(shape):
    x = filters.filtered(image(shape), filters.low_pass(4, max(shape), 0))
    there = image_ops.resized(x, tuple(2 * n for n in shape))
    np.testing.assert_allclose(image_ops.resized(there, shape), x, atol=2e-6)
    assert there.mean() == pytest.approx(x.mean(), abs=1e-6)
    assert image_ops.resized(x, shape) is x


def test_even_size_rounds_and_takes_one_away():
    assert [image_ops.even_size(48, 4 / a) for a in (6, 5, 3.1, 7.3)] == [32, 38, 62, 26]
    assert image_ops.even_size(32, 3 / 4.5) == 20 and image_ops.even_size(8, 0.01) == 2


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("box", [4, 5, 12, 13])
def test_in_box_keeps_the_centre(n, box):
    x = np.zeros((n, n), np.float32)
    x[n // 2, n // 2] = 1
    out = image_ops.in_box(x, box)
    assert out.shape == (box, box) and out[box // 2, box // 2] == 1 and out.sum() == 1
    full = image_ops.in_box(np.ones((n, n), np.float32), box)
    assert full.sum() == min(n, box) ** 2


def test_mirrors_undo_themselves_and_turn_the_hand():
    x = image((6, 8, 10))
    for axis in "XYZ":
        np.testing.assert_array_equal(image_ops.mirrored(image_ops.mirrored(x, axis), axis), x)
    for n in (10, 11):
        y = image((4, 6, n))
        turned = image_ops.other_hand(y)
        np.testing.assert_array_equal(image_ops.other_hand(turned), y)
        np.testing.assert_array_equal(turned[..., n // 2], y[..., n // 2])
        np.testing.assert_array_equal(turned[..., n // 2 + 2], y[..., n // 2 - 2])


def test_transposed_about_both_diagonals():
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(image_ops.transposed(x), [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(image_ops.antitransposed(x), [[5, 2], [4, 1], [3, 0]])


def test_shifted_moves_content_and_brings_in_0():
    x = image((8, 9))
    out = image_ops.shifted(x, (2, -1))
    np.testing.assert_array_equal(out[:-1, 2:], x[1:, :-2])
    assert (out[:, :2] == 0).all() and (out[-1] == 0).all()
    half = image_ops.shifted(x, (0.5, 0))
    np.testing.assert_allclose(half[:, 1:], (x[:, 1:] + x[:, :-1]) / 2, atol=1e-6)


def test_centre_of_mass_of_what_is_positive():
    x = smooth((20, 22, 24), (2.5, -1.0, 0.5)) - 0  # far from the edges, so that the tails do not count
    np.testing.assert_allclose(image_ops.centre_of_mass(x), [2.5, -1.0, 0.5], atol=1e-3)
    moved = image_ops.shifted(x, -image_ops.centre_of_mass(x))
    np.testing.assert_allclose(image_ops.centre_of_mass(moved), 0, atol=1e-3)
    x[0, 0, 0] = -1e6
    np.testing.assert_allclose(image_ops.centre_of_mass(x), [2.5, -1.0, 0.5], atol=1e-3)
    assert (image_ops.centre_of_mass(-np.ones((4, 4))) == 0).all()


@pytest.mark.parametrize("group", ["C4", "D2", "O"])
def test_symmetrised_on_the_grid_is_exact_and_final(group):
    """Rotations that map the grid onto itself: the mean of the copies, which symmetrising again does not change."""
    x = smooth((17, 17, 17), (3, 1, 2), 1.5)
    rotations = Symmetry.parse(group).rotations
    out = image_ops.symmetrised(x, rotations)
    np.testing.assert_allclose(image_ops.symmetrised(out, rotations), out, atol=1e-6)
    spots = {tuple(np.rint(r @ (3, 1, 2)).astype(int)) for r in rotations}
    assert len(spots) == len(rotations)
    for sx, sy, sz in spots:
        assert out[8 + sz, 8 + sy, 8 + sx] >= 1 / len(rotations) - 1e-6


def test_symmetrised_by_a_threefold_keeps_the_axis_and_the_sum():
    x = smooth((24, 24, 24), (4, 0, 1), 2.0)
    out = image_ops.symmetrised(x, Symmetry.parse("C3").rotations)
    assert out.sum() == pytest.approx(x.sum(), rel=1e-3)
    np.testing.assert_allclose(image_ops.centre_of_mass(out), [0, 0, 1], atol=0.01)


def test_edges_are_repeated():
    x = image((8, 10))
    out = image_ops.edges_repeated(x, 2, 1, 7, 4095)
    np.testing.assert_array_equal(out[1:, 2:8], x[1:, 2:8])
    np.testing.assert_array_equal(out[3], np.concatenate([[x[3, 2]] * 2, x[3, 2:8], [x[3, 7]] * 2]))
    np.testing.assert_array_equal(out[0], out[1])


def test_divided_by_nothing_is_nothing():
    np.testing.assert_array_equal(image_ops.divided(np.array([2.0, 3.0]), np.array([4.0, 0.0])), [0.5, 0])


def test_power_spectrum_of_white_noise_is_flat():
    x = np.random.default_rng(1).normal(size=(32, 32, 32)).astype(np.float32)
    power = image_ops.power_spectrum(x)
    assert len(power) == 17
    np.testing.assert_allclose(power[3:] * 32**3, 1, atol=0.3)  # shell 3 has about 60 independent coefficients


@pytest.mark.parametrize("shape", [(16, 16, 16), (20, 20), (10, 16)])
def test_power_of_another_image_is_taken_over(shape):
    x, other = image(shape, 1), filters.filtered(image(shape, 2), filters.b_factor(20.0, 1.0)) * 3
    out = image_ops.with_power_of(x, other)
    np.testing.assert_allclose(image_ops.power_spectrum(out), image_ops.power_spectrum(other), rtol=1e-4, atol=1e-10)
    phase = np.angle(filters.forward(out)[1, 1:4] / filters.forward(x)[1, 1:4])
    np.testing.assert_allclose(phase[..., :5], 0, atol=1e-4)  # beyond, the other image has nothing


def test_even_amplitudes_lose_an_anisotropy_but_not_below_the_radius():
    shape = (24, 24)
    x, along = image(shape), np.abs(np.fft.rfftfreq(24))
    stretched = (1 + 3 * along)[None] * np.ones((24, 1))
    out = image_ops.with_even_amplitudes(x, stretched, 4)
    ft, before = filters.forward(out), filters.forward(x)
    means = image_ops.shell_means(stretched, shape)
    np.testing.assert_allclose(ft[0, 8], before[0, 8] * means[8] / stretched[0, 8], rtol=1e-4)
    np.testing.assert_allclose(ft[0, :5], before[0, :5], rtol=1e-4)
    even = image_ops.with_even_amplitudes(x, np.full((24, 13), 7.0), 0)
    np.testing.assert_allclose(even, x, atol=1e-6)


def test_best_match_finds_scale_and_b_factor():
    other = image((24, 24, 24))
    truth = 2.5 * filters.filtered(other, filters.b_factor(60.0, 2.0))
    matched, scale, b_A2 = image_ops.best_match(truth, other, 2.0, 200.0)
    assert scale == pytest.approx(2.5, rel=1e-2) and b_A2 == pytest.approx(60, rel=1e-2)
    np.testing.assert_allclose(matched, truth, atol=0.01 * truth.std())
    assert image_ops.best_match(truth, other, 2.0, 0.0)[1:] == (image_ops.best_scale(truth, other), 0.0)


def test_best_scale_looks_at_the_mask_alone():
    other = image((12, 12))
    x, mask = 3 * other, np.zeros((12, 12), np.float32)
    mask[4:8, 4:8] = 1
    x[mask == 0] = 100
    assert image_ops.best_scale(x, other, mask) == pytest.approx(3, rel=1e-6)
    assert image_ops.best_scale(x, np.zeros_like(x)) == 0
