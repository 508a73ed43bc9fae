"""The report of a 2D classification says what the run's numbers are, whatever is missing among them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vitreous.model.dataset import Particles
from vitreous.model.state import Model
from vitreous.report.class2d import Class2dRun, class2d_report, columns_of
from vitreous.report.class2d import _median_resolution as median_resolution


def make_model(n_classes, box, rng):
    n_shells = box // 2 + 1
    weight = np.linspace(2, 0, n_classes) if n_classes > 1 else np.ones(1)
    per_shell = np.ones((n_classes, n_shells))
    return Model(
        pixel_size_A=4.0, references=rng.normal(size=(n_classes, box, box)).astype(np.float32),
        class_weight=weight / weight.sum(), sigma2_noise=np.full((2, n_shells), 1e-4), tau2=per_shell,
        data_vs_prior=100 * per_shell * np.exp(-np.arange(n_shells) / 3), sigma2_reference=per_shell,
        fourier_coverage=per_shell, class_offset_A=np.zeros((n_classes, 2)),
        accuracy_rotation_deg=np.full(n_classes, 999.0), accuracy_shift_A=np.full(n_classes, 1.5),
        class_resolution_A=np.linspace(12.25, 30, n_classes), class_coverage=np.ones(n_classes),
        average_p_max=0.87, current_size_px=box // 2,
    )  # fmt: skip


def make_events(n, n_classes):
    rng = np.random.default_rng(8)
    return [
        {"iteration": i, "resolution_A": 40 - i, "current_size_px": 20 + i, "coarse_size_px": 16, "p_max": 0.1 * i,
         "n_significant": 100 / i, "log_likelihood": 1e5 + i, "change_angle_deg": 20 / i, "change_offset_A": 5 / i,
         "change_class": 1 / i, "sigma_offset_A": 8.0, "class_weight": rng.dirichlet(np.ones(n_classes)).tolist(),
         "class_resolution_A": [30.0] * n_classes, "seconds": {"coarse": 1.25, "fine": 0.5}}
        for i in range(1, n + 1)
    ]  # fmt: skip


def make_run(n_classes=5, box=32, n=300, n_iterations=3):
    rng = np.random.default_rng(4)
    columns = columns_of(Particles.default(
        n, class_number=rng.integers(1, n_classes + 1, n).astype(np.int32), shift_A=rng.normal(0, 5, (n, 2)),
        p_max=rng.random(n), norm=rng.normal(1, 0.1, n), log_likelihood=rng.normal(size=n),
    ))  # fmt: skip
    options = [("Basic", "K", n_classes, "", "user"), ("Basic", "tau2_fudge", 2.5, "", "user"),
               ("Basic", "particle_diameter", 100.0, "A", "derived: box less the edge"),
               ("Expert", "maxsig", None, "", "default")]  # fmt: skip
    return Class2dRun(
        "2D classification: x/run", options, make_events(n_iterations, n_classes), make_model(n_classes, box, rng),
        columns,
        inputs={"particles": "particles.star", "number": n}, machine={"version": "vitreous 1.2.3", "seed": 4711},
        memory_bytes={"images": 2**20}, peak_bytes=3 * 2**30,
        quarantined=[("000007@bad.mrcs", "all pixels are <zero>")], warnings=["one particle was left out"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def html():
    return class2d_report(make_run())


def words(html):
    """The text of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]*>", " ", html))


def test_report_holds_what_the_run_was(html):
    text = words(html)
    for part in ("2D classification: x/run", "particles.star", "--tau2_fudge 2.5", "derived: box less the edge", "4711",
                 "vitreous 1.2.3", "000007@bad.mrcs", "&lt;zero&gt;", "one particle was left out", "5.2 s", "3.00 GB",
                 "1 options at their defaults", "12.2 Å", "0.87"):
        assert part in text, part


def test_report_sorts_classes_by_share_and_folds_empty_ones(html):
    gallery = html[html.index('<h2 id="s1"'):html.index('<h2 id="s2"')]
    assert re.findall(r"</b> #(\d+)", gallery) == ["1", "2", "3", "4", "5"]
    assert gallery.index("1 more with less than 1 % each") < gallery.index("</b> #5")
    assert "40.0 %</b> #1" in gallery


def test_report_counts_particles_of_each_class(html):
    run = make_run()
    for k in (1, 4):
        count = np.sum(run.particles["class_number"] == k)
        assert re.search(rf"#{k}<br>{count} particles", html)


def test_report_shows_a_dash_where_an_accuracy_was_not_estimated(html):
    assert "– ±1.5 Å" in words(html)


@pytest.mark.parametrize("change", [
    {"events": (), "inputs": {}, "machine": {}, "memory_bytes": {}, "peak_bytes": None, "option_rows": ()},
    {"events": [{"iteration": 1}, {"iteration": 2, "p_max": None}], "quarantined": (), "warnings": ()},
])
def test_report_is_whole_with_parts_missing(change):
    html = class2d_report(replace(make_run(), **change))
    assert html.startswith("<!doctype html>") and html.endswith("</html>\n")


@pytest.mark.parametrize("n_classes, n", [(1, 1), (3, 0)])
def test_report_of_a_tiny_run(n_classes, n):
    assert "Class averages" in class2d_report(make_run(n_classes=n_classes, n=n, n_iterations=1))


def test_report_of_a_broken_model_is_written_too():
    run = make_run()
    run.model.references[2] = np.nan
    run.model.data_vs_prior[:] = 0
    run.model.sigma2_noise[:] = np.nan
    assert "</html>" in class2d_report(run)


def test_report_of_many_large_classes_stays_small():
    assert len(class2d_report(make_run(n_classes=200, box=256, n=2000)).encode()) < 5e6


def test_median_resolution_counts_a_class_by_its_share():
    assert median_resolution([10.0, 20.0, 30.0], [0.1, 0.3, 0.6]) == 30.0
    assert median_resolution([10.0, 20.0, 30.0], [0.6, 0.3, 0.1]) == 10.0
