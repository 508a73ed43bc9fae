from types import SimpleNamespace

import numpy as np
import pytest

from vitreous.model import views
from vitreous.model.blocks import SCOPES, Block
from vitreous.model.dataset import CtfColumns, Exposures, Particles
from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import tilt_to_matrix

GROUPS = [OpticsGroup("g", 1, 300, 2.7, 0.1, 1, 64)] * 2
N_ENTRIES = {"view": 12, "particle": 6, "exposure": 4, "source": 2, "optics": 2, "global": 1}


def two_tilts():
    """Six particles in two sources of two exposures each."""
    source = np.array([0, 0, 0, 1, 1, 1], np.int32)
    rng = np.random.default_rng(3)
    particles = Particles.default(6, source=source, optics=source, position_A=rng.normal(0, 100, (6, 3)),
                                  shift_A=rng.normal(size=(6, 3)), euler_deg=rng.uniform(-90, 90, (6, 3)))
    tilt = np.array([[0, 30, 80], [0, -30, 80]] * 2, float)
    sources = np.repeat(np.arange(2, dtype=np.int32), 2)
    exposures = Exposures(sources, tilt, np.zeros((4, 2)), np.zeros(4), CtfColumns.neutral(4))
    return particles, exposures, views.build(particles, exposures, GROUPS)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("shape", [(), (2,), (3, 3)])
def test_expand_and_pull_back_are_adjoint(scope, shape):
    v, rng = two_tilts()[2], np.random.default_rng(4)
    block = Block.per(scope, rng.normal(size=(N_ENTRIES[scope], *shape)), v)
    gradient = rng.normal(size=(len(v), *shape))
    pulled = block.pull_back(gradient)
    assert np.vdot(block.expand(), gradient) == pytest.approx(np.vdot(block.values, pulled), rel=1e-12)


def test_weighted_reads_are_adjoint_and_sum_repeated_entries():
    rng = np.random.default_rng(5)
    index, weights = rng.integers(0, 4, (10, 3)), rng.normal(size=(10, 3))
    index[0] = 2
    block = Block(rng.normal(size=(4, 2)), "global", index, weights)
    expected = np.stack([sum(w * block.values[i] for i, w in zip(*row)) for row in zip(index, weights)])
    np.testing.assert_allclose(block.expand(), expected, atol=1e-14)
    gradient = rng.normal(size=(10, 2))
    assert np.vdot(expected, gradient) == pytest.approx(np.vdot(block.values, block.pull_back(gradient)), rel=1e-12)


def test_each_view_reads_the_entry_of_its_scope():
    v = two_tilts()[2]
    for scope in ("particle", "exposure", "source", "optics"):
        values = np.arange(N_ENTRIES[scope], dtype=float)
        np.testing.assert_array_equal(Block.per(scope, values, v).expand(), getattr(v, scope))
    np.testing.assert_array_equal(Block.per("view", np.arange(12.0), v).expand(), np.arange(12))


def test_pull_back_counts_the_views_of_an_entry():
    v = two_tilts()[2]
    ones = np.ones(len(v))
    for scope, count in {"view": 1, "particle": 2, "exposure": 3, "source": 6, "global": 12}.items():
        np.testing.assert_array_equal(Block.per(scope, np.zeros(N_ENTRIES[scope]), v).pull_back(ones), count)


def test_gradient_of_particle_shifts_through_two_exposures_is_right():
    """Loss: squared distance of the views' origins to targets; its gradient against finite differences."""
    particles, exposures, v = two_tilts()
    target = np.random.default_rng(6).normal(size=(len(v), 2))

    def loss(shift):
        moved = Particles(**{**particles.columns(), "shift_A": shift, "ctf": None})
        return 0.5 * ((views.build(moved, exposures, GROUPS).origin_A - target) ** 2).sum()

    block = Block.per("particle", particles.shift_A, v)
    rows = tilt_to_matrix(exposures.tilt_deg)[v.exposure][:, :2]
    per_view = -np.einsum("vij,vi->vj", rows, v.origin_A - target)  # origin = -R shift + ...
    gradient = block.pull_back(per_view)
    direction = np.random.default_rng(7).normal(size=(6, 3))
    slope = (loss(particles.shift_A + 1e-4 * direction) - loss(particles.shift_A - 1e-4 * direction)) / 2e-4
    assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-7)


def test_block_with_values_keeps_its_reads():
    v = two_tilts()[2]
    block = Block.per("source", np.zeros(2), v)
    np.testing.assert_array_equal(block.with_values([1.0, 5.0]).expand(), np.where(v.source == 0, 1, 5))
    assert not block.expand().any()


def test_block_of_no_views_is_empty():
    none = SimpleNamespace(particle=np.zeros(0, int), source=np.zeros(0, int))
    block = Block.per("source", np.ones((2, 3)), none)
    assert block.expand().shape == (0, 3)
    assert not block.pull_back(np.zeros((0, 3))).any()


def test_block_refuses_what_does_not_fit():
    v = two_tilts()[2]
    with pytest.raises(ValueError, match="scope is 'micrograph', expected one of view, particle"):
        Block.per("micrograph", np.zeros(2), v)
    with pytest.raises(ValueError, match=r"views read entries 0\.\.1, expected 0\.\.0"):
        Block.per("source", np.zeros(1), v)
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), expected \(12,\)"):
        Block.per("source", np.zeros(2), v).pull_back(np.zeros(3))
    with pytest.raises(ValueError, match=r"new values have shape \(3,\), expected \(2,\)"):
        Block.per("source", np.zeros(2), v).with_values(np.zeros(3))
