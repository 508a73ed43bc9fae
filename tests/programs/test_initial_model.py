"""initial-model as a user runs it, on a small simulated set: the right structure, its files, going on."""

import json

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.engine import filters
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star, write_star
from vitreous.job.classify import first_particles
from vitreous.model.masks import soft_sphere
from vitreous.model.rotation import euler_to_matrix

BOX, PIXEL_A, DIAMETER_A = 24, 8.0, 150
MIRROR = np.diag([1.0, 1.0, -1.0])


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """300 particles of all views at good contrast, and their truth."""
    folder = tmp_path_factory.mktemp("initial_model")
    call("simulate", o=str(folder), n=300, box=BOX, angpix=PIXEL_A, snr=1.0, particle_diameter=DIAMETER_A, seed=2, shift_std=4, verb=0)
    return folder


def model(case, root, **options):
    """The result of a run with the usual options, others as given."""
    given = {"i": str(case / "particles.star"), "particle_diameter": DIAMETER_A, "ctf": True, "zero_mask": True,
             "flatten_solvent": True, "offset_range": 2, "iter": 30, "starts": 1, "random_seed": 1}  # fmt: skip
    if "continue" in options:
        given = {}
    given |= {"o": str(root), "j": 2, "verb": 0} | options
    return call("initial-model", **{flag: value for flag, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def thirty(case, tmp_path_factory):
    """Root and result of thirty iterations."""
    root = tmp_path_factory.mktemp("thirty") / "run"
    return root, model(case, root)


def error_after_alignment_deg(found, truth):
    """Median angle between orientations once one rotation, and a change of hand, has brought one set onto the other."""
    errors = []
    for mine in (found, MIRROR @ found @ MIRROR):
        u, _, v = np.linalg.svd((mine.transpose(0, 2, 1) @ truth).sum(0))
        turned = mine @ (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v)
        cosine = (np.einsum("nij,nij->n", turned, truth) - 1) / 2
        errors.append(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))
    return min(errors)


def test_initial_model_finds_the_structure(case, thirty):
    """Orientations agree with the true ones to the step of the search, of either hand; at random they are 126 deg away."""
    _, result = thirty
    truth = read_particles(case / "particles_truth.star").particles
    drawn = result.particles.p_max > 0
    assert drawn.mean() > 0.9  # thirty mini-batches of 200 of 300
    error = error_after_alignment_deg(*(euler_to_matrix(p.euler_deg[drawn]) for p in (result.particles, truth)))
    assert error < 2 * 15  # of two steps of the fine pass at order 1
    assert result.map.shape == (BOX,) * 3 and result.maps.shape == (1, *(BOX,) * 3)


def test_initial_model_writes_every_tenth_iteration(thirty):
    root, result = thirty
    names = {p.name for p in root.parent.iterdir()}
    for i in (0, 10, 20, 30):
        for name in ("data.star", "model.star", "optimiser.star", "class001.mrc", "1moment001.mrc", "1moment002.mrc", "2moment001.mrc"):
            assert f"run_it{i:03d}_{name}" in names
    assert not any("it015" in name for name in names) and {"report.html", "initial_model.mrc"} <= names
    assert read_star(root.parent / "run_it030_optimiser.star")["optimiser_general"].columns["rlnDoGradientRefine"][0] == 1
    np.testing.assert_array_equal(read_mrc(root.parent / "initial_model.mrc")[0], result.map)


def same(one, other, iteration="030"):
    for name in ("data.star", "class001.mrc", "1moment002.mrc", "2moment001.mrc"):
        old, new = (root.parent / f"{root.name}_it{iteration}_{name}" for root in (one, other))
        assert old.read_bytes().replace(str(one).encode(), b"ROOT") == new.read_bytes().replace(str(other).encode(), b"ROOT"), name


def test_initial_model_continued_is_the_same_to_the_bit(case, thirty, tmp_path):
    root, _ = thirty
    model(case, tmp_path / "again", **{"continue": str(root.parent / "run_it020_optimiser.star")})
    same(root, tmp_path / "again")


def test_initial_model_does_not_depend_on_the_number_of_threads(case, thirty, tmp_path):
    root, _ = thirty
    model(case, tmp_path / "run", j=1)
    same(root, tmp_path / "run")


def test_initial_model_of_two_classes_ends_with_all_particles(case, tmp_path):
    result = model(case, tmp_path / "run", K=2, iter=6, grad_em_iters=2, keep_classes=True)
    assert result.maps.shape[0] == 2 and (result.particles.p_max > 0).all()
    assert set(result.particles.class_number) <= {1, 2}
    assert result.model.class_weight.sum() == pytest.approx(1)


def test_initial_model_goes_on_from_the_start_that_explains_the_particles_best(case, tmp_path):
    """Four of ten iterations of three starts; the best one's files are left, and from them the run goes on to the bit."""
    model(case, tmp_path / "run", starts=3, iter=10)
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    tried = {e["number"]: e["log_likelihood"] for e in events if e["event"] == "start tried"}
    assert set(tried) == {1, 2, 3} and len(set(tried.values())) == 3
    general = read_star(tmp_path / "run_it004_model.star")["model_general"].columns
    assert general["rlnLogLikelihood"][0] == pytest.approx(max(tried.values()), abs=1e-3)
    model(case, tmp_path / "again", **{"continue": str(tmp_path / "run_it004_optimiser.star")})
    same(tmp_path / "run", tmp_path / "again", "010")
    model(case, tmp_path / "first", **{"continue": str(tmp_path / "run_it000_optimiser.star")})
    same(tmp_path / "run", tmp_path / "first", "010")
    assert [e["iteration"] for e in events if e["event"] == "iteration"] == list(range(1, 11))
    model(case, tmp_path / "alone", iter=10, grad_write_iter=4)  # the first start is that of a run with no other
    general = read_star(tmp_path / "alone_it004_model.star")["model_general"].columns
    assert general["rlnLogLikelihood"][0] == pytest.approx(tried[1], abs=1e-3)


def test_initial_model_tells_of_a_particle_that_a_start_could_not_use(case, tmp_path, capsys):
    """It is the last in the random order, so that no one reads it before the starts do."""
    last = first_particles(read_particles(case / "particles.star"), 300, 0, seed=1)[-1]
    images, _ = read_mrc(case / "particles_001.mrcs")
    images[last] = np.nan
    write_mrc(tmp_path / "with_nan.mrcs", images, PIXEL_A, stack=True)
    star = read_star(case / "particles.star")
    star["particles"]["rlnImageName"] = np.array([f"{i + 1:06d}@{tmp_path}/with_nan.mrcs" for i in range(300)], object)
    write_star(tmp_path / "in.star", list(star.values()))
    result = model(case, tmp_path / "run", i=str(tmp_path / "in.star"), starts=2, iter=10, nr_parts_sigma2noise=50, verb=1)
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    told = [i for i, e in enumerate(events) if e["event"] == "quarantined"]
    tried = [i for i, e in enumerate(events) if e["event"] == "start tried"]
    assert len(told) == 1 and events[told[0]]["image"].startswith(f"{last + 1:06d}@") and told[0] > tried[-1]
    assert "1 particle cannot be used and is left out" in capsys.readouterr().err
    assert result.particles.p_max[last] == 0


def test_initial_model_begins_with_a_given_map(case, tmp_path):
    model(case, tmp_path / "run", ref=str(case / "truth.mrc"), ini_high=60, iter=1)
    first = read_mrc(tmp_path / "run_it000_class001.mrc")[0]
    truth = filters.filtered(read_mrc(case / "truth.mrc")[0], filters.low_pass(BOX * PIXEL_A / 60, BOX, 2))
    np.testing.assert_allclose(first, truth * soft_sphere(BOX, DIAMETER_A / 2 / PIXEL_A, 5), atol=1e-5 * abs(truth).max())


def test_initial_model_of_two_classes_continues_from_its_first_maps(case, tmp_path):
    """Particles are not drawn into classes at random, as they are where classes begin with one map."""
    model(case, tmp_path / "run", K=2, iter=2, grad_write_iter=1, keep_classes=True)
    model(case, tmp_path / "again", **{"continue": str(tmp_path / "run_it000_optimiser.star")})
    same(tmp_path / "run", tmp_path / "again", "002")
    first = read_particles(tmp_path / "run_it001_data.star").particles
    again = read_particles(tmp_path / "run_it002_data.star").particles
    assert (first.class_number != again.class_number).mean() < 0.5


def test_initial_model_continued_remembers_the_symmetry(case, tmp_path):
    """The files of the iterations hold C1, that of the search; the record holds the user's."""
    whole = model(case, tmp_path / "run", sym="C2", iter=2, grad_write_iter=1).map
    again = model(case, tmp_path / "again", **{"continue": str(tmp_path / "run_it001_optimiser.star")}).map
    np.testing.assert_array_equal(again, whole)
    assert read_star(tmp_path / "run_it002_sampling.star")["sampling_general"].columns["rlnSymmetryGroup"][0] == "C1"


def test_initial_model_goes_on_without_moments_and_says_so(case, tmp_path, capsys):
    model(case, tmp_path / "run", iter=2, grad_write_iter=1)
    for path in tmp_path.glob("run_it001_*moment*.mrc"):
        path.unlink()
    model(case, tmp_path / "again", verb=1, **{"continue": str(tmp_path / "run_it001_optimiser.star")})
    assert "the run goes on from its maps alone" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"grad_stepsize_scheme": "fast"}, "--grad_stepsize_scheme: found 'fast', expected plain or a positive number with -step"),
        ({"grad_stepsize_scheme": "..-step"}, "--grad_stepsize_scheme: found '..-step'"),
        ({"tau2_fudge_scheme": "0-step"}, "--tau2_fudge_scheme: found '0-step'"),
        ({"sigma_ang": 5}, "--sigma_ang: found without --ref"),
        ({"firstiter_cc": True}, "--firstiter_cc: found with steps along the gradient"),
        ({"som": True}, "--som: found an option of RELION"),
        ({"auto_refine": True}, "--auto_refine: found an option of RELION"),
        ({"i": None}, "--i: found nothing"),
    ],
)
def test_initial_model_refuses(case, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        model(case, tmp_path / "run", **wrong)


@pytest.mark.slow
def test_initial_model_finds_the_axes_of_the_symmetry(tmp_path, capsys):
    """D2 in a map of any orientation: the last map has the axes where RELION has them, so its copies are the map itself."""
    volume = map_with_d2()
    write_mrc(str(tmp_path / "d2.mrc"), volume, PIXEL_A, stack=False)
    call("simulate", o=str(tmp_path), i=str(tmp_path / "d2.mrc"), n=300, box=BOX, angpix=PIXEL_A, snr=1.0,
         particle_diameter=DIAMETER_A, seed=2, shift_std=4, verb=0)  # fmt: skip
    result = model(tmp_path, tmp_path / "run", sym="D2", verb=1)
    assert "Symmetry D2: its copies correlate by" in capsys.readouterr().out
    turned = result.map[:, ::-1, ::-1][:, : BOX - 1, : BOX - 1]  # about z by 180 degrees; the even box has no mate for index 0
    assert np.corrcoef(turned[1:].ravel(), result.map[1:, 1:, 1:].ravel())[0, 1] > 0.99


def map_with_d2():
    """(box, box, box): four copies of three Gaussian balls."""
    z, y, x = (np.indices((BOX,) * 3) - BOX // 2) * PIXEL_A
    out = np.zeros((BOX,) * 3)
    for cx, cy, cz, width in ((30, 12, 20, 12), (10, 35, -18, 10), (45, 8, -5, 9)):
        for sx, sy, sz in ((1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)):
            out += np.exp(-((x - sx * cx) ** 2 + (y - sy * cy) ** 2 + (z - sz * cz) ** 2) / (2 * width**2))
    return out.astype(np.float32)
