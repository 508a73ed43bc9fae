"""The report of a 3D refinement or classification says what the run's numbers are, whatever is missing among them."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vitreous.model.dataset import Particles
from vitreous.model.state import Model
from vitreous.report.refine3d import Refine3dRun, columns_of, map_cards, refine3d_report
from vitreous.report.refine3d import _remarks as remarks
from vitreous.report.refine3d import _views as views_of
from vitreous.report.views import direction_density, share_of_densest


def blobs(box, rng, n=40):
    """(box, box, box) float32 of soft balls."""
    grid = np.indices((box,) * 3) - box // 2
    out = np.zeros((box,) * 3, np.float32)
    for centre in rng.normal(0, box / 10, (n, 3)):
        out += np.exp(-((grid - centre[:, None, None, None]) ** 2).sum(0) / (2 * (box / 40) ** 2))
    return out


def make_model(n_classes, box, rng):
    n_shells = box // 2 + 1
    weight = np.linspace(2, 0, n_classes) if n_classes > 1 else np.ones(1)
    per_shell = np.ones((n_classes, n_shells))
    return Model(
        pixel_size_A=3.0, references=np.stack([blobs(box, rng, 8) for _ in range(n_classes)]),
        class_weight=weight / weight.sum(), sigma2_noise=np.full((2, n_shells), 1e-4), tau2=per_shell,
        data_vs_prior=100 * per_shell * np.exp(-np.arange(n_shells) / 3), sigma2_reference=per_shell,
        fourier_coverage=per_shell, class_offset_A=np.zeros((n_classes, 2)),
        accuracy_rotation_deg=np.full(n_classes, 999.0), accuracy_shift_A=np.full(n_classes, 1.5),
        class_resolution_A=np.linspace(7.25, 30, n_classes), class_coverage=np.ones(n_classes),
        average_p_max=0.87, current_size_px=box // 2, current_resolution_A=7.25,
    )  # fmt: skip


def fall(n_shells, at, width=3.0):
    """(n_shells,) FSC that falls around a shell."""
    return 1 / (1 + np.exp((np.arange(n_shells) - at) / width))


def make_events(n, n_classes, n_shells):
    rng = np.random.default_rng(8)
    return [
        {"iteration": i, "resolution_A": 40 - i, "current_size_px": 20 + i, "coarse_size_px": 16,
         "healpix_order": 2 + i // 3, "angular_step_deg": 7.5 / 2 ** (i // 3), "offset_step_A": 3.0 / i, "local": i > 2,
         "p_max": 0.1 * i, "n_significant": 100 / i, "change_angle_deg": 20 / i, "change_offset_A": 5 / i,
         "change_class": 1 / i, "accuracy_deg": 999.0 if i == 1 else 3 / i, "accuracy_A": 999.0 if i == 1 else 2 / i,
         "log_likelihood": 1e5 + i, "sigma_offset_A": 8.0, "class_weight": rng.dirichlet(np.ones(n_classes)).tolist(),
         "class_resolution_A": [30.0 - i] * n_classes,
         "fsc": fall(n_shells, 2 + i).tolist() if n_classes == 1 else None, "seconds": {"coarse": 1.25, "fine": 0.5}}
        for i in range(1, n + 1)
    ]  # fmt: skip


def even_views(n):
    """(n, 3) rot, tilt, psi spread evenly."""
    rng = np.random.default_rng(1)
    rot, psi = rng.uniform(-180, 180, (2, n))
    return np.stack([rot, np.degrees(np.arccos(rng.uniform(-1, 1, n))), psi], 1)


def make_run(n_classes=1, box=32, n=400, n_iterations=4, symmetry="D2"):
    rng = np.random.default_rng(4)
    n_shells = box // 2 + 1
    particles = Particles.default(
        n, class_number=rng.integers(1, n_classes + 1, n).astype(np.int32), euler_deg=even_views(n),
        shift_A=rng.normal(0, 5, (n, 2)), p_max=rng.random(n), norm=rng.normal(1, 0.1, n),
        log_likelihood=rng.normal(size=n), n_significant=rng.integers(1, 50, n).astype(np.int32),
    )  # fmt: skip
    columns = columns_of(SimpleNamespace(particles=particles, usable=np.ones(n, bool)))
    options = [("Basic", "sym", symmetry, "", "user"), ("Basic", "ini_high", 50.0, "A", "user"),
               ("Expert", "maxsig", None, "", "default")]  # fmt: skip
    curves = {"corrected": fall(n_shells, 10), "unmasked": fall(n_shells, 8), "masked": fall(n_shells, 11)}
    return Refine3dRun(
        "3D refinement: x/run", options, make_events(n_iterations, n_classes, n_shells),
        make_model(n_classes, box, rng), columns, inputs={"particles": "particles.star", "number": n},
        machine={"version": "vitreous 1.2.3", "seed": 4711}, memory_bytes={"maps": 2**20}, peak_bytes=3 * 2**30,
        quarantined=[("000007@bad.mrcs", "all pixels are <zero>")], warnings=["one particle was left out"],
        fsc=curves if n_classes == 1 else {}, symmetry=symmetry,
    )  # fmt: skip


@pytest.fixture(scope="module")
def refinement():
    return refine3d_report(make_run())


@pytest.fixture(scope="module")
def classification():
    return refine3d_report(make_run(n_classes=5, symmetry="C1"))


def words(html):
    """The text of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]*>", " ", html))


