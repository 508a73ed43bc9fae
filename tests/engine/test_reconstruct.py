"""References to slices and back, against closed forms."""

import numpy as np
import pytest

from vitreous import backend, kernels
from vitreous.engine.reconstruct import (
    Lattice,
    add_friedel_mates,
    gridding_correction,
    low_pass,
    reference_transform,
    shell_mean,
    wiener,
)
from vitreous.model.band import Band

BOX = 32
# x, y, standard deviation (px), height: blobs well inside the box whose transforms end before Nyquist.
BLOBS = ((3.0, -2.0, 2.0, 1.0), (-4.0, 1.0, 1.6, 0.7), (1.0, 5.0, 2.4, -0.5))


def turned(psi_deg):
    c, s = np.cos(np.radians(psi_deg)), np.sin(np.radians(psi_deg))
    return [(c * x + s * y, -s * x + c * y, sigma, height) for x, y, sigma, height in BLOBS]


def image(blobs):
    x = np.arange(BOX) - BOX // 2
    gauss = lambda c, sigma: np.exp(-((x - c) ** 2) / (2 * sigma**2))
    return sum(height * np.outer(gauss(y, sigma), gauss(x_, sigma)) for x_, y, sigma, height in blobs)


def transform(blobs, kx, ky):
    """Of the continuous blobs, on the scale of FFT / n^2, phases referred to the centre."""
    f2 = (kx**2 + ky**2) / BOX**2
    return (
        sum(
            height * 2 * np.pi * sigma**2 * np.exp(-2 * np.pi**2 * sigma**2 * f2 - 2j * np.pi * (kx * x + ky * y) / BOX)
            for x, y, sigma, height in blobs
        )
        / BOX**2
    )


@pytest.fixture(scope="module")
def cpu():
    return backend.cpu(2)


def slices(be, reference, lattice, psi_deg, band):
    ft, power = reference_transform(reference[None].astype(np.float32), lattice)
    angle = np.radians(psi_deg)
    matrix = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    matrix = (matrix * lattice.side / BOX).astype(np.float32)
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    rows = np.zeros(len(psi_deg), np.int32)
    return kernels.project(be, ft, rows, matrix, kx, ky, lattice.reach), rows, matrix, kx, ky, power


