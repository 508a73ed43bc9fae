import numpy as np
import pytest

from vitreous.model.volume import VolumeLattice, interpolation_envelope, radius_px


@pytest.mark.parametrize(
    "box, padding, radius_px, side, radius", [(60, 2, 30, 120, 60), (60, 1, 30, 60, 30), (40, 1.5, 7, 60, 11)]
)
def test_lattice_holds_what_a_slice_reads(box, padding, radius_px, side, radius):
    lattice = VolumeLattice(box, padding, radius_px)
    assert (lattice.side, lattice.radius) == (side, radius)
    assert lattice.nx - 1 >= lattice.radius + 1 and lattice.ny == 2 * lattice.nx - 1
    assert lattice.n_samples == np.prod(lattice.shape)


def test_lattice_distance_and_shell():
    lattice = VolumeLattice(16, 2, 8)
    distance = lattice.distance(lattice.nx - 1 + 4)  # the plane kz = 4
    assert distance[lattice.nx - 1, 3] == 5.0 and distance[lattice.nx - 1 - 3, 0] == 5.0
    np.testing.assert_array_equal(lattice.shell(np.array([0.9, 1.1, 2.9, 3.1, 40])), [0, 1, 1, 2, 8])


def test_radius_of_some_planes():
    np.testing.assert_array_equal(radius_px(8, slice(2, 4)), radius_px(8)[2:4])
    assert radius_px(8)[4, 4, 4] == 0 and radius_px(8)[0, 4, 4] == 4


def test_envelope_of_one_interpolation_is_radial():
    once = interpolation_envelope(16, 32)
    np.testing.assert_allclose(once, np.sinc(radius_px(16) / 32) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(interpolation_envelope(16, 32, slice(3, 5)), once[3:5])


def test_envelope_of_copies_spares_the_axis_that_rotations_keep():
    once, c7 = interpolation_envelope(16, 32), interpolation_envelope(16, 32, copies=(1, 0, 0, 6, 0))
    np.testing.assert_allclose(c7[:, 8, 8], once[:, 8, 8], rtol=1e-6)  # on the axis nothing is interpolated
    x = np.sinc(np.arange(-8, 8) / 32) ** 2
    np.testing.assert_allclose(c7[8, 8], x * (1 + 6 * x) / 7, rtol=1e-6)
    np.testing.assert_allclose(interpolation_envelope(16, 32, copies=(0, 0, 0, 0, 5)), once**2, rtol=1e-6)
