"""class2d --grad from end to end: the right classes from mini-batches, its files, going on, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_class2d_bad_images import BAD, SPOILT, odd_one

from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import class2d as program
from vitreous.programs.class2d_options import Options
from vitreous.programs.option_parser import parse

# Mini-batches of 60 to 100 of the 150 particles; the last iteration takes all.
STEPS = {"grad": True, "grad_ini_subset": 60, "grad_fin_subset": 100, "tau2_fudge": 2, "iter": 30,
         "class_inactivity_threshold": 0.1, "norm": True, "scale": True, "flatten_solvent": True, "center_classes": True}  # fmt: skip
GUI_LINE = (
    "--o Class2D/job012/run --grad --class_inactivity_threshold 0.1 --grad_write_iter 10 --iter 200 --i particles.star "
    "--dont_combine_weights_via_disc --preread_images --pool 3 --pad 2 --ctf --tau2_fudge 2 --particle_diameter 200 --K 50 "
    "--flatten_solvent --zero_mask --center_classes --oversampling 1 --psi_step 12 --offset_range 5 --offset_step 2 "
    "--norm --scale --j 4 --gpu --pipeline_control Class2D/job012/"
)


@pytest.fixture(scope="module")
def thirty(case, tmp_path_factory):
    """Root and result of thirty iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "write_report", lambda *_: None)
        root = tmp_path_factory.mktemp("thirty") / "run"
        return root, case.classify(root, **STEPS)


def test_gradient_finds_the_views(thirty, case, purity):
    _, result = thirty
    assert purity(result.particles.class_number, case.truth) > 0.8  # as expectation-maximisation does
    assert (result.particles.p_max > 0).all()  # the last iteration has seen them all


def test_gradient_averages_look_like_the_views(thirty, case, views):
    _, result = thirty
    ring = np.hypot(*np.indices((32, 32)) - 16).round().astype(int)
    profile = lambda image: np.bincount(ring.ravel(), image.ravel())[:11] / np.bincount(ring.ravel())[:11]
    for k in range(3):
        mine = case.truth[result.particles.class_number == k + 1]
        if len(mine) > 20:  # turned by any angle, so the mean over each ring is compared
            view = np.bincount(mine).argmax() - 1
            assert np.corrcoef(profile(result.classes[k]), profile(views[view]))[0, 1] > 0.9


def test_gradient_writes_every_tenth_iteration_and_the_last(thirty):
    root, result = thirty
    names = {p.name for p in root.parent.iterdir()}
    for i in (0, 10, 20, 30):
        for name in ("data.star", "model.star", "sampling.star", "optimiser.star", "classes.mrcs", "1moment.mrcs", "2moment.mrcs"):
            assert f"run_it{i:03d}_{name}" in names
    assert not any("it015" in name for name in names) and "run_unmasked_classes.mrcs" in names
    assert read_header(f"{root}_it030_1moment.mrcs").nz == 6 and read_header(f"{root}_it030_2moment.mrcs").nz == 3
    assert read_star(f"{root}_it030_optimiser.star")["optimiser_general"].columns["rlnDoGradientRefine"][0] == 1
    np.testing.assert_array_equal(read_mrc(f"{root}_it030_classes.mrcs")[0], result.classes)


def test_gradient_takes_mini_batches_and_all_particles_at_the_end(case, no_report, particles_of, tmp_path):
    root = case.classify(tmp_path / "run", **STEPS | {"iter": 3, "grad_write_iter": 1}).root
    seen = [int((particles_of(root, i).p_max > 0).sum()) for i in range(4)]
    assert seen[:2] == [0, 73] and seen[3] == 150  # all three are of the middle phase, the first a third of its way from 60 to 100
    unseen = particles_of(root, 1).p_max == 0
    assert (particles_of(root, 1).class_number[unseen] == 0).all()


