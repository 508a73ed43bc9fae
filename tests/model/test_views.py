from dataclasses import replace

import numpy as np
import pytest

from vitreous.model import rotation, views
from vitreous.model.ctf import PARAMETERS
from vitreous.model.dataset import CtfColumns, Exposures, Particles
from vitreous.model.optics import OpticsGroup

GROUPS = [OpticsGroup("g", 1, 300.0, 2.7, 0.1, 1.2, 64), OpticsGroup("h", 2, 200.0, 1.4, 0.07, 1.2, 64)]
U, V = PARAMETERS.index("defocus_u_A"), PARAMETERS.index("defocus_v_A")


def ctf_columns(n, defocus_A=1e4):
    out = CtfColumns.neutral(n)
    out.defocus_u_A[:] = defocus_A + 100 * np.arange(n)
    out.defocus_v_A[:] = out.defocus_u_A - 500
    return out


def particles(n=4, n_sources=2, **columns):
    rng = np.random.default_rng(1)
    values = {"source": np.arange(n, dtype=np.int32) % n_sources, "optics": np.arange(n, dtype=np.int32) % 2,
              "euler_deg": rng.uniform(-90, 90, (n, 3)), "shift_A": rng.uniform(-9, 9, (n, 2))}
    return Particles.default(n, **(values | columns))


def tilted(n_sources=2, tilts=((0, 40, 10), (0, -40, 10)), image_shift=(3.0, -5.0)):
    """Two exposures per source."""
    m = n_sources * len(tilts)
    source = np.repeat(np.arange(n_sources, dtype=np.int32), len(tilts))
    dose = np.tile(3.0 * np.arange(len(tilts)), n_sources)
    tilt_deg, shift_A = np.tile(np.array(tilts, float), (n_sources, 1)), np.tile(image_shift, (m, 1))
    return Exposures(source, tilt_deg, shift_A, dose, ctf_columns(m))


def test_views_of_single_particles_are_the_particles():
    """One exposure at zero tilt: pose, shift and CTF come out as they are."""
    p = particles(ctf=ctf_columns(4))
    v = views.build(p, Exposures.single(2), GROUPS)
    np.testing.assert_array_equal(v.particle, range(4))
    np.testing.assert_allclose(v.rotation, rotation.euler_to_matrix(p.euler_deg))
    np.testing.assert_allclose(v.shift_A, p.shift_A)
    np.testing.assert_allclose(v.origin_A, -p.shift_A)
    np.testing.assert_array_equal(v.depth_A, 0)
    np.testing.assert_array_equal(v.ctf[:, U], p.ctf.defocus_u_A)
    np.testing.assert_array_equal(v.ctf[:, PARAMETERS.index("voltage_kV")], [300, 200, 300, 200])


def test_views_take_the_micrographs_ctf_where_particles_have_none():
    v = views.build(particles(), Exposures.single(2, ctf_columns(2)), GROUPS)
    np.testing.assert_array_equal(v.ctf[:, V], [9500, 9600, 9500, 9600])


def test_views_pair_every_particle_with_the_exposures_of_its_source():
    v = views.build(particles(5), tilted(), GROUPS)
    np.testing.assert_array_equal(v.particle, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    np.testing.assert_array_equal(v.exposure, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(v.source, [0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(v.dose_e_A2, np.tile([0, 3], 5))


def test_pair_keeps_the_order_of_interleaved_exposures():
    particle, exposure = views.pair([1, 0], [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(particle, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(exposure, [1, 3, 4, 0, 2])


def test_views_of_two_tilts_project_the_place():
    """At y tilt t the place (x, y, z) falls on x cos t + z sin t, y, and its depth is -x sin t + z cos t."""
    t = np.deg2rad(40)
    exposures = tilted(1, ((0, 40, 0), (0, -40, 0)))
    place, shift = np.array([[100.0, 50.0, 30.0]]), np.array([[4.0, -3.0, 2.0]])
    p = particles(1, 1, position_A=place, shift_A=shift)
    v = views.build(p, exposures, GROUPS, defocus_hand=-1)
    x, y, z = (place - shift)[0]
    for i, sign in enumerate((1, -1)):
        u = x * np.cos(t) + sign * z * np.sin(t)
        depth = -sign * x * np.sin(t) + z * np.cos(t)
        np.testing.assert_allclose(v.origin_A[i], [u + 3, y - 5])
        assert v.depth_A[i] == pytest.approx(depth)
        assert v.ctf[i, U] == pytest.approx(1e4 + 100 * i - depth)
        np.testing.assert_allclose(v.shift_A[i], [4 * np.cos(t) + sign * 2 * np.sin(t), -3])
        np.testing.assert_allclose(v.rotation[i], rotation.tilt_to_matrix([0, sign * 40, 0]) @
                                   rotation.euler_to_matrix(p.euler_deg[0]))


def test_views_turn_about_the_pivot():
    """A particle at the pivot stays there at every tilt."""
    pivot = np.array([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])
    p = particles(2, position_A=pivot.copy(), shift_A=np.zeros((2, 2)))
    v = views.build(p, tilted(image_shift=(0, 0)), GROUPS, pivot_A=pivot)
    np.testing.assert_allclose(v.origin_A, 0, atol=1e-12)
    np.testing.assert_allclose(v.depth_A, 0, atol=1e-12)


def test_views_shift_is_what_moves_the_origin():
    p = particles(3, shift_A=np.random.default_rng(2).normal(size=(3, 3)), position_A=np.ones((3, 3)))
    unshifted = views.build(replace(p, shift_A=np.zeros((3, 3))), tilted(), GROUPS)
    v = views.build(p, tilted(), GROUPS)
    np.testing.assert_allclose(v.origin_A, unshifted.origin_A - v.shift_A, atol=1e-12)


def test_views_rotate_the_reference_as_they_rotate_the_place():
    """A point r of the reference of a particle at p is seen where a particle at p + A r is."""
    p = particles(1, 1, position_A=np.array([[5.0, 6.0, 7.0]]), shift_A=np.zeros((1, 3)))
    v, r = views.build(p, tilted(1), GROUPS), np.array([1.0, -2.0, 3.0])
    moved = replace(p, position_A=p.position_A + rotation.euler_to_matrix(p.euler_deg) @ r)
    seen = views.build(moved, tilted(1), GROUPS).origin_A
    np.testing.assert_allclose(v.origin_A + (v.rotation @ r)[:, :2], seen, atol=1e-12)


def test_views_of_no_particles_are_none():
    assert len(views.build(particles(0), tilted(), GROUPS)) == 0


def test_views_refuse_a_source_without_exposures():
    with pytest.raises(ValueError, match="source 1 has particles but no exposure"):
        views.build(particles(), tilted(1), GROUPS)
