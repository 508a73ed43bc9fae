"""The predicted memory of 3D programs against what their arrays take."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from test_batches import dataset

from vitreous import backend
from vitreous.engine import em3d, gold, plan3d
from vitreous.engine.schedule3d import AutoOptions
from vitreous.engine.settings import Settings
from vitreous.job.forecast_volume import forecast_volume, maximisation_bytes, stages_of
from vitreous.model.state import Model, Progress, Refinement, Sampling
from vitreous.model.symmetry import Symmetry

BE = backend.cpu(2)
SAMPLING = Sampling(15.0, 20.0, 8.0, 1, healpix_order=2)


def model_of(box):
    """A model of noise with one class."""
    flat = lambda value: np.full((1, box // 2 + 1), value)
    noise = np.random.default_rng(1).normal(size=(1,) + (box,) * 3).astype(np.float32)
    one = np.ones(1)
    return Model(
        4.0, noise, one, flat(1e-3), flat(1e-3), flat(1.0), flat(1.0), flat(1.0), np.zeros((1, 2)), one, one, 20 * one,
        one, ["group"], np.array([10]), one, current_resolution_A=20.0,
    )  # fmt: skip


def plans_of(box, size, symmetry="C1"):
    settings = Settings(particle_diameter_A=3.0 * box, flatten_solvent=True)
    group = Symmetry.parse(symmetry)
    return [
        plan3d.make_plan(BE, model_of(box), SAMPLING, Progress(iteration=3), settings, group, size=size) for _ in (1, 2)
    ]


def predicted(
    box=64, size=None, symmetry="C1", n=4000, preread=False, n_threads=2, n_models=2, sampling=SAMPLING, skip_align=False
):
    model = replace(model_of(16), references=np.broadcast_to(np.float32(0), (1, box, box, box)))
    data, settings = dataset(n, boxes=(box,)), Settings(particle_diameter_A=3.0 * box, skip_align=skip_align)
    state = Refinement(data, [model] * n_models, sampling, Progress(), symmetry)
    auto = AutoOptions() if n_models == 2 else None
    stages = stages_of(BE, state, settings, auto, size or box)
    return forecast_volume(data, state.models, stages, Symmetry.parse(symmetry), preread=preread, n_threads=n_threads)


@pytest.mark.parametrize("box, size, last", [(64, 64, True), (96, 96, True), (64, 24, False)])
@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_forecast_of_the_maximisation_is_its_peak(box, size, last, symmetry):
    plans = plans_of(box, size, symmetry)
    accs = [em3d.Accumulator3D.empty(plan) for plan in plans]
    for acc in accs:
        for value in vars(acc).values():  # no sum is empty
            if isinstance(value, np.ndarray):
                value += 1
        acc.n_particles = 10
    tracemalloc.start()
    gold.maximise_halves(BE, plans, accs, join_A=40.0, last=last)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The prediction is of resident memory, in which the allocator keeps some freed arrays.
    assert 0.75 < peak / maximisation_bytes(box, plans[0].lattice, 2) < 1.05


def test_forecast_of_sums_and_transforms_is_their_size():
    plan = plans_of(48, 32)[0]
    parts = predicted(48, 32)
    assert parts["sums over particles"] == 2 * em3d.Accumulator3D.empty(plan).sums.nbytes
    assert parts["transforms of the references"] == 2 * plan.reference_ft.nbytes


def test_forecast_grows_with_what_it_depends_on():
    base = sum(predicted().values())
    for more in (
        {"box": 96},
        {"n": 100_000},
        {"n_threads": 8},
        {"preread": True},
        {"n_models": 2, "symmetry": "C1", "box": 80},
    ):
        assert sum(predicted(**more).values()) > base, more
    for less in ({"size": 32}, {"n": 100}, {"n_models": 1}):
        assert sum(predicted(**less).values()) < base, less
    assert sum(predicted(symmetry="D2", n_models=1).values()) < sum(predicted(n_models=1).values())
    assert sum(predicted(symmetry="D2").values()) < sum(predicted().values())
    assert sum(predicted(skip_align=True, n_models=1).values()) < sum(predicted(n_models=1).values())
    assert all(isinstance(v, int) and v >= 0 for v in predicted().values())


def test_forecast_of_a_box_of_512_allocates_nothing():
    assert 10 << 30 < sum(predicted(512, n_threads=16).values()) < 100 << 30
