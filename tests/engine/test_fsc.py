"""Fourier shell correlation: the definition in float64, identities, and what is expected of noise."""

import numpy as np
import pytest

from vitreous.engine import fsc
from vitreous.engine.filters import forward, inverse
from vitreous.engine.masks3d import shell_mask


def noise(shape=(16, 16, 16), seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def oracle(a, b, rows_twice=False):
    """FSC over the whole transform; ``rows_twice`` counts coefficients as stored in the half transform."""
    n = max(a.shape)
    axes = [np.fft.fftfreq(s) * n for s in a.shape]
    k = np.meshgrid(*axes, indexing="ij")
    shell = np.floor(np.sqrt(sum(x * x for x in k)) + 0.5).astype(int)
    weight = np.ones(a.shape)
    if rows_twice:
        nx = a.shape[-1]
        weight[..., nx // 2 + 1 :] = 0
    a_ft, b_ft = np.fft.fftn(a), np.fft.fftn(b)
    cross, aa, bb = (np.bincount(shell.ravel(), (weight * q).ravel())[: n // 2 + 1]
                     for q in ((a_ft * b_ft.conj()).real, np.abs(a_ft) ** 2, np.abs(b_ft) ** 2))  # fmt: skip
    out = cross / np.sqrt(aa * bb)
    out[0] = out[0] if out[0] > 0 else 1
    return out


@pytest.mark.parametrize("shape", [(16, 16, 16), (15, 15, 15), (10, 12, 14), (20, 20), (1, 18, 18)])
@pytest.mark.parametrize("equal_pairs", [True, False])
def test_fsc_matches_the_oracle(shape, equal_pairs):
    a, b = noise(shape, 1), noise(shape, 1) + noise(shape, 2)
    found = fsc.fourier_shell_correlation(a, b, equal_pairs)
    np.testing.assert_allclose(found, oracle(a, b, not equal_pairs), atol=1e-13)


def test_fsc_in_float32_is_as_good():
    a, b = noise(seed=1), noise(seed=1) + noise(seed=2)
    found = fsc.fourier_shell_correlation(a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(found, oracle(a, b, True), atol=1e-6)  # sums in float64 of float32 products


def test_fsc_of_a_map_with_itself_is_one():
    a = noise()
    np.testing.assert_allclose(fsc.fourier_shell_correlation(a, a), 1, atol=1e-14)
    np.testing.assert_allclose(fsc.fourier_shell_correlation(a, -a)[1:], -1, atol=1e-14)


def test_fsc_is_symmetric_and_free_of_scale():
    a, b = noise(seed=1), noise(seed=1) + noise(seed=2)
    there = fsc.fourier_shell_correlation(a, b)
    np.testing.assert_allclose(fsc.fourier_shell_correlation(b, a), there, atol=1e-14)
    np.testing.assert_allclose(fsc.fourier_shell_correlation(5 * a, 0.1 * b), there, atol=1e-14)


def test_fsc_with_equal_pairs_does_not_depend_on_the_map_s_axes():
    a, b = noise(seed=1), noise(seed=1) + noise(seed=2)
    turned = [np.ascontiguousarray(x.transpose(2, 0, 1)) for x in (a, b)]
    there, here = (fsc.fourier_shell_correlation(*x, equal_pairs=True) for x in ((a, b), turned))
    np.testing.assert_allclose(here, there, atol=1e-13)
    assert np.abs(fsc.fourier_shell_correlation(a, b) - fsc.fourier_shell_correlation(*turned)).max() > 1e-3


def test_fsc_of_noise_has_mean_0_and_the_variance_of_its_shell():
    pairs_of_maps = [(noise(seed=2 * i), noise(seed=2 * i + 1)) for i in range(200)]
    curves = np.array([fsc.fourier_shell_correlation(a, b, True) for a, b in pairs_of_maps])
    k = np.meshgrid(*[np.fft.fftfreq(16) * 16] * 3)
    _, count = np.unique(np.floor(np.sqrt(sum(np.square(x) for x in k)) + 0.5), return_counts=True)
    pairs = count[1:9] / 2  # a shell of N coefficients holds N / 2 independent ones, each with two components
    variance = curves[:, 1:].var(axis=0)
    np.testing.assert_allclose(curves[:, 1:].mean(axis=0) * np.sqrt(200 * 2 * pairs), 0, atol=4)  # four sigma
    np.testing.assert_allclose(variance * 2 * pairs, 1, atol=0.5)  # a variance of 200 draws has an error of 10 %


def test_fsc_of_signal_and_noise_is_the_expected_ratio():
    snr = 4.0
    curves = []
    for i in range(40):
        signal = np.sqrt(snr) * noise(seed=900 + i)
        curves.append(fsc.fourier_shell_correlation(signal + noise(seed=2 * i), signal + noise(seed=2 * i + 1), True))
    np.testing.assert_allclose(np.mean(curves, axis=0)[3:], snr / (1 + snr), atol=0.02)


def test_fsc_of_an_empty_shell_is_0():
    a = noise()
    ft = forward(a)
    ft[..., 3:] = 0
    ft[3:-2] = 0
    ft[:, 3:-2] = 0
    b = inverse(ft, a.shape)
    assert (fsc.fourier_shell_correlation(b, np.zeros_like(b))[1:] == 0).all()


@pytest.mark.parametrize("shape", [(16, 16, 16), (12, 10, 13), (14, 14)])
def test_randomised_phases_keep_amplitudes_and_a_real_map(shape):
    ft = forward(noise(shape))
    out = fsc.randomise_phases(ft, shape, 3, seed=1)
    np.testing.assert_allclose(np.abs(out), np.abs(ft), rtol=1e-6)
    again = forward(inverse(out, shape))  # the inverse would drop what is not conjugate
    np.testing.assert_allclose(again, out, atol=1e-7 * np.abs(ft).max())
    n = max(shape)
    k = np.sqrt(sum(x**2 for x in np.meshgrid(*[np.fft.fftfreq(s) * n for s in shape[:-1]],
                                              np.fft.rfftfreq(shape[-1]) * n, indexing="ij")))  # fmt: skip
    np.testing.assert_array_equal(out[k < 2.999], ft[k < 2.999])
    assert np.mean(np.abs(out - ft)[k >= 3] > 1e-9) > 0.99


def test_randomised_phases_are_a_function_of_the_seed():
    ft, shape = forward(noise()), (16, 16, 16)
    first = fsc.randomise_phases(ft, shape, 2, seed=5)
    np.testing.assert_array_equal(fsc.randomise_phases(ft, shape, 2, seed=5), first)
    for other in (fsc.randomise_phases(ft, shape, 2, seed=6), fsc.randomise_phases(ft, shape, 2, seed=5, stream=1)):
        curve = fsc.shell_correlation(first, other, shape)
        assert curve[1] == pytest.approx(1) and np.abs(curve[4:]).max() < 0.3


def test_mask_correction_takes_away_what_the_mask_adds():
    """Independent noise under one tight mask correlates; the corrected curve is about 0 again."""
    a, b = noise((32, 32, 32), 1), noise((32, 32, 32), 2)
    mask = shell_mask(32, 0, 5, 3)
    masked = fsc.masked_correlation((a, b), lambda x: x * mask)
    halves = fsc.randomised_halves((a, b), 2, seed=3)
    randomised = fsc.masked_correlation(halves, lambda x: x * mask)
    curve = fsc.correct_for_mask(masked, randomised, 2)
    assert np.abs(curve[4:].mean()) < 0.1
    signal = noise((32, 32, 32), 7) * 3 * mask
    halves = (a + signal, b + signal)
    masked = fsc.masked_correlation(halves, lambda x: x * mask)
    randomised = fsc.masked_correlation(fsc.randomised_halves(halves, 2, seed=3), lambda x: x * mask)
    assert fsc.correct_for_mask(masked, randomised, 2)[6:].mean() == pytest.approx(0.9, abs=0.05)  # snr 9 in the mask


def test_mask_correction_by_hand():
    masked, randomised = np.array([1, 0.9, 0.8, 0.7, 0.5, 0.1]), np.array([1, 0.9, 0.5, 0.2, 0.2, 0.3])
    np.testing.assert_allclose(fsc.correct_for_mask(masked, randomised, 1), [1, 0.9, 0.8, 0.625, 0.375, -2 / 7])
    np.testing.assert_allclose(fsc.correct_for_mask(masked, randomised, 1, clamp=True), [1, 0.9, 0.8, 0.625, 0.375, 0])
    np.testing.assert_allclose(fsc.correct_for_mask(np.ones(4), np.ones(4), 1), [1, 1, 1, 0])  # nothing is left


def test_resolution_is_the_last_shell_before_the_first_fall():
    curve = np.array([1, 0.9, 0.5, 0.2, 0.1, 0.3, 0.0])
    assert fsc.first_below(curve, 0.143) == 4 and fsc.resolution_shell(curve) == 3 and fsc.last_shell_above(curve) == 5
    assert fsc.crossing_shell(curve) == pytest.approx(3 + 0.057 / 0.1)
    assert fsc.first_below(curve, -1) is None and fsc.resolution_shell(curve, -1) == 6
    assert fsc.crossing_shell(np.ones(5)) == 4
    assert fsc.shell_resolution_A(3, 60, 2.0) == 40 and np.isinf(fsc.shell_resolution_A(0, 60, 2.0))


def test_part_volume_of_a_full_box_is_the_curve():
    curve = np.array([1, 0.8, 0.143, 0.0])
    np.testing.assert_allclose(fsc.part_volume(curve, 1), curve)
    np.testing.assert_allclose(fsc.part_volume(curve, 4)[[0, 3]], [1, 0])
    # solvent noise added to f - 1 other parts: SNR of the particle is f times that of the box
    np.testing.assert_allclose(fsc.part_volume(np.array([0.5]), 3), [0.75])


def test_masses_and_factors():
    mask = np.zeros((10, 10, 10))
    mask[:5] = 1
    assert fsc.factor_of_mask(mask) == pytest.approx(0.952)
    assert fsc.mass_in_mask_kDa(mask, 10.0) == pytest.approx(405)
    assert fsc.factor_of_mass(405 * 0.476 / 0.952, 1000, 10.0) == pytest.approx(1.904)
