import numpy as np
import pytest

import oracles
from tolerances import RTOL
from vitreous.kernels_image import ctf_image

OPTIONS = ["intact_first_peak", "phase_flipped", "only_flip_phases", "premultiplied"]


def case(n_i=5, n_k=801, seed=1):
    """Frequencies up to 1/2 1/A, defocus up to 5 um: the phase reaches hundreds of radians."""
    rng = np.random.default_rng(seed)
    fx, fy = rng.uniform(0, 0.5, n_k) ** 0.5 * 0.5, rng.uniform(-0.35, 0.35, n_k)
    p = np.empty((n_i, 9))
    p[:, 0] = rng.uniform(5e3, 5e4, n_i)
    p[:, 1] = p[:, 0] * rng.uniform(0.9, 1.0, n_i)
    p[:, 2] = rng.uniform(-180, 180, n_i)
    p[:, 3] = rng.choice([100, 200, 300], n_i)
    p[:, 4] = rng.uniform(0, 2.7, n_i)
    p[:, 5] = rng.uniform(0.0, 0.2, n_i)
    p[:, 6] = rng.uniform(0, 180, n_i)
    p[:, 7] = rng.uniform(-10, 100, n_i)
    p[:, 8] = rng.uniform(0.2, 1.5, n_i)
    return fx, fy, p


def tolerance(fx, fy, p):
    """Absolute: the wave is wrong by RTOL whatever its value, the envelope scales it."""
    return RTOL["ctf_image"] * np.maximum(1, p[:, 8] * np.exp(-p[:, 7] / 4 * (fx**2 + fy**2).max())).max()


@pytest.mark.parametrize("n_k", [1, 15, 801, 5000])
def test_ctf_image_matches_oracle(be, n_k):
    fx, fy, p = case(n_k=n_k)
    out = be.to_host(ctf_image(be, fx, fy, p))
    np.testing.assert_allclose(out, oracles.ctf(fx, fy, p), rtol=0, atol=tolerance(fx, fy, p))


@pytest.mark.parametrize("option", OPTIONS)
def test_ctf_image_options_match_oracle(be, option):
    fx, fy, p = case()
    fx[::4] *= 0.02  # so that some lie before the first peak
    fy[::4] *= 0.02
    p[:, 6] *= 0.2
    out = be.to_host(ctf_image(be, fx, fy, p, **{option: True}))
    expected, signed = oracles.ctf(fx, fy, p, **{option: True}), oracles.ctf(fx, fy, p)
    sure = np.abs(signed) > 1e-4  # the sign at a zero, and the end of the first peak, may differ by rounding
    assert sure.mean() > 0.9
    np.testing.assert_allclose(out[sure], expected[sure], rtol=0, atol=3 * tolerance(fx, fy, p))
    assert not np.allclose(expected, signed)


def test_ctf_image_adds_the_even_phase(be):
    fx, fy, p = case()
    even = (40 * np.sin(np.arange(len(fx)))).astype(np.float32)
    out = be.to_host(ctf_image(be, fx, fy, p, be.to_device(even)))
    np.testing.assert_allclose(out, oracles.ctf(fx, fy, p, even.astype(float)), rtol=0, atol=tolerance(fx, fy, p))


def test_ctf_image_at_zero_frequency_is_the_amplitude_contrast(be):
    p = np.array([[2e4, 1.9e4, 30, 300, 2.7, 0.07, 0, 50, 1]])
    assert be.to_host(ctf_image(be, np.zeros(1), np.zeros(1), p))[0, 0] == pytest.approx(0.07, abs=1e-6)


def test_ctf_image_astigmatism_lies_along_its_angle(be):
    """Along the angle the CTF is that of defocus u alone, across it that of v."""
    f, angle = np.linspace(0.01, 0.3, 50), 25.0
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    p = np.array([[2e4, 1.5e4, angle, 300, 2.7, 0.1, 0, 0, 1]])
    for direction, defocus in (((c, s), 2e4), ((-s, c), 1.5e4)):
        round_p = p.copy()
        round_p[0, :3] = defocus, defocus, 0
        along = be.to_host(ctf_image(be, f * direction[0], f * direction[1], p))
        np.testing.assert_allclose(along, be.to_host(ctf_image(be, f, 0 * f, round_p)), atol=1e-5)


def test_ctf_image_envelope_falls_as_the_b_factor_says(be):
    fx, fy, p = case()
    p[:, 7], p[:, 8] = 0, 1
    bare = be.to_host(ctf_image(be, fx, fy, p))
    p[:, 7], p[:, 8] = 80, 0.5
    damped = be.to_host(ctf_image(be, fx, fy, p))
    np.testing.assert_allclose(damped, 0.5 * bare * np.exp(-20 * (fx**2 + fy**2)), rtol=5e-6, atol=1e-7)


def test_ctf_image_keeps_nan_in_its_row(be):
    fx, fy, p = case(3)
    p[1, 0] = np.nan
    for options in ({}, {"only_flip_phases": True}):
        out = be.to_host(ctf_image(be, fx, fy, p, **options))
        assert np.isnan(out[1]).all() and np.isfinite(out[[0, 2]]).all()


def test_ctf_image_is_zero_where_the_envelope_underflows(be):
    p = np.array([[2e4, 2e4, 0, 300, 2.7, 0.1, 0, 1e5, 1]])
    assert be.to_host(ctf_image(be, np.full(3, 0.4), np.zeros(3), p)).tolist() == [[0, 0, 0]]


def test_ctf_image_refuses_a_table_with_missing_columns(be):
    fx, fy, p = case()
    with pytest.raises(ValueError, match=r"ctf_image: parameters has shape \(5, 8\), expected \(any, 9\)"):
        ctf_image(be, fx, fy, p[:, :8])
    with pytest.raises(TypeError, match="even_phase_rad: dtype is <f8, expected <f4"):
        ctf_image(be, fx, fy, p, np.zeros(len(fx)))