@pytest.mark.parametrize("padding", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_slices_of_blobs_are_their_closed_form(cpu, padding):
    """Bilinear reads err by (pi r / (p n))^2 / 3 at most, r the distance from the centre: 0.1 / p^2 for these blobs."""
    lattice, band = Lattice(BOX, padding, BOX / 2), Band(BOX, 12)
    psi = np.array([0.0, 17.0, 45.0, 90.0, 133.0, 251.0])
    cut, *_ = slices(cpu, image(BLOBS), lattice, psi, band)
    for row, angle in zip(cut, psi):
        want = transform(turned(angle), band.kx, band.ky)
        assert np.abs(row[0] + 1j * row[1] - want).max() < 0.1 / padding**2 * np.abs(want).max()


def test_slices_on_the_rim_exist_at_every_angle(cpu):
    """A pixel at the very radius in use is inside whatever the rounding of its turn."""
    lattice, band = Lattice(BOX, 2.0, 10), Band(BOX, 10)
    point = np.zeros((BOX, BOX))
    point[BOX // 2, BOX // 2] = 1
    cut, *_ = slices(cpu, point, lattice, np.arange(0, 360, 3.7), band)
    rim = band.k2 == 100
    assert rim.sum() == 6  # (10, 0), (0, 10), (6, +-8), (8, +-6)
    # Bilinear reads at the rim take samples beyond it, too, which are zero: a share of the value, but never nothing.
    assert np.all(cut[:, 0][:, rim] > 0.02 / BOX**2)


def test_slices_of_the_untilted_map_are_its_samples(cpu):
    lattice, band = Lattice(BOX, 2.0, BOX / 2), Band(BOX, 12)
    cut, *_ = slices(cpu, image(BLOBS), lattice, np.array([0.0]), band)
    # On lattice points nothing is interpolated: the transform of the map over sinc^2.
    corrected = image(BLOBS) / gridding_correction(BOX, 2.0)
    want = np.fft.fft2(np.fft.ifftshift(corrected))[band.ky, band.kx] / BOX**2
    np.testing.assert_allclose(cut[0, 0] + 1j * cut[0, 1], want, atol=1e-6 * np.abs(want).max())


def test_reference_power_is_the_variance_per_component():
    """White noise of variance 1 has 1 / (2 n^2) in every shell."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, BOX, BOX)).astype(np.float32) * gridding_correction(BOX, 2.0).astype(np.float32)
    _, power = reference_transform(noise, Lattice(BOX, 2.0, BOX / 2))
    np.testing.assert_allclose(
        power.mean(0)[3:-1], 1 / (2 * BOX**2), rtol=0.1
    )  # 60 maps of 10 or more free pixels a shell


def test_low_cut_hides_shells_but_keeps_their_power():
    lattice = Lattice(BOX, 2.0, BOX / 2)
    ft, power = reference_transform(image(BLOBS)[None].astype(np.float32), lattice)
    cut, same = reference_transform(image(BLOBS)[None].astype(np.float32), lattice, low_cut_px=4)
    hidden = lattice.distance <= 8
    assert np.all(cut[0][hidden] == 0) and np.array_equal(cut[0][~hidden], ft[0][~hidden])
    np.testing.assert_array_equal(same, power)


def accumulate(be, reference, n_psi=180, radius=BOX / 2, padding=2.0, weight=1.0):
    """Data and weights of slices of a map at angles all around."""
    lattice, band = Lattice(BOX, padding, radius), Band(BOX, radius)
    cut, rows, matrix, kx, ky, power = slices(be, reference, lattice, np.arange(n_psi) * 360 / n_psi, band)
    data = np.zeros((1, lattice.ny, lattice.nx, 2))
    sums = np.zeros((1, lattice.ny, lattice.nx))
    w = np.full((n_psi, len(band)), weight, np.float32)
    kernels.backproject(be, cut * np.float32(weight), w, rows, matrix, kx, ky, lattice.reach, data, sums)
    add_friedel_mates(data, sums)
    return data, sums, lattice, power


def test_reconstruct_undoes_project(cpu):
    """Interpolated twice, out and back: in the disc that holds the blobs the map comes back."""
    data, weight, lattice, power = accumulate(cpu, image(BLOBS))
    result = wiener(data, weight, np.ones_like(power), lattice, use_prior=False)
    x = np.arange(BOX) - BOX // 2
    disc = np.hypot(x[:, None], x) < 11
    # As exact as the slices were.
    assert np.abs(result.maps[0] - image(BLOBS))[disc].max() < 0.02 * image(BLOBS).max()
    assert np.corrcoef(result.maps[0][disc], image(BLOBS)[disc])[0, 1] > 0.9995


def test_wiener_limits(cpu):
    """Much prior variance: the unregularised map; very little: nothing; no data: nothing; and half-way at SSNR 1."""
    data, weight, lattice, power = accumulate(cpu, image(BLOBS))
    free = wiener(data, weight, np.ones_like(power), lattice, use_prior=False)
    # By far enough that even the samples of least weight are free.
    loose = wiener(data, weight, np.full_like(power, 1e12), lattice)
    np.testing.assert_allclose(loose.maps, free.maps, atol=1e-5)
    tight = wiener(data, weight, np.full_like(power, 1e-12), lattice, minres_map=0)
    assert np.abs(tight.maps).max() < 1e-6 * np.abs(free.maps).max()
    empty = wiener(data * 0, weight * 0, power, lattice)
    for field in (empty.maps, empty.data_vs_prior, empty.sigma2, empty.coverage):
        assert np.all(field == 0)


def test_wiener_is_data_over_weight_and_prior():
    """On a flat lattice V = F / (W + 1 / (p^2 T tau2)), so W p^2 T tau2 = 1 halves it; SSNR and sigma2 as given."""
    lattice = Lattice(BOX, 2.0, BOX / 2)
    flat = np.where(lattice.inside, 5.0, 0.0)[None]
    data = np.stack([flat * 0.3, 0 * flat], -1)
    tau2 = np.full((1, BOX // 2 + 1), 1 / (4 * 2.0 * 5.0))  # p^2 = 4, T = 2, W = 5
    half = wiener(data, flat, tau2, lattice, tau2_fudge=2.0, minres_map=0)
    free = wiener(data, flat, tau2, lattice, tau2_fudge=2.0, use_prior=False)
    np.testing.assert_allclose(half.maps, free.maps / 2, atol=1e-6 * np.abs(free.maps).max())
    np.testing.assert_allclose(half.data_vs_prior, 1, rtol=1e-12)
    np.testing.assert_allclose(half.sigma2, 1 / (4 * 5.0), rtol=1e-12)
    np.testing.assert_allclose(half.coverage, 1)
    # Twice T: twice the SSNR.
    np.testing.assert_allclose(wiener(data, flat, tau2, lattice, tau2_fudge=4.0).data_vs_prior, 2, rtol=1e-12)


def test_wiener_least_resolution_has_no_prior():
    lattice = Lattice(BOX, 2.0, BOX / 2)
    flat = np.where(lattice.inside, 1.0, 0.0)[None]
    data = np.stack([flat, 0 * flat], -1)
    tight = wiener(data, flat, np.full((1, 17), 1e-9), lattice, minres_map=5).maps[0] * gridding_correction(BOX, 2.0)
    # What is left is a disc of 4 shells, of the fifth a part: a peak of its area and nothing fine.
    assert tight[16, 16] == pytest.approx(np.pi * 4**2, rel=0.06)
    high = np.abs(np.fft.fft2(tight))[0, 7:16]
    # The box cuts the rings around the peak off, and its corners are levelled.
    assert high.max() < 0.05 * np.abs(np.fft.fft2(tight)).max()


def test_wiener_without_a_prior_claims_no_signal():
    """A reference that was empty: the data alone, at any grey scale."""
    lattice = Lattice(BOX, 2.0, BOX / 2)
    for scale in (1e-3, 1.0, 1e6):
        flat = np.where(lattice.inside, scale, 0.0)[None]
        data = np.stack([flat * 0.3, 0 * flat], -1)
        result = wiener(data, flat, np.zeros((1, 17)), lattice, minres_map=0)
        free = wiener(data, flat, np.ones((1, 17)), lattice, use_prior=False)
        np.testing.assert_array_equal(result.maps, free.maps)
        assert np.all(result.data_vs_prior == 0) and np.all(result.coverage == 0)


def test_wiener_flat_map_reaches_the_edges():
    """Only the corners beyond the inscribed circle are replaced."""
    lattice = Lattice(BOX, 2.0, BOX / 2)
    x = np.arange(BOX) - BOX // 2
    edge = np.exp(-(((x - 14) ** 2)[None] + (x**2)[:, None]) / 4)
    ft, _ = reference_transform(edge[None].astype(np.float32), lattice)
    data = np.stack([ft.real, ft.imag], -1).astype(float)
    found = wiener(data, lattice.inside[None].astype(float), np.ones((1, 17)), lattice, use_prior=False).maps[0]
    found = (
        found * gridding_correction(BOX, 2.0) ** 2
    )  # the transform was not sampled by slices: undone twice for nothing
    assert found[16, 30] == pytest.approx(1, abs=0.02)
    assert found[16, 31] == pytest.approx(edge[16, 31], abs=0.02)


def test_shell_mean_counts_inside_samples_only():
    lattice = Lattice(BOX, 2.0, 8)
    values = np.where(lattice.inside, lattice.shell, 99)[None].astype(float)
    want = np.where(np.arange(17) <= 8, np.arange(17), 0)
    np.testing.assert_allclose(shell_mean(values, lattice)[0], want)


def test_low_pass_keeps_and_removes():
    """Unchanged to one shell below N a / d, half there, nothing from one shell above."""
    x = np.arange(BOX)
    for shell, want in ((5, 1), (7, 1), (8, 0.5), (9, 0), (12, 0)):
        wave = np.cos(2 * np.pi * shell * x / BOX)[None, None, :] * np.ones((1, BOX, 1))
        got = low_pass(wave.astype(np.float32), 2.0, BOX * 2.0 / 8)
        np.testing.assert_allclose(got, want * wave, atol=1e-5)
