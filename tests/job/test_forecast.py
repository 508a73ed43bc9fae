"""The predicted memory against what the engine's arrays take."""

from dataclasses import replace

import class2d_case as case
import numpy as np
import pytest
from test_batches import dataset

from vitreous import backend
from vitreous.engine.em import Accumulator
from vitreous.engine.gradient import no_moments
from vitreous.engine.reconstruct import Lattice
from vitreous.job.batches import batch_size
from vitreous.job.forecast import forecast


def predicted(problem, size, coarse, preread=False, n_threads=2, n=40, gradient=False):
    data = dataset(n, boxes=(problem.box,))
    how = {"preread": preread, "n_threads": n_threads, "gradient": gradient}
    return forecast(data, case.model_of(problem), case.sampling_of(problem), size, coarse, **how)


def test_forecast_of_slices_and_sums_is_their_size():
    be = backend.cpu(2)
    problem = case.problem(n=4, psi_step_deg=6.0, increment_px=8)
    plan = case.plan_of(be, problem)
    geometry = plan.geometry(case.optics_group(problem.groups[0], 1))
    fine, coarse = plan.bank(be, geometry, "fine"), plan.bank(be, geometry, "coarse")
    acc = Accumulator.empty(plan)
    sums = acc.sums_of(geometry, fine)
    parts = predicted(problem, plan.size, plan.coarse_size)
    # The coarse pass holds the squares of its slices too.
    slices = fine.slices.nbytes + 1.5 * coarse.slices.nbytes
    assert slices <= parts["slices of the references"] < 1.3 * slices
    own = sum(a.nbytes for a in sums) + acc.lattice_data.nbytes + acc.lattice_weight.nbytes
    assert own <= parts["sums over particles"]
    assert plan.reference_ft.nbytes + plan.model.references.nbytes <= parts["references and their transforms"]


def test_forecast_of_a_gradient_has_its_moments_and_the_sums_of_two_halves():
    be = backend.cpu(2)
    problem = case.problem(n=4, psi_step_deg=6.0, increment_px=8)
    plan = case.plan_of(be, problem)
    moments = no_moments(plan.model.n_classes, Lattice(problem.box, problem.padding, problem.box / 2).shape)
    acc = Accumulator.empty(plan)
    one, two = (predicted(problem, plan.size, plan.coarse_size, gradient=g) for g in (False, True))
    assert two["moments"] == moments.first.nbytes + moments.second.nbytes
    assert two["sums over particles"] - one["sums over particles"] >= acc.lattice_data.nbytes + acc.lattice_weight.nbytes
    assert all(two[name] >= one[name] for name in one)


def test_forecast_grows_with_what_it_depends_on():
    problem = case.problem(n=4)
    base = predicted(problem, 16, 12)
    assert set(base) == set(predicted(problem, 24, 12)) and all(v >= 0 and isinstance(v, int) for v in base.values())
    total = lambda **k: sum(predicted(**({"problem": problem, "size": 16, "coarse": 12} | k)).values())
    for more in (
        {"size": 24},
        {"coarse": 16},
        {"n": 100_000},
        {"n_threads": 8},
        {"problem": case.problem(n=4, k=8)},
        {"problem": case.problem(n=4, psi_step_deg=5.0)},
        {"preread": True},
    ):
        assert total(**more) > total(), more


def test_forecast_of_images_kept():
    parts = predicted(case.problem(n=4), 16, 12, preread=True, n=1000)
    assert parts["images kept in memory"] == 4 * 24**2 * 1000
    assert "images kept in memory" not in predicted(case.problem(n=4), 16, 12)
    assert parts["batches of images"] >= batch_size(24) * 24**2 * 4


def test_forecast_takes_the_largest_box():
    problem = case.problem(n=4)
    two = dataset(40, boxes=(24, 256))
    one = dataset(40, boxes=(24,))
    of = lambda data: forecast(
        data, case.model_of(problem), case.sampling_of(problem), 16, 12, preread=False, n_threads=1
    )
    assert of(two)["batches of images"] > of(one)["batches of images"]
    assert np.isfinite(sum(of(replace(one, quarantined={})).values()))


def test_forecast_of_a_padding_of_one_is_smaller():
    assert (
        predicted(case.problem(n=4, padding=1), 16, 12)["references and their transforms"]
        < predicted(case.problem(n=4), 16, 12)["references and their transforms"]
    )


@pytest.mark.parametrize("k", [1, 100])
def test_forecast_of_large_jobs_is_finite(k):
    """A box of 512 and a million particles: numbers only, nothing is allocated."""
    problem = case.problem(n=1, k=k)
    model = replace(case.model_of(problem), references=np.broadcast_to(np.float32(0), (k, 512, 512)))
    data = dataset(4, boxes=(512,))
    parts = forecast(
        data, model, replace(case.sampling_of(problem), psi_step_deg=6.0), 512, 60, preread=False, n_threads=16
    )
    assert 100 << 20 < sum(parts.values()) < 400 << 30
