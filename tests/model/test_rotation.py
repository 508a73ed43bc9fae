import numpy as np
import pytest

from vitreous.model import rotation


def random_euler(n, seed=1):
    rng = np.random.default_rng(seed)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1, 1, n)))
    return np.stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n)], 1)


def axis_rotation(axis, angle_deg):
    """Counter-clockwise about one axis, by the definition."""
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.eye(3)
    out[i, i] = out[j, j] = c
    out[i, j], out[j, i] = -s, s
    return out


def test_euler_to_matrix_is_the_transpose_of_intrinsic_zyz():
    for (rot, tilt, psi), a in zip(random_euler(20), rotation.euler_to_matrix(random_euler(20))):
        intrinsic = axis_rotation("z", rot) @ axis_rotation("y", tilt) @ axis_rotation("z", psi)
        np.testing.assert_allclose(a, intrinsic.T, atol=1e-15)


def test_euler_to_matrix_third_row_is_the_direction():
    a = rotation.euler_to_matrix([[30, 90, 50], [0, 0, 70], [0, 180, 0]])
    np.testing.assert_allclose(a[:, 2], [[np.sqrt(3) / 2, 0.5, 0], [0, 0, 1], [0, 0, -1]], atol=1e-15)


def test_matrix_to_euler_inverts():
    euler = random_euler(1000)
    np.testing.assert_allclose(rotation.matrix_to_euler(rotation.euler_to_matrix(euler)), euler, atol=1e-9)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_matrix_to_euler_at_the_pole_keeps_the_matrix(tilt):
    a = rotation.euler_to_matrix([35.0, tilt, 50.0])
    euler = rotation.matrix_to_euler(a)
    assert euler[0] == 0 and euler[1] == pytest.approx(tilt, abs=1e-9)
    np.testing.assert_allclose(rotation.euler_to_matrix(euler), a, atol=1e-14)


def test_in_plane_matrix_is_c_s_minus_s_c():
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    np.testing.assert_allclose(rotation.in_plane_matrix([20.0]), [[[c, s], [-s, c]]], atol=1e-15)
    assert rotation.in_plane_matrix(np.zeros((2, 3))).shape == (2, 3, 2, 2)


def test_tilt_to_matrix_turns_about_x_then_y_then_z():
    tilts = [[10, 20, 85], [-3, -60, 5]]
    for (x, y, z), r in zip(tilts, rotation.tilt_to_matrix(tilts)):
        np.testing.assert_allclose(r, axis_rotation("z", z) @ axis_rotation("y", y) @ axis_rotation("x", x), atol=1e-15)


def test_psi_distance_wraps():
    np.testing.assert_allclose(rotation.psi_distance_deg([179, 0, 10, -180], [-179, 180, 375, 180]), [2, 180, 5, 0])


def test_angular_distance_of_a_turn_about_the_view_is_two_thirds_of_it():
    """The first two rows turn by the angle, the third not at all."""
    a = rotation.euler_to_matrix([40, 50, 10])
    b = rotation.euler_to_matrix([40, 50, 25])
    assert rotation.angular_distance_deg(a, b) == pytest.approx(10)
    assert rotation.angular_distance_deg(a, a) == 0


def test_angular_distance_keeps_small_angles():
    a, b = rotation.euler_to_matrix([40, 50, 10]), rotation.euler_to_matrix([40, 50, 10 + 3e-6])
    assert rotation.angular_distance_deg(a, b) == pytest.approx(2e-6, rel=1e-6)


def test_angular_distance_is_zero_between_symmetry_mates():
    c4 = np.stack([axis_rotation("z", 90 * i) for i in range(4)])
    a = rotation.euler_to_matrix(random_euler(10))
    assert rotation.angular_distance_deg(a, a @ c4[1]).min() > 1
    np.testing.assert_allclose(rotation.angular_distance_deg(a, a @ c4[1], c4), 0, atol=1e-6)