def test_columns_tell_what_the_last_iteration_changed():
    """Turned by a symmetry mate and 10 deg in the plane; moved by 3, 4 A; particles that are not used are left out."""
    turned = lambda euler, shift: SimpleNamespace(
        particles=Particles.default(2, euler_deg=np.array([euler, euler], float), shift_A=np.array([shift, shift], float)),
        usable=np.array([True, False]),
    )
    then, now = turned((20, 90, 5), (0, 0)), turned((200, 90, 15), (3, 4))
    columns = columns_of(now, then, "C2")
    np.testing.assert_allclose(columns["moved_A"], [5])
    assert columns["turned_deg"][0] == pytest.approx(20 / 3, abs=1e-6)  # two of the three axes turn by 10 deg
    assert columns_of(now, then)["turned_deg"][0] > 60 and "turned_deg" not in columns_of(now)


def test_report_holds_what_the_run_was(refinement):
    text = words(refinement)
    for part in ("3D refinement: x/run", "particles.star", "--ini_high 50", "4711", "vitreous 1.2.3", "000007@bad.mrcs",
                 "&lt;zero&gt;", "one particle was left out", "7.0 s", "3.00 GB", "7.25 Å resolution", "D2 symmetry",
                 "0.87", "3.75° last angular step", "0.75° accuracy of angles", "0.5 Å accuracy of origins",
                 "Searches are local from iteration 3 on", "equivalent under D2"):  # fmt: skip
        assert part in text, part


def test_report_shows_three_sections_and_three_projections(refinement):
    gallery = refinement[refinement.index('<h2 id="s1"') : refinement.index('<h2 id="s2"')]
    for what in ("section across", "projection along"):
        assert re.findall(rf"{what} (\w)", gallery) == ["z", "y", "x"]


def test_report_shows_every_fsc_curve_and_both_levels(refinement):
    for name in ("corrected", "unmasked", "masked", "0.143", "0.5"):
        assert f">{name}</text>" in refinement or f">{name}<" in refinement, name
    # the last shell above 0.143 of a fall around shell 10 is 15: 32 px of 3 A / 15
    assert "6.4 Å" in words(refinement)


def test_report_of_classes_sorts_them_and_folds_empty_ones(classification):
    gallery = classification[classification.index('<h2 id="s1"') : classification.index('<h2 id="s2"')]
    assert re.findall(r"</b> #(\d+)", gallery) == ["1", "2", "3", "4", "5"]
    assert gallery.index("1 more with less than 1 % each") < gallery.index("</b> #5")
    assert "40.0 %</b> #1" in gallery and "– ±1.5 Å" in words(gallery)
    run = make_run(n_classes=5, symmetry="C1")
    assert f"{np.sum(run.particles['class_number'] == 2)} particles" in gallery
    assert "Share of the particles in each class" in classification
    assert "Viewing directions of #1 and #2." in classification


