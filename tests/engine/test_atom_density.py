"""The potential of atoms against the sum of their scattering factors, in Fourier space and double precision."""

import numpy as np
import pytest

from vitreous.engine.atom_density import density
from vitreous.model.atoms import Atoms

# Two made-up elements with the sharp and the broad terms that real ones have (0.2 to 60 A^2).
AMPLITUDE_A = np.array([[0.1, 0.3, 0.8, 1.0, 0.3], [0.2, 0.6, 1.8, 2.5, 1.4]])
WIDTH_A2 = np.array([[0.2, 1.7, 6.4, 18.6, 50.0], [0.3, 2.0, 8.0, 30.0, 60.0]])


def some_atoms(n=12, reach_A=10.0, b_factor_A2=60.0):
    rng = np.random.default_rng(5)
    return Atoms(rng.uniform(-reach_A, reach_A, (n, 3)), rng.integers(0, 2, n), rng.uniform(0, b_factor_A2, n),
                 rng.uniform(0.3, 1, n), AMPLITUDE_A, WIDTH_A2)  # fmt: skip


def structure_factors(atoms, box, pixel_size_A):
    """sum of occupancy f exp(-B f^2 / 4) exp(-2 pi i k r), (box, box, box), and which lie within the Nyquist sphere."""
    f = np.fft.fftfreq(box, pixel_size_A)
    kz, ky, kx = np.meshgrid(f, f, f, indexing="ij")
    f2 = kx**2 + ky**2 + kz**2
    total = np.zeros(f2.shape, complex)
    for (x, y, z), kind, b, occupancy in zip(atoms.position_A, atoms.kind, atoms.b_factor_A2, atoms.occupancy):
        factor = sum(a * np.exp(-(w + b) * f2 / 4) for a, w in zip(AMPLITUDE_A[kind], WIDTH_A2[kind]))
        total += occupancy * factor * np.exp(-2j * np.pi * (kx * x + ky * y + kz * z))
    return total, f2 < (0.5 / pixel_size_A) ** 2


@pytest.mark.parametrize(("box", "pixel_size_A"), [(48, 1.2), (32, 2.0), (30, 2.5), (16, 5.0)])
def test_density_is_the_transform_of_the_scattering_factors(box, pixel_size_A):
    atoms = some_atoms()
    expected, inside = structure_factors(atoms, box, pixel_size_A)
    found = np.fft.fftn(np.fft.ifftshift(density(atoms, box, pixel_size_A).astype(float))) * pixel_size_A**3
    # 1e-3 of what lies beyond the band folds back at its rim, where these atoms have at most a tenth of their strength
    assert np.abs(found - expected)[inside].max() < 1e-4 * np.abs(expected).max()
    assert np.abs(found)[~inside].max() < 1e-6 * np.abs(expected).max()  # float32


def test_density_of_one_atom_is_centred_and_round():
    atom = Atoms(np.zeros((1, 3)), np.zeros(1, int), np.array([80.0]), np.ones(1), AMPLITUDE_A, WIDTH_A2)
    volume = density(atom, 24, 1.5)
    assert np.unravel_index(np.argmax(volume), volume.shape) == (12, 12, 12)
    np.testing.assert_allclose(volume.sum() * 1.5**3, AMPLITUDE_A[0].sum(), rtol=1e-5)
    np.testing.assert_allclose(volume[1:, 1:, 1:], volume[1:, 1:, 1:][::-1, ::-1, ::-1], atol=1e-5 * volume.max())


def test_density_adds_up():
    atoms = some_atoms(n=6)
    parts = sum(density(Atoms(atoms.position_A[i : i + 1], atoms.kind[i : i + 1], atoms.b_factor_A2[i : i + 1],
                              atoms.occupancy[i : i + 1], AMPLITUDE_A, WIDTH_A2), 32, 2.0) for i in range(6))  # fmt: skip
    np.testing.assert_allclose(density(atoms, 32, 2.0), parts, atol=2e-6 * np.abs(parts).max())  # float32 sums of six


def test_density_refuses_atoms_outside_of_the_box():
    with pytest.raises(ValueError, match="outside of the box"):
        density(some_atoms(reach_A=10.0), 16, 1.2)
