"""Filters: gains by their definition, transforms that invert each other, any sides."""

import numpy as np
import pytest

from vitreous.engine import filters

SHAPES = [(12, 12), (9, 14), (8, 8, 8), (7, 10, 6), (1, 9, 12)]


def image(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def full_radius(shape):
    """|u| of every coefficient of the whole transform."""
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.sqrt(sum(axis**2 for axis in axes))


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_undoes_forward(shape):
    x = image(shape)
    np.testing.assert_allclose(filters.inverse(filters.forward(x), shape), x, atol=1e-13)
    assert filters.forward(x).flat[0] == pytest.approx(x.mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_filtered_is_a_product_in_the_whole_transform(shape):
    x, gain = image(shape), lambda u: 1 / (1 + 9 * u**2)
    expected = np.fft.ifftn(np.fft.fftn(x) * gain(full_radius(shape))).real
    np.testing.assert_allclose(filters.filtered(x, gain), expected, atol=1e-13)


def test_filtered_keeps_float32_and_its_input():
    x = image((8, 10), dtype=np.float32)
    before = x.copy()
    out = filters.filtered(x, filters.low_pass(3, 10))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("axis, i", [("X", 2), ("Y", 1), ("Z", 0)])
def test_an_axis_alone_is_filtered(axis, i):
    x, gain = image((6, 8, 9)), filters.low_pass(2, 9)
    along = np.abs(np.fft.fftfreq(x.shape[i])).reshape([-1 if j == i else 1 for j in range(3)])
    expected = np.fft.ifftn(np.fft.fftn(x) * gain(along)).real
    np.testing.assert_allclose(filters.filtered(x, gain, axis), expected, atol=1e-13)


def test_low_pass_edge_is_centred_on_the_cutoff():
    gain = filters.low_pass(10, 40, edge_shells=4)
    np.testing.assert_allclose(
        gain(np.array([0, 8, 9, 10, 11, 12, 20]) / 40),
        [1, 1, 0.5 + 0.5 * np.sqrt(0.5), 0.5, 0.5 - 0.5 * np.sqrt(0.5), 0, 0],
        atol=1e-12,
    )
    np.testing.assert_array_equal(filters.low_pass(10, 40, 0)(np.array([9.9, 10, 10.1]) / 40), [1, 1, 0])


def test_high_and_low_pass_add_to_one():
    u = np.linspace(0, 0.8, 50)
    np.testing.assert_allclose(filters.low_pass(7, 30)(u) + filters.high_pass(7, 30)(u), 1)


def test_cutoff_shell_rounds_halves_upwards():
    assert filters.cutoff_shell(50, 1.0, 20.0) == 3 and filters.cutoff_shell(48, 4.0, 20.0) == 10


def test_b_factor_halves_the_exponent_s_rate_and_ends_at_nyquist():
    gain = filters.b_factor(100.0, 2.0)
    np.testing.assert_allclose(gain(np.array([0, 0.25, 0.5, 0.51])), [1, np.exp(-25 * 0.125**2), np.exp(-25 / 16), 0])
    u = np.linspace(0, 0.5, 9)
    np.testing.assert_allclose(gain(u) * filters.b_factor(-100.0, 2.0)(u), 1)


def test_blob_detector_answers_most_to_its_own_diameter():
    x = np.arange(96) - 48
    sigma = 6.0
    blob = np.exp(-(x[:, None] ** 2 + x**2) / (2 * sigma**2))
    diameters = np.arange(8.0, 60.0, 1.0)
    response = [filters.filtered(blob, filters.blob_detector(d, 1.0))[48, 48] for d in diameters]
    # the response of a 2D Gaussian is largest where the filter's sigma, d / pi in px, equals the blob's
    assert diameters[int(np.argmax(response))] == pytest.approx(np.pi * sigma, abs=1.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_shell_sums_count_the_whole_transform(shape):
    n, values = max(shape), np.abs(filters.forward(image(shape)))
    stack = values.reshape(-1, *values.shape[-2:])
    total, count = filters.shell_sums(shape, lambda i: (stack[i],), equal_pairs=True)
    shell = np.floor(n * full_radius(shape) + 0.5).astype(int)
    whole = np.abs(np.fft.fftn(image(shape))) / np.prod(shape)
    np.testing.assert_allclose(count, np.bincount(shell.ravel())[: n // 2 + 1])
    np.testing.assert_allclose(total, np.bincount(shell.ravel(), whole.ravel())[: n // 2 + 1])


def test_pair_weights_of_stored_coefficients():
    np.testing.assert_array_equal(filters.pair_weights(6, True), [1, 2, 2, 1])
    np.testing.assert_array_equal(filters.pair_weights(5, True), [1, 2, 2])
    np.testing.assert_array_equal(filters.pair_weights(6, False), [1, 1, 1, 1])