@pytest.mark.parametrize(("n_classes", "change"), [
    (1, {"events": (), "inputs": {}, "machine": {}, "memory_bytes": {}, "peak_bytes": None, "option_rows": ()}),
    (3, {"events": [{"iteration": 1}, {"iteration": 2, "p_max": None, "resolution_A": np.inf}], "quarantined": ()}),
])  # fmt: skip
def test_report_is_whole_with_parts_missing(change, n_classes):
    html = refine3d_report(replace(make_run(n_classes), **change))
    assert html.startswith("<!doctype html>") and html.endswith("</html>\n")


@pytest.mark.parametrize(("n_classes", "n"), [(1, 1), (3, 0)])
def test_report_of_a_tiny_run(n_classes, n):
    assert "Views" in refine3d_report(make_run(n_classes=n_classes, n=n, n_iterations=1))


def test_report_of_a_broken_model_is_written_too():
    run = make_run(3)
    run.model.references[2] = np.nan
    run.model.data_vs_prior[:] = 0
    run.model.sigma2_noise[:] = np.nan
    assert "</html>" in refine3d_report(run)


def test_report_of_noisy_maps_stays_small():
    rng = np.random.default_rng(2)
    run = make_run(30, box=16, n=20000, n_iterations=1)
    maps = [rng.normal(size=(112,) * 3).astype(np.float32)] * 30
    assert len(refine3d_report(replace(run, maps=maps)).encode()) < 5e6
    one = map_cards(rng.normal(size=(224,) * 3), 1.0, "map", [], 224)
    assert 6 * 224**2 < len(one) < 1e6


def test_remarks_tell_of_an_fsc_that_never_falls_and_of_crowded_views():
    run = make_run(n=1500)
    assert remarks(run, views_of(run)) == []
    columns = {**run.particles, "euler_deg": run.particles["euler_deg"] * [1, 0.1, 1]}
    run = replace(run, fsc={"corrected": np.ones(17)}, particles=columns)
    first, second = remarks(run, views_of(run))
    assert "does not fall below 0.143 before Nyquist" in first and "of the views lie in a tenth of the sphere" in second


def test_remarks_tell_of_one_class_that_took_all():
    run = make_run(n_classes=3)
    assert remarks(run, views_of(run)) == []
    run.model.class_weight[:] = 0.98, 0.02, 0
    assert "One class holds more than 95 %" in remarks(run, views_of(run))[0]


def test_direction_density_of_even_views_is_1():
    density, rot, tilt = direction_density(even_views(200_000), least_deg=20)
    assert density.shape == (len(tilt) - 1, len(rot) - 1)
    assert density.mean() == pytest.approx(1)
    np.testing.assert_allclose(density, 1, atol=0.2)  # 200000 / 108 bins: 2.3 % is one standard deviation
    assert share_of_densest(density) == pytest.approx(0.1, rel=0.1)


def test_direction_density_counts_equivalent_views_once_each():
    """One view under D7 is 14 views; its bins hold them all, and the picture repeats after 360/7 degrees."""
    density, rot, _ = direction_density(np.tile([10.0, 50.0, 0.0], (500, 1)), "D7")
    occupied = np.argwhere(density > 0)
    assert len(occupied) == 14
    upper = np.sort(rot[occupied[occupied[:, 0] < len(density) // 2, 1]])
    np.testing.assert_allclose(np.diff(upper), 360 / 7, atol=rot[1] - rot[0])
    assert share_of_densest(density) == pytest.approx(1)


def test_direction_density_puts_a_view_where_its_angles_are():
    density, rot, tilt = direction_density(np.tile([33.0, 20.0, 77.0], (3000, 1)))
    row, column = np.unravel_index(density.argmax(), density.shape)
    assert rot[column] <= 33 < rot[column + 1] and tilt[row] <= 20 < tilt[row + 1]


def test_direction_density_bins_are_wider_than_the_search_step():
    for step in (0, 7.5, 15):
        rot = direction_density(even_views(100_000), step_deg=step)[1]
        assert rot[1] - rot[0] >= max(5, 1.5 * step)