SETS = {
    "usual": {},
    "schemes": {"grad_stepsize": 0.4, "grad_stepsize_scheme": "2-step", "tau2_fudge_scheme": "plain", "mu": 0.8},
    "phases": {"grad_ini_frac": 0.1, "grad_fin_frac": 0.4, "grad_em_iters": 2},
    "limits": {"grad_ini_resol": 40, "grad_fin_resol": 20, "maxsig": 4, "pad": 1, "center_classes": None},
    "one class": {"K": 1, "grad_ini_subset": None, "grad_fin_subset": None, "tau2_fudge": None},
    "coarser": {"allow_coarser_sampling": True},
    "kept": {"skip_align": True, "i": "truth"},
    "one reference": {"ref": "ref1"},
}


@pytest.mark.parametrize("name", SETS)
def test_gradient_continued_is_the_same_to_the_bit(case, views, no_report, outputs, tmp_path, name):
    write_mrc(tmp_path / "ref.mrc", views[0], 6.0)
    given = {"truth": case.truth_file, "ref1": str(tmp_path / "ref.mrc")}
    options = STEPS | {"iter": 4, "grad_write_iter": 1} | SETS[name]
    options = {flag: given.get(value, value) if isinstance(value, str) else value for flag, value in options.items()}
    root = tmp_path / "run"
    case.classify(root, **options)
    for i in (0, 1, 3):
        again = tmp_path / f"from{i}"
        case.classify(again, continue_from=f"{root}_it{i:03d}_optimiser.star", j=2)
        assert outputs(again, 4) == outputs(root, 4), f"continued from iteration {i}"
        for moment in ("1moment.mrcs", "2moment.mrcs"):
            assert Path(f"{again}_it004_{moment}").read_bytes() == Path(f"{root}_it004_{moment}").read_bytes()


def test_gradient_continued_without_its_record_keeps_the_weight_of_the_end(case, no_report, outputs, tmp_path):
    """The model file holds the weight of its own iteration."""
    options = {name: STEPS[name] for name in ("grad", "tau2_fudge", "norm", "flatten_solvent")}
    root = tmp_path / "run"
    case.classify(root, **options, iter=4, grad_write_iter=1)
    Path(f"{root}_options.toml").unlink()
    case.classify(tmp_path / "again", continue_from=f"{root}_it002_optimiser.star", j=2)
    assert outputs(tmp_path / "again", 4) == outputs(root, 4)


def test_gradient_goes_on_without_moments_and_says_so(case, no_report, tmp_path, capfd):
    root = case.classify(tmp_path / "run", **STEPS | {"iter": 2, "grad_write_iter": 1}).root
    for path in tmp_path.glob("run_it001_*moment.mrcs"):
        path.unlink()
    case.classify(tmp_path / "again", continue_from=f"{root}_it001_optimiser.star", j=2, verb=1)
    assert "the run goes on from its maps alone" in "".join(capfd.readouterr())


def test_flags_of_a_gradient_are_refused_where_the_run_that_goes_on_has_none(case, no_report, tmp_path):
    root = case.classify(tmp_path / "run", iter=1).root
    with pytest.raises(InputError, match="--grad_em_iters: found without --grad"):
        case.classify(tmp_path / "again", continue_from=f"{root}_it001_optimiser.star", iter=2, grad_em_iters=1)


def test_gradient_goes_on_without_the_weight_and_the_moments(case, no_report, tmp_path):
    """Whose weight of the data may be unset, and whose moments have other names or another lattice."""
    root = case.classify(tmp_path / "run", **STEPS | {"iter": 2, "grad_write_iter": 1}).root
    name = f"{root}_it001_optimiser.star"
    blocks = {key: dict(block.columns) for key, block in read_star(name).items()}
    blocks["optimiser_general"]["rlnTau2FudgeArg"] = np.array([-1.0])
    write_star(name, blocks)
    Path(f"{root}_options.toml").unlink()
    for path in tmp_path.glob("run_it001_*moment.mrcs"):
        path.unlink()
    again = case.classify(tmp_path / "again", continue_from=name, j=2)
    assert again.model.tau2_fudge == pytest.approx(4, rel=0.2)  # RELION's own choice, at the end of the schedule


def test_gradient_does_not_depend_on_the_number_of_threads(case, no_report, outputs, tmp_path):
    for n in (1, 2):
        case.classify(tmp_path / f"{n}", **STEPS | {"iter": 5, "grad_em_iters": 1, "j": n})
    assert outputs(tmp_path / "1", 5) == outputs(tmp_path / "2", 5)
    assert (tmp_path / "1_it005_1moment.mrcs").read_bytes() == (tmp_path / "2_it005_1moment.mrcs").read_bytes()


