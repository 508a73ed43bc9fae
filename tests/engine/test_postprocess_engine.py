"""Assessment and sharpening of half maps with known signal, noise and fall-off."""

import numpy as np
import pytest

from vitreous.engine import filters, fsc, postprocess, sharpen
from vitreous.engine.masks3d import shell_mask
from vitreous.engine.postprocess import Recipe

N, PIXEL_A = 40, 2.0
B_A2 = 250.0


def half_maps(noise=1.0, reach_px=9, seed=0):
    """White signal inside a ball, blurred by B_A2, and independent noise everywhere; zyx float32."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(N, N, N)) * shell_mask(N, 0, reach_px)
    signal = filters.filtered(8 * signal, filters.b_factor(B_A2, PIXEL_A))
    return tuple((signal + noise * rng.normal(size=signal.shape)).astype(np.float32) for _ in range(2)), signal


def assess(halves, mask=None, **options):
    unmasked = fsc.fourier_shell_correlation(*halves)
    first = fsc.first_below(unmasked, 0.8)
    return postprocess.assess(halves, unmasked, PIXEL_A, mask, first, **options)


def test_a_mask_lets_the_fsc_reach_further():
    halves, _ = half_maps()
    mask = shell_mask(N, 0, 11, 5)
    bare, masked = assess(halves), assess(halves, mask)
    assert bare.corrected is None and bare.part_mask is None and bare.used is bare.unmasked
    assert masked.resolution_A < bare.resolution_A
    assert not masked.mask_refused and not masked.mask_too_tight
    np.testing.assert_array_equal(masked.unmasked, bare.unmasked)
    np.testing.assert_array_equal(masked.corrected[: masked.first_random + 2], masked.masked[: masked.first_random + 2])
    assert masked.interpolated_A <= masked.resolution_A
    assert masked.shell_A(4) == 20.0


def test_a_mask_beside_the_molecule_is_refused_unless_forced():
    halves, _ = half_maps(noise=0.3)
    mask = shell_mask(N, 0, 5, 2, (14, 14, 14))
    found = assess(halves, mask)
    assert found.mask_refused
    np.testing.assert_array_equal(found.used, found.unmasked)
    forced = assess(halves, mask, force_mask=True)
    assert not forced.mask_refused and forced.resolution_A > found.resolution_A


def test_a_tight_mask_is_noticed():
    """A mask of a few voxels correlates the phases of neighbours up to high resolution."""
    halves, _ = half_maps(noise=0.5)
    assert assess(halves, shell_mask(N, 0, 1.5), force_mask=True).randomised[5:].mean() > 0.1


def test_curves_are_a_function_of_the_seed():
    halves, _ = half_maps()
    mask = shell_mask(N, 0, 10, 3)
    first, again, other = (assess(halves, mask, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.randomised, again.randomised)
    assert np.abs(first.randomised - other.randomised).max() > 1e-3
    np.testing.assert_array_equal(first.masked, other.masked)


def test_part_volume_by_mass():
    halves, _ = half_maps()
    found = assess(halves, mass_kDa=50.0)
    assert found.factor_mass == pytest.approx(0.476 * (N * PIXEL_A) ** 3 * 0.81 / 50000)
    np.testing.assert_allclose(found.part_mass, fsc.part_volume(found.unmasked, found.factor_mass))


def test_the_b_factor_of_the_signal_is_found_and_undone():
    _, signal = half_maps(noise=0.0, reach_px=N)
    made = postprocess.sharpened(signal, PIXEL_A, Recipe(fit_A=(20.0, 4.2)))
    assert made.b_factor_A2 == pytest.approx(-B_A2, rel=0.03)  # small shells have a mean amplitude that scatters
    flat = made.log_amplitudes["sharpened"][4:19]
    assert np.ptp(flat) < 0.25 and np.ptp(made.log_amplitudes["original"][4:19]) > 3
    assert list(made.log_amplitudes) == ["original", "sharpened"] and made.fit is not None


def test_steps_act_in_order_on_the_transform():
    halves, _ = half_maps()
    weights = np.linspace(1, 0, N // 2 + 1)
    mtf = (np.array([0.0, 0.5]), np.array([1.0, 0.5]))
    recipe = Recipe(mtf=mtf, weights=weights, b_factor_A2=-60.0, low_pass_shell=12, edge_shells=4)
    made = postprocess.sharpened(halves[0], PIXEL_A, recipe)
    ft = np.fft.fftn(halves[0].astype(float))
    u = np.sqrt(sum(x * x for x in np.meshgrid(*[np.fft.fftfreq(N)] * 3)))
    shell = np.floor(N * u + 0.5).astype(int)
    gain = np.append(weights, 0)[np.minimum(shell, N // 2 + 1)] * np.exp(15 * (u / PIXEL_A) ** 2) * (u <= 0.5)
    gain *= 0.5 + 0.5 * np.cos(np.pi * np.clip((N * u - 10) / 4, 0, 1))
    gain[u < 0.5] /= 1 - u[u < 0.5]
    expected = np.fft.ifftn(ft * gain).real
    np.testing.assert_allclose(made.volume, expected, atol=2e-6 * np.abs(expected).max())
    assert set(made.log_amplitudes) == {"original", "mtf", "weighted", "sharpened"}
    assert made.volume.dtype == np.float32 and made.log_amplitudes["weighted"][-1] == sharpen.EMPTY_SHELL


def test_a_recipe_of_nothing_gives_the_map_back():
    halves, _ = half_maps()
    made = postprocess.sharpened(halves[0], PIXEL_A, Recipe())
    np.testing.assert_allclose(made.volume, halves[0], atol=1e-5)
    assert made.b_factor_A2 == 0 and made.fit is None
