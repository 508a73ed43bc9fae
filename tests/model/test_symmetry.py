"""Point groups against their definition: closed, of the right order, and each orbit of directions met once."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.symmetry import Symmetry, view_directions

ORDERS = {"C1": 1, "c7": 7, "D2": 4, "d7": 14, "T": 12, "O": 24, "I": 60, "I1": 60, "i2": 60, "I3": 60, "I4": 60}


@pytest.mark.parametrize("name", ORDERS)
def test_symmetry_is_a_group_of_rotations(name):
    group = Symmetry.parse(name)
    r = group.rotations
    assert group.order == len(r) == ORDERS[name]
    np.testing.assert_array_equal(r[0], np.eye(3))
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.broadcast_to(np.eye(3), r.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-12)
    products = (r[:, None] @ r[None]).reshape(-1, 9)
    gap = np.abs(products[:, None] - r.reshape(-1, 9)[None]).max(-1)
    assert gap.min(1).max() < 1e-9  # every product is an element
    distinct = np.abs(r.reshape(-1, 9)[:, None] - r.reshape(-1, 9)[None]).max(-1) + 9 * np.eye(len(r))
    assert distinct.min() > 0.05


@pytest.mark.parametrize("name", ORDERS)
def test_symmetry_meets_every_direction_once(name):
    group = Symmetry.parse(name)
    directions = np.random.default_rng(1).normal(size=(3000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    mates = np.einsum("ni,oij->noj", directions, group.rotations).reshape(-1, 3)  # the direction of A R
    rot, tilt = np.degrees(np.arctan2(mates[:, 1], mates[:, 0])), np.degrees(np.arccos(mates[:, 2]))
    count = group.is_asymmetric(rot, tilt).reshape(len(directions), -1).sum(1)
    np.testing.assert_array_equal(count, 1)


@pytest.mark.parametrize("name", ["C3", "D7", "T", "O", "I4"])
def test_symmetry_expansion_holds_equivalent_orientations(name):
    group = Symmetry.parse(name)
    euler = np.array([[10.0, 50, -70], [0, 0, 33]])
    expanded = group.expand(euler)
    np.testing.assert_array_equal(expanded[:, 0], euler)
    expected = euler_to_matrix(euler)[:, None] @ group.rotations
    np.testing.assert_allclose(euler_to_matrix(expanded), expected, atol=1e-9)


def test_symmetry_knows_along_which_axes_copies_are_interpolated():
    # turns about z, and half turns about axes across z, keep the planes of the lattice; quarter turns keep all of it
    expected = {
        "C1": (1, 0, 0, 0, 0),
        "C3": (1, 0, 0, 2, 0),
        "C4": (4, 0, 0, 0, 0),
        "D7": (2, 0, 0, 12, 0),
        "T": (1, 1, 0, 2, 8),
        "O": (24, 0, 0, 0, 0),
        "I1": (12, 0, 0, 0, 48),
        "I3": (2, 0, 2, 8, 48),
    }
    assert {name: Symmetry.parse(name).copies for name in expected} == expected


@pytest.mark.parametrize("text", ["C0", "C", "D", "I5", "OH", "X3", "", "C1.5"])
def test_symmetry_refuses_what_is_no_group(text):
    with pytest.raises(InputError, match="no point group of rotations, expected Cn, Dn"):
        Symmetry.parse(text)


@pytest.mark.parametrize(
    "name, n_interpolated", [("C1", 1), ("C3", 3), ("C6", 3), ("D7", 7), ("T", 12), ("O", 1), ("I2", 5)]
)
def test_symmetry_is_made_of_its_cosets(name, n_interpolated):
    group = Symmetry.parse(name)
    chosen, exact = group.cosets
    assert len(chosen) == n_interpolated and len(chosen) * len(exact) == group.order
    np.testing.assert_array_equal(exact, np.rint(exact))
    products = (chosen[:, None] @ exact[None]).reshape(-1, 1, 9)
    gap = np.abs(products - group.rotations.reshape(1, -1, 9)).max(-1)
    assert gap.min(0).max() < 1e-9 and gap.min(1).max() < 1e-9


def test_symmetry_unit_of_a_grid_keeps_one_of_each_pair_on_the_seam():
    # rot in steps of 30 degrees: for C4 the unit [-45, 45) holds -30, 0 and 30, which have no mates among them
    rot, tilt = (a.ravel() for a in np.meshgrid(np.arange(-180.0, 180, 30), [20.0, 90.0]))
    assert sorted(rot[Symmetry.parse("C4").asymmetric_unit(rot, tilt)]) == [-30, -30, 0, 0, 30, 30]
    # rot in steps of 15 for C4: [-45, 45) has six; a seam of 20 degrees at the equator takes those by the edges
    rot, tilt = np.arange(-180.0, 180, 15), np.full(24, 90.0)
    assert len(Symmetry.parse("C4").asymmetric_unit(rot, tilt)) == 6
    kept = rot[Symmetry.parse("C4").asymmetric_unit(rot, tilt, seam_deg=20)]
    assert sorted(kept) == [-45, -30, -15, 0, 15]


@pytest.mark.parametrize("name", ["C1", "C3", "D7", "T", "O", "I1"])
def test_symmetry_unit_of_a_grid_covers_the_sphere(name):
    group, n = Symmetry.parse(name), 3000
    z = 1 - (2 * np.arange(n) + 1) / n
    rot, tilt = np.degrees(np.arange(n) * np.pi * (3 - np.sqrt(5))), np.degrees(np.arccos(z))
    spacing = np.degrees(np.sqrt(4 * np.pi / n))
    unit = group.asymmetric_unit(rot, tilt, seam_deg=spacing / 4)
    assert n / group.order * 0.8 < len(unit) < n / group.order * 1.2
    copies = np.einsum("ni,oij->noj", view_directions(rot[unit], tilt[unit]), group.rotations).reshape(-1, 3)
    nearest = (view_directions(rot, tilt) @ copies.T).max(1)
    assert np.degrees(np.arccos(np.clip(nearest.min(), -1, 1))) < 2 * spacing


@pytest.mark.parametrize("name, order", [("C5", 5), ("D2", 24), ("D3", 12), ("T", 24), ("O", 24), ("I2", 60)])
def test_the_normaliser_brings_the_group_to_itself(name, order):
    group = Symmetry(name)
    assert len(group.normaliser) == order
    for n in group.normaliser:
        moved = n @ group.rotations @ n.T
        gap = np.abs(moved[:, None] - group.rotations).max((2, 3)).min(1)
        assert gap.max() < 1e-6


@pytest.mark.parametrize("name, sizes", [
    ("C1", [1]), ("C4", [1, 1, 1, 1]), ("D3", [1, 2, 3]), ("D4", [1, 1, 2, 2, 2]), ("T", [1, 3, 4, 4]),
    ("O", [1, 3, 6, 6, 8]), ("I2", [1, 12, 12, 15, 20]),
])  # fmt: skip
def test_conjugacy_classes_are_those_of_the_groups(name, sizes):
    assert sorted(np.unique(Symmetry(name).classes, return_counts=True)[1].tolist()) == sizes