@pytest.mark.parametrize("spoilt", ["nan", "far off scale", "missing"])
def test_bad_image_of_a_mini_batch_is_left_out(case, no_report, events, particles_of, tmp_path, spoilt):
    """It leaves no trace in the averages, whatever the damage; and the half-sets of the others stay what they are."""
    make, cause = SPOILT[spoilt]
    file, name = odd_one(case, tmp_path / "in", make)
    result = case.classify(tmp_path / "out" / "run", i=file, **STEPS | {"iter": 6})
    listed = [e for e in events(tmp_path / "out" / "run") if e["event"] == "quarantined"]
    assert [e["image"] for e in listed] == [name] and cause in listed[0]["cause"]
    assert not result.dataset.usable[BAD] and np.isfinite(result.classes).all()
    left = particles_of(tmp_path / "out" / "run", 6)
    assert left.n_significant[BAD] == 0 and (np.delete(left.n_significant, BAD) > 0).all()


def test_gradient_report_and_log_have_every_iteration(case, events, tmp_path):
    root = case.classify(tmp_path / "run", **STEPS | {"iter": 5}).root
    assert [e["iteration"] for e in events(root) if e["event"] == "iteration"] == [1, 2, 3, 4, 5]
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_relions_command_is_taken_and_needs_no_iter():
    options = parse(Options, GUI_LINE.split())
    assert (options.grad, options.iter, options.tau2_fudge, options.grad_write_iter) == (True, 200, 2, 10)
    left = parse(Options, ["--i", "a.star", "--o", "b", "--grad"]).with_gradient_defaults()
    assert (left.iter, left.tau2_fudge) == (200, 4)
    plain = parse(Options, ["--i", "a.star", "--o", "b"]).with_gradient_defaults()
    assert (plain.iter, plain.tau2_fudge) == (50, 1)
    given = parse(Options, ["--i", "a.star", "--o", "b", "--grad", "--iter", "50"]).with_gradient_defaults()
    assert given.iter == 50


def test_steps_begin_with_the_length_of_the_schemes():
    steps = lambda *words: parse(Options, [*["--i", "a", "--o", "b", "--grad", "--tau2_fudge", "2"], *words]).gradient()
    usual = steps()
    assert (usual.step, usual.step_scheme, usual.tau2_fudge, usual.tau2_scheme) == pytest.approx((0.3, 0.9, 2, 1))
    assert steps("--grad_stepsize", "0.4", "--grad_stepsize_scheme", "2-step").step_scheme == pytest.approx(0.8)
    assert steps("--tau2_fudge_scheme", "plain").tau2_scheme == 2
    assert steps().first_limit_A == 0 and steps("--grad_ini_resol", "20").first_limit_A == 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grad": True, "fast_subsets": True}, "--fast_subsets: found with --grad, expected without, as mini-batches"),
        ({"grad": True, "always_cc": True}, "--always_cc: found with --grad"),
        ({"grad": True, "firstiter_cc": True}, "--firstiter_cc: found with --grad"),
        ({"grad": True, "skip_maximize": True}, "--skip_maximize: found with --grad"),
        ({"grad": True, "ref": "x", "ctf_uncorrected_ref": True}, "--ctf_uncorrected_ref: found with --grad"),
        ({"grad": True, "grad_stepsize_scheme": "fast"}, "--grad_stepsize_scheme: found 'fast', expected plain or a positive"),
        ({"grad": True, "som": True}, "--som: found an option of RELION"),
        ({"grad_em_iters": 3}, "--grad_em_iters: found without --grad, expected with it"),
        ({"class_inactivity_threshold": 0.1}, "--class_inactivity_threshold: found without --grad"),
    ],
)
def test_wrong_options_are_refused(case, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        case.classify(tmp_path / "run", **wrong)


def test_gradient_is_not_switched_by_continue(case, base, tmp_path):
    with pytest.raises(InputError, match="--grad: found True with --continue, expected False as in the run"):
        case.classify(tmp_path / "more", continue_from=f"{base.root}_it002_optimiser.star", grad=True)
