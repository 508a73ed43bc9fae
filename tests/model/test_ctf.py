from types import SimpleNamespace

import numpy as np
import pytest

import oracles
from vitreous import backend
from vitreous.kernels_image import N_CTF_PARAMETERS, ctf_image
from vitreous.model import ctf
from vitreous.model.dataset import CtfColumns
from vitreous.model.optics import OpticsGroup


@pytest.fixture(scope="module")
def be():
    return backend.cpu(1)


def group(**values):
    return OpticsGroup("g", 1, 300.0, 2.7, 0.1, 1.2, 64, **values)


def frequencies(seed=1, n=200):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (2, n))


def test_parameter_table_has_the_columns_of_the_kernel():
    """One row by name, against the kernel's oracle in the order it reads."""
    own = CtfColumns.neutral(2)
    own.defocus_u_A[:], own.defocus_v_A[:], own.defocus_angle_deg[:] = 2e4, 1.8e4, 33
    own.b_factor_A2[:], own.ctf_scale[:], own.phase_shift_deg[:] = 40, 0.9, 12
    table = ctf.parameter_table(own, [group(), OpticsGroup("h", 2, 200.0, 1.4, 0.07, 1.2, 64)], [1, 0])
    assert table.shape == (2, N_CTF_PARAMETERS) == (2, len(ctf.PARAMETERS))
    np.testing.assert_array_equal(table[0], [2e4, 1.8e4, 33, 200, 1.4, 0.07, 12, 40, 0.9])
    np.testing.assert_array_equal(table[1, 3:6], [300, 2.7, 0.1])


def test_parameter_table_prefers_a_rows_own_voltage():
    own = CtfColumns(*(np.zeros(2) for _ in range(6)), voltage_kV=np.array([120.0, 80.0]))
    np.testing.assert_array_equal(ctf.parameter_table(own, [group()], [0, 0])[:, 3], [120, 80])


def test_frequencies_apply_the_magnification():
    fx, fy = ctf.frequencies([1, 0, 4], [0, 2, -3], 64, 1.5)
    np.testing.assert_allclose([fx, fy], np.array([[1, 0, 4], [0, 2, -3]]) / 96)
    gx, gy = ctf.frequencies([1, 0, 4], [0, 2, -3], 64, 1.5, [[1.01, 0.002], [-0.003, 0.99]])
    np.testing.assert_allclose(gx, 1.01 * fx + 0.002 * fy)
    np.testing.assert_allclose(gy, -0.003 * fx + 0.99 * fy)


@pytest.mark.parametrize("j, polynomial", list(enumerate([
    lambda x, y, r: 1 + 0 * x,
    lambda x, y, r: 2 * x * y,
    lambda x, y, r: 2 * r**2 - 1,
    lambda x, y, r: x**2 - y**2,
    lambda x, y, r: 4 * x**3 * y - 4 * x * y**3,
    lambda x, y, r: (4 * r**2 - 3) * 2 * x * y,
    lambda x, y, r: 6 * r**4 - 6 * r**2 + 1,
])))
def test_even_zernike_phase_matches_cartesian_polynomials(j, polynomial):
    x, y = frequencies()
    phase = ctf.even_zernike_phase([0] * j + [1.5], x, y)
    np.testing.assert_allclose(phase, 1.5 * polynomial(x, y, np.hypot(x, y)), atol=1e-14)
    np.testing.assert_allclose(ctf.even_zernike_phase([0] * j + [1.5], -x, -y), phase, atol=1e-14)


@pytest.mark.parametrize("j, polynomial", list(enumerate([
    lambda x, y, r: y,
    lambda x, y, r: x,
    lambda x, y, r: 3 * x**2 * y - y**3,
    lambda x, y, r: (3 * r**2 - 2) * y,
    lambda x, y, r: (3 * r**2 - 2) * x,
    lambda x, y, r: x**3 - 3 * x * y**2,
])))
def test_odd_zernike_phase_matches_cartesian_polynomials(j, polynomial):
    x, y = frequencies()
    phase = ctf.odd_zernike_phase([0] * j + [1.5], x, y)
    np.testing.assert_allclose(phase, 1.5 * polynomial(x, y, np.hypot(x, y)), atol=1e-14)
    np.testing.assert_allclose(ctf.odd_zernike_phase([0] * j + [1.5], -x, -y), -phase, atol=1e-14)


def test_odd_coefficients_of_a_beam_tilt_give_coma(be):
    """-2 pi Cs lambda^2 |u|^2 (t . u), lengths in A and the tilt in rad."""
    x, y = frequencies()
    tilted = group(beam_tilt_mrad=(0.4, -0.7))
    phase = ctf.odd_zernike_phase(ctf.odd_coefficients(be, tilted), x, y)
    wavelength = 0.019687  # at 300 kV
    expected = -2 * np.pi * 2.7e7 * wavelength**2 * (x**2 + y**2) * (0.4e-3 * x - 0.7e-3 * y)
    np.testing.assert_allclose(phase, expected, rtol=1e-4, atol=1e-9)
    both = group(beam_tilt_mrad=(0.4, -0.7), odd_zernike=(0.3,))
    np.testing.assert_allclose(ctf.odd_zernike_phase(ctf.odd_coefficients(be, both), x, y), phase + 0.3 * y, atol=1e-12)


def test_demodulation_is_the_conjugate_phase_factor(be):
    x, y = frequencies()
    aberrated = group(odd_zernike=(0, 0, 30.0))
    re, im = ctf.demodulation(be, aberrated, x, y)
    expected = np.exp(-1j * ctf.odd_zernike_phase([0, 0, 30.0], x, y))
    np.testing.assert_allclose(re + 1j * im, expected, atol=1e-7)
    assert re.dtype == np.float32


def test_groups_without_aberrations_have_no_tables(be):
    x, y = frequencies()
    assert ctf.demodulation(be, group(), x, y) is None and ctf.even_phase(group(), x, y) is None
    assert ctf.demodulation(be, group(odd_zernike=(0.0, 0.0)), x, y) is None


def test_even_phase_enters_the_ctf(be):
    """A symmetric term 2 r^2 - 1 is a defocus and a constant phase: the CTF must be that of the changed defocus."""
    x, y = frequencies()
    own = CtfColumns.neutral(1)
    own.defocus_u_A[:] = own.defocus_v_A[:] = 1.5e4
    table = ctf.parameter_table(own, [group()], [0])
    out = ctf_image(be, x, y, table, ctf.even_phase(group(even_zernike=(4.0, 0.0, 4.0)), x, y))
    wavelength = be.lib.electron_wavelength_A(300.0)
    table[:, :2] -= 8.0 / (np.pi * wavelength)
    np.testing.assert_allclose(out, oracles.ctf(x, y, table), atol=2e-6)


def test_electron_wavelength_at_the_usual_voltages(be):
    for kV, wavelength_A in ((100, 0.037014), (200, 0.025079), (300, 0.019687)):
        assert be.lib.electron_wavelength_A(float(kV)) == pytest.approx(wavelength_A, abs=1e-6)


def test_tables_need_no_class_of_ours(be):
    plain = SimpleNamespace(odd_zernike=[0.1], beam_tilt_mrad=[0, 0], even_zernike=[], voltage_kV=300, Cs_mm=2.7)
    assert ctf.demodulation(be, plain, *frequencies()).shape == (2, 200)
