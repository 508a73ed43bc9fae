"""The demo around auto and around class2d: what it asks for, what it compares, what it leaves."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vitreous import backend
from vitreous.comm import LocalComm
from vitreous.engine.image_ops import other_hand
from vitreous.engine.turn_map import turned
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import quantise, read_particles
from vitreous.io.run_files import write_iteration
from vitreous.io.star import read_star, write_star
from vitreous.job.progress import Progress as Silent
from vitreous.model.state import Model, Progress, Sampling
from vitreous.programs import auto, class2d, demo, demo_classes, demo_map, simulate
from vitreous.programs.auto_project import State, working_in
from vitreous.programs.simulate_sources import read_sources


class Backend:
    n_threads = 1


def model_of(images, pixel_size_A, share):
    n_classes, box = images.shape[:2]
    ones = np.ones((n_classes, box // 2 + 1))
    return Model(
        pixel_size_A=pixel_size_A, references=images, class_weight=share, sigma2_noise=ones[:1] * 1e-4, tau2=ones,
        data_vs_prior=ones, sigma2_reference=ones, fourier_coverage=ones, class_offset_A=np.zeros((n_classes, 2)),
        accuracy_rotation_deg=np.full(n_classes, 2.0), accuracy_shift_A=np.full(n_classes, 1.0),
        class_resolution_A=np.full(n_classes, 15.0), class_coverage=np.ones(n_classes), group_names=["all"],
        group_counts=np.ones(1, np.int64), group_scale=np.ones(1),
    )  # fmt: skip


def perfect_class2d(options, be, comm):
    """In place of class2d: reads the truth beside its input and writes it as its answer, with particles reversed."""
    truth_file = options.particles.replace("particles.star", "particles_truth.star")
    dataset = read_particles(truth_file)
    dataset = quantise(dataset.subset(np.arange(len(dataset))[::-1]))
    views, pixel_size_A = read_mrc(truth_file.replace("particles_truth.star", "truth_views.mrcs"))
    share = np.bincount(dataset.particles.class_number - 1, minlength=len(views)) / len(dataset)
    write_iteration(options.output, model_of(views, pixel_size_A, share), Sampling(10.0, 20.0, 8.0),
                    Progress(iteration=options.iter), dataset, {})  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(class2d, "run", perfect_class2d)
    monkeypatch.setattr(demo_classes, "SET", demo_classes.SET | {"box": 32, "angpix": 8.0})


def test_demo_of_a_perfect_classification_finds_no_error(tmp_path, small, capsys):
    result = demo.run(demo.Options.from_keywords(o=str(tmp_path / "demo"), classes=True, n=240), Backend(), None)
    assert result.score.purity == 1 and result.score.n_views_found == 8
    assert result.score.angle_error_deg < 1e-4  # six decimals in the files
    assert min(c.correlation for c in result.score.classes) > 0.99
    text = capsys.readouterr().out
    assert "8 of 8" in text and "100.0 %" in text and str(result.comparison) in text
    page = result.comparison.read_text()
    assert page.count("true view") >= 8 and "8 of 8" in page and page.count("data:image/png") == 16


def test_demo_tells_of_a_poor_classification(tmp_path, small, monkeypatch, capsys):
    def shuffled(options, be, comm):
        truth_file = options.particles.replace("particles.star", "particles_truth.star")
        star = read_star(truth_file)
        star["particles"]["rlnClassNumber"] = np.random.default_rng(1).permutation(star["particles"]["rlnClassNumber"])
        write_star(truth_file, list(star.values()))
        perfect_class2d(options, be, comm)

    monkeypatch.setattr(class2d, "run", shuffled)
    result = demo.run(demo.Options.from_keywords(o=str(tmp_path / "demo"), classes=True, n=240), Backend(), None)
    assert result.score.purity < 0.4
    assert "report what it prints" in capsys.readouterr().err


def test_demo_of_own_particles_asks_for_what_the_file_allows(tmp_path):
    columns = {"rlnImageName": [f"{i:06d}@a.mrcs" for i in range(1, 601)], "rlnDefocusU": np.full(600, 1e4)}
    path = tmp_path / "particles.star"
    write_star(path, {"particles": columns})
    chosen = demo_classes.own_options(demo.Options.from_keywords(i=str(path)), tmp_path / "run")
    assert (chosen.K, chosen.ctf, chosen.particle_diameter) == (4, True, None)
    del columns["rlnDefocusU"]
    write_star(path, {"particles": columns})
    chosen = demo_classes.own_options(demo.Options.from_keywords(i=str(path), K=7, iter=3), tmp_path / "run")
    assert (chosen.K, chosen.ctf, chosen.iter) == (7, False, 3)


def test_demo_refuses_a_table_without_particles(tmp_path):
    write_star(tmp_path / "micrographs.star", {"micrographs": {"rlnMicrographName": ["a.mrc", "b.mrc"]}})
    with pytest.raises(InputError, match="no column rlnImageName"):
        demo_classes.own_options(demo.Options.from_keywords(i=str(tmp_path / "micrographs.star")), tmp_path / "run")


def test_demo_particles_are_those_of_the_simulation(tmp_path, small):
    made = simulate.run(simulate.Options.from_keywords(o=str(tmp_path), n=120, verb=0, **demo_classes.SET))
    options = demo_classes.demo_options(demo.Options.from_keywords(K=3), made, tmp_path / "run")
    assert options.particles == str(made.particles) and options.ctf and options.K == 3
    columns = read_star(options.particles)["particles"].columns
    assert not [name for name in columns if re.search("Angle(Psi|Rot)|Origin|Class", name)]


def test_demo_classifies_its_own_particles(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_classes, "SET", demo_classes.SET | {"box": 32, "angpix": 8.0, "snr": 0.6, "views": 4})
    options = demo.Options.from_keywords(o=str(tmp_path / "demo"), classes=True, n=400, iter=10, K=8, verb=0)
    result = demo.run(options, backend.cpu(2), LocalComm())
    # four even views: chance gives 0.3, and this small set reaches 0.96 to 0.98 with seeds 1 to 3
    assert result.score.purity > 0.85 and result.score.n_views_found == 4
    assert result.score.angle_error_deg < 6  # the fine step is 5 degrees
    assert "derived: the demo&#x27;s choice" in result.report.read_text()
    assert max(path.stat().st_size for path in (result.report, result.comparison)) < 5e6


# ---- to a map --------------------------------------------------------------------------------------------------------

PIXEL_A, BOX = 5.0, 64


def perfect_auto(calls, turn, symmetry="D3", every=1):
    """In place of auto: the true map, turned and mirrored, from every ``every``-th particle."""

    def run(options, be, comm):
        calls.append(options)
        made = simulate.Options.from_keywords(**demo_map.SET)
        truth = read_sources(made, made.particle_diameter)[0].volume(BOX, PIXEL_A)
        wrong = other_hand(turned(truth, turn, (1.0, 2.0, -0.5)))
        with working_in(options.output):
            for name in ("final", "half1", "half2"):
                write_mrc(f"{name}.mrc", wrong, PIXEL_A)
            truth_file = read_star(Path(options.input).parent / "truth_particles.star")
            columns = {k: v[::every] for k, v in truth_file["particles"].columns.items()}
            write_star("particles.star", {"optics": truth_file["optics"], "particles": columns})
            state = State()
            state.finish(state.begin("refine3d_1", "Refine3D", {}, {}), {}, "")
            (Path("Refine3D/job001") / "report.html").touch()
        facts = {"map": "final.mrc", "half_map": "half1.mrc", "particles": "particles.star", "symmetry": symmetry,
                 "diameter_A": 170, "final_A": 11.0}  # fmt: skip
        return auto.Result(Path(options.output), facts, None)

    return run


@pytest.fixture
def to_map(monkeypatch):
    """The demo on one small micrograph with auto replaced; returns the calls of auto."""
    calls = []
    monkeypatch.setattr(demo_map, "SET", demo_map.SET | {"micrographs": 1, "size": 512, "contaminants": 0.0})
    turn = Rotation.from_rotvec([0.3, -1.0, 0.7]).as_matrix()
    monkeypatch.setattr(auto, "run", perfect_auto(calls, turn))
    return calls


def test_demo_of_a_perfect_map_finds_no_error(tmp_path, to_map, capsys):
    options = demo.Options.from_keywords(o=str(tmp_path / "demo"), random_seed=3, j=2)
    result = demo.run(options, Backend(), None)
    score = result.map_score
    assert score.placement.is_mirrored
    # the map is interpolated twice by cubic splines, which weakens and distorts the finest half of the shells alone
    assert score.fsc_truth[1 : BOX // 4].min() > 0.99 and score.fsc_halves[1:].min() > 0.99
    assert score.truth_500_A < 12 and score.shortfalls() == []
    assert score.n_found == score.n_particles == score.n_present > 10
    (asked,) = to_map
    assert asked.particle_diameter is None and asked.sym is None and asked.random_seed == 3 and asked.j == 2
    told = capsys.readouterr()
    assert "point group" in told.out and str(result.report) in told.out and not told.err
    page = result.report.read_text()
    assert page.count("data:image/png") == 6 and "auto/Refine3D/job001/report.html" in page
    placed = read_mrc(tmp_path / "demo" / "map_on_truth.mrc")[0]
    truth = read_mrc(tmp_path / "demo" / "truth_on_grid.mrc")[0]
    assert np.corrcoef(placed.ravel(), truth.ravel())[0, 1] > 0.97


def test_demo_tells_of_a_poor_map(tmp_path, to_map, monkeypatch, capsys):
    monkeypatch.setattr(auto, "run", perfect_auto([], np.eye(3), "C1", every=3))
    monkeypatch.setattr(demo_map, "MOST_A", 5.0)
    result = demo.run(demo.Options.from_keywords(o=str(tmp_path / "demo"), verb=0), Backend(), None)
    assert len(result.map_score.shortfalls()) == 3
    told = capsys.readouterr().err
    assert "expected D3" in told and told.count("report what it prints") == 3
    assert result.report.read_text().count('class="warning"') == 3


def test_demo_keeps_whole_micrographs_of_the_same_options(tmp_path, to_map, monkeypatch):
    made, simulated = [], simulate.run
    monkeypatch.setattr(simulate, "run", lambda options: made.append(options.seed) or simulated(options))
    for seed in (1, 1, 2):
        demo_map.simulated(tmp_path, seed, 0, Silent(0))
    assert made == [1, 2]
    next((tmp_path / "micrographs" / "Micrographs").glob("*.mrc")).write_bytes(b"cut short")
    demo_map.simulated(tmp_path, 2, 0, Silent(0))
    assert made == [1, 2, 2]


@pytest.mark.parametrize("given, text", [({"K": 4}, "--K: found without --classes"), ({"n": 200, "i": "a.star"}, "--n: found with --i"),
                                         ({"classes": True, "i": "a.star"}, "--classes: found with --i")])  # fmt: skip
def test_demo_refuses_options_that_would_do_nothing(given, text):
    with pytest.raises(InputError, match=text):
        demo.run(demo.Options.from_keywords(**given), Backend(), None)
