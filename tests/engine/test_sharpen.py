"""Sharpening: a known B-factor is found and undone, weights by their formula, the detector's table."""

import numpy as np
import pytest

from vitreous.engine import sharpen
from vitreous.engine.filters import b_factor, forward, inverse, scale_frequencies

SHAPE, PIXEL_A = (32, 32, 32), 2.0


def flat_transform(seed=0):
    """A transform with amplitude 1 everywhere and random phases."""
    ft = forward(np.random.default_rng(seed).normal(size=SHAPE))
    return ft / np.abs(ft)


def test_log_amplitudes_are_means_over_shells():
    ft = flat_transform()
    np.testing.assert_allclose(sharpen.log_amplitudes(ft * np.e**2, SHAPE), 2, atol=1e-12)
    ft[...] = 0
    np.testing.assert_array_equal(sharpen.log_amplitudes(ft, SHAPE), sharpen.EMPTY_SHELL)


def test_guinier_fit_finds_the_b_factor_that_was_applied():
    ft = scale_frequencies(7 * flat_transform(), SHAPE, b_factor(300.0, PIXEL_A))
    fit = sharpen.fit_guinier(sharpen.log_amplitudes(ft, SHAPE), 32, PIXEL_A, 12.0, 4.2)
    # 4.2 A leaves out the last shell, half of which is beyond Nyquist; a shell's finite width bends the line a little
    assert fit.b_factor_A2 == pytest.approx(-300, rel=0.01) and fit.intercept == pytest.approx(np.log(7), abs=0.05)
    assert fit.determination > 0.999
    sharpened = sharpen.apply_b_factor(ft, SHAPE, fit.b_factor_A2, PIXEL_A)
    np.testing.assert_allclose(sharpen.log_amplitudes(sharpened, SHAPE)[4:16], np.log(7), atol=0.1)


def test_guinier_fit_matches_polyfit_over_the_range():
    rng = np.random.default_rng(1)
    curve = rng.normal(size=17)
    curve[9] = sharpen.EMPTY_SHELL
    fit = sharpen.fit_guinier(curve, 32, PIXEL_A, 20.0, 5.0)
    shells = np.array([s for s in range(1, 17) if 5 <= 64 / s <= 20 and s != 9])
    slope, intercept = np.polyfit((shells / 64) ** 2, curve[shells], 1)
    assert (fit.slope_A2, fit.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert fit.determination == pytest.approx(np.corrcoef((shells / 64) ** 2, curve[shells])[0, 1] ** 2)


def test_guinier_fit_needs_two_shells():
    with pytest.raises(ValueError, match="0 shells with signal lie between 3 and 4"):
        sharpen.fit_guinier(np.zeros(17), 32, PIXEL_A, 3.0, 3.0)


def test_b_factor_0_changes_nothing_not_even_corners():
    ft = flat_transform()
    np.testing.assert_array_equal(sharpen.apply_b_factor(ft.copy(), SHAPE, 0.0, PIXEL_A), ft)
    assert (sharpen.apply_b_factor(ft.copy(), SHAPE, -1.0, PIXEL_A) == 0).any()


def test_fsc_weights_end_at_the_first_shell_without_signal():
    weights = sharpen.fsc_weights([1, 0.8, 0.5, 0.00005, 0.9])
    np.testing.assert_allclose(weights, [1, np.sqrt(1.6 / 1.8), np.sqrt(1 / 1.5), 0, 0])
    assert sharpen.fsc_weights(np.full(5, 0.5))[-1] > 0


def test_weight_shells_zeroes_the_corners():
    ft = sharpen.weight_shells(flat_transform(), SHAPE, np.full(17, 0.5))
    amplitudes = np.round(np.abs(ft), 12)
    assert set(np.unique(amplitudes)) == {0.0, 0.5}
    np.testing.assert_allclose(np.exp(sharpen.log_amplitudes(ft, SHAPE)), 0.5)
    assert amplitudes[16, 16, 16] == 0


def test_mtf_is_undone():
    frequency, mtf = np.linspace(0, 0.5, 11), np.linspace(1, 0.4, 11)
    ft = flat_transform()
    blurred = scale_frequencies(ft.copy(), SHAPE, lambda u: np.where(u < 0.5, np.interp(u, frequency, mtf), 1))
    np.testing.assert_allclose(sharpen.divide_by_mtf(blurred, SHAPE, frequency, mtf), ft, atol=1e-12)
    assert np.isfinite(inverse(blurred, SHAPE)).all()
