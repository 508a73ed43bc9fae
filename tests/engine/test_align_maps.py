"""One map brought onto another: turned, moved, mirrored and noisy ones are found again."""

import numpy as np
import pytest
from volume_phantom import random_rotations

from vitreous.engine.align_maps import place
from vitreous.engine.fsc import fourier_shell_correlation
from vitreous.engine.image_ops import other_hand
from vitreous.engine.phantom import make_phantom
from vitreous.engine.turn_map import turned
from vitreous.model.symmetry import Symmetry

PIXEL_A = 5.0


def molecule(name, box=48):
    return make_phantom(150.0, symmetry=Symmetry.parse(name)).volume(box, PIXEL_A)


@pytest.mark.parametrize("name, seed, mirror, noise", [("C1", 0, False, 0), ("C1", 1, True, 1), ("D3", 2, True, 1)])
def test_place_finds_what_was_done_to_a_map(name, seed, mirror, noise):
    truth, group, rng = molecule(name), Symmetry.parse(name), np.random.default_rng(seed)
    turn, shift = random_rotations(3, seed=5)[seed], rng.uniform(-4, 4, 3)
    clean = turned(truth, turn, shift)
    clean = other_hand(clean) if mirror else clean
    found = place(clean + np.float32(noise * truth.std()) * rng.standard_normal(truth.shape, np.float32), truth, PIXEL_A)
    assert found.is_mirrored == mirror
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    # point x of the truth went to turn (x + shift), and is brought back to its place or to that of a copy
    left = found.rotation @ turn @ group.rotations
    angle = np.degrees(np.arccos(np.clip((np.trace(left, axis1=1, axis2=2) - 1) / 2, -1, 1))).min()
    # half a degree is an eighth of a voxel at the rim; 0.1 degrees and 0.01 px are measured
    assert angle < 0.5
    assert np.linalg.norm(turn @ shift + found.shift_px) < 0.2
    assert fourier_shell_correlation(found.applied(clean), truth)[1:10].min() > 0.99


def test_a_map_in_place_stays():
    truth = molecule("C1")
    found = place(truth, truth, PIXEL_A)
    assert not found.is_mirrored and found.correlation > 0.9999
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=0.002)
    assert np.abs(found.shift_px).max() < 0.02


def test_a_blob_has_a_place_but_no_orientation():
    z, y, x = np.indices((40,) * 3) - 20.0
    blob = np.exp(-(x**2 + y**2 + z**2) / 50).astype(np.float32)
    moved = np.exp(-((x - 3) ** 2 + y**2 + (z + 2) ** 2) / 50).astype(np.float32)
    found = place(moved, blob, PIXEL_A)
    assert np.abs(found.applied(moved) - blob).max() < 0.01


def test_place_refuses_maps_of_two_sizes():
    with pytest.raises(ValueError, match=r"\(48, 48, 48\) and \(40, 40, 40\)"):
        place(molecule("C1"), molecule("C1", 40), PIXEL_A)
