"""--continue: every option is remembered, those that may change do, others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import read_star

# What is decided at the start, by name; values that are paths are filled in by the test.
SETS = {
    "usual": {},
    "one_reference": {"ref": "ref1"},
    "one_reference_cc": {"ref": "ref1", "firstiter_cc": True, "ini_high": 40},
    "references_cc": {"ref": "ref3", "firstiter_cc": True, "ini_high": 40},
    "always_cc": {"always_cc": True},
    "subsets": {"fast_subsets": True, "K": 1},
    "coarser": {"allow_coarser_sampling": True},
    "limits": {"strict_highres_exp": 30, "strict_lowres_exp": 120, "incr_size": 4, "minres_map": 7},
    "offsets": {"min_sigma2_offset": 60, "nr_parts_sigma2noise": 20},
    "search": {"maxsig": 5, "coarse_size": 16, "pad": 1, "perturb": 0.3, "oversampling": 2, "adaptive_fraction": 0.9},
    "masks": {"solvent_mask": "mask", "flatten_solvent": True, "tau": "tau", "maskedge": 3, "center_classes": True},
    "fixed": {"fix_sigma_noise": True, "fix_sigma_offset": True, "offset": 7, "no_init_blobs": True},
    "first_peak": {"ctf_intact_first_peak": True, "norm": True, "scale": True},
    "uncorrected": {"ref": "ref3", "ctf_uncorrected_ref": True},
    "flips": {"only_flip_phases": True, "zero_mask": None, "tau2_fudge": 3},
    "kept": {"i": "truth", "skip_align": True},
    "turned": {"i": "truth", "skip_rotate": True, "norm": True, "no_norm": True},
}
N_ITERATIONS = 3


@pytest.fixture(scope="module")
def files(case, base, tmp_path_factory):
    """word -> file that it stands for in an option."""
    folder = tmp_path_factory.mktemp("given")
    views, _ = read_mrc(case.folder / "truth_views.mrcs")
    write_mrc(folder / "ref1.mrc", views[0], 6.0)
    write_mrc(folder / "ref3.mrcs", views, 6.0, stack=True)
    radius = np.hypot(*np.indices((32, 32)) - 16)
    write_mrc(folder / "mask.mrc", np.clip(13 - radius, 0, 1).astype(np.float32), 6.0)
    return {
        "ref1": str(folder / "ref1.mrc"), "ref3": str(folder / "ref3.mrcs"), "mask": str(folder / "mask.mrc"),
        "tau": f"{base.root}_it002_model.star", "truth": case.truth_file,
    }  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_continued_run_remembers_every_option(case, files, no_report, outputs, tmp_path, name):
    options = {flag: files.get(value, value) if isinstance(value, str) else value for flag, value in SETS[name].items()}
    root = tmp_path / "run"
    case.classify(root, iter=N_ITERATIONS, **options)
    expected = outputs(root, N_ITERATIONS)
    for i in range(N_ITERATIONS):
        again = tmp_path / f"from{i}"
        case.classify(again, continue_from=f"{root}_it{i:03d}_optimiser.star", j=2)
        assert outputs(again, N_ITERATIONS) == expected, f"continued from iteration {i}"


def test_run_continued_without_its_record_uses_the_star_files(case, base, no_report, outputs, tmp_path):
    root = tmp_path / "run"
    case.classify(root)
    Path(f"{root}_options.toml").unlink()
    case.classify(tmp_path / "again", continue_from=f"{root}_it001_optimiser.star", j=2)
    assert outputs(tmp_path / "again", 2) == outputs(root, 2)


def continued(case, base, tmp_path, **changes):
    """The usual run continued from its last iteration, to iteration 3 unless ``changes`` has another."""
    root = tmp_path / "more"
    return case.classify(root, continue_from=f"{base.root}_it002_optimiser.star", **({"iter": 3, "j": 2} | changes))


def general(root, iteration, file):
    """label -> value of the first block of an iteration's file."""
    block = next(iter(read_star(f"{root}_it{iteration:03d}_{file}.star").values()))
    return {label: column[0] for label, column in block.columns.items()}


def test_iterations_are_added(case, base, no_report, tmp_path):
    root = continued(case, base, tmp_path, iter=4).root
    assert root == str(tmp_path / "more")
    assert general(root, 4, "optimiser")["rlnNumberOfIterations"] == 4
    assert not Path(f"{root}_it002_optimiser.star").exists()


def test_output_goes_on_beside_the_old_files_by_default(case, no_report, tmp_path):
    root = case.classify(tmp_path / "run", iter=1).root
    assert case.classify(None, continue_from=f"{root}_it001_optimiser.star", iter=2).root == root
    assert Path(f"{root}_it002_optimiser.star").exists()


@pytest.mark.parametrize(("change", "file", "label", "value"), [
    ({"tau2_fudge": 4}, "model", "rlnTau2FudgeFactor", 4),
    ({"pad": 1}, "model", "rlnPaddingFactor", 1),
    ({"psi_step": 30}, "sampling", "rlnPsiStep", 30),
    ({"offset_range": 2}, "sampling", "rlnOffsetRange", 12),
    ({"offset_step": 2}, "sampling", "rlnOffsetStep", 12),
    ({"perturb": 0}, "sampling", "rlnSamplingPerturbInstance", 0),
    ({"perturb": 0.2}, "sampling", "rlnSamplingPerturbFactor", 0.2),
    ({"oversampling": 0}, "optimiser", "rlnAdaptiveOversampleOrder", 0),
    ({"strict_highres_exp": 40}, "optimiser", "rlnHighresLimitExpectation", 40),
    ({"particle_diameter": 120}, "optimiser", "rlnParticleDiameter", 120),
    ({"flatten_solvent": True}, "optimiser", "rlnDoSolventFlattening", 1),
    ({"center_classes": True}, "optimiser", "rlnDoCenterClasses", 1),
    ({"norm": True}, "optimiser", "rlnDoCorrectNorm", 1),
    ({"scale": True}, "optimiser", "rlnDoCorrectScale", 1),
    ({"maxsig": 9}, "optimiser", "rlnMaximumSignificantPoses", 9),
    ({"skip_align": True}, "optimiser", "rlnDoSkipAlign", 1),
    ({"skip_rotate": True}, "optimiser", "rlnDoSkipRotate", 1),
    ({"fast_subsets": True}, "optimiser", "rlnDoFastSubsetOptimisation", 1),
    ({"offset": 20, "skip_maximize": True}, "model", "rlnSigmaOffsetsAngst", 20),
])  # fmt: skip
def test_changed_option_is_used_and_kept(case, base, no_report, outputs, tmp_path, change, file, label, value):
    root = continued(case, base, tmp_path, **change).root
    assert general(root, 3, file)[label] == pytest.approx(value)
    case.classify(tmp_path / "same", continue_from=f"{base.root}_it002_optimiser.star", iter=3)
    if "fast_subsets" not in change:  # with so few particles a subset is all of them
        assert outputs(root, 3) != outputs(tmp_path / "same", 3)


def test_changed_option_stays_changed_when_continued_again(case, base, no_report, tmp_path):
    root = continued(case, base, tmp_path, psi_step=30, strict_highres_exp=40).root
    again = case.classify(tmp_path / "again", continue_from=f"{root}_it003_optimiser.star", iter=4).root
    assert general(again, 4, "sampling")["rlnPsiStep"] == 30
    assert general(again, 4, "optimiser")["rlnHighresLimitExpectation"] == 40


def test_correction_can_be_switched_off(case, no_report, tmp_path):
    root = case.classify(tmp_path / "run", norm=True, scale=True).root
    off = {"no_norm": True, "no_scale": True}
    again = case.classify(tmp_path / "again", continue_from=f"{root}_it002_optimiser.star", iter=3, **off)
    assert general(again.root, 3, "optimiser")["rlnDoCorrectNorm"] == 0
    assert general(again.root, 3, "optimiser")["rlnDoCorrectScale"] == 0


@pytest.mark.parametrize("change", [
    {"K": 4}, {"ctf": None, "zero_mask": None, "random_seed": 7}, {"random_seed": 7}, {"firstiter_cc": True},
    {"maskedge": 2}, {"ref": "views.mrcs"}, {"incr_size": 3}, {"fix_sigma_noise": True},
    {"adaptive_fraction": 0.5}, {"i": "other.star"},
])  # fmt: skip
def test_option_that_decided_the_past_is_refused(case, base, no_report, tmp_path, change):
    with pytest.raises(InputError, match=r"--\w+: found .* expected .*; leave --\w+ out"):
        continued(case, base, tmp_path, **change)
    assert not list(tmp_path.iterdir())


def test_the_same_value_again_is_no_change(case, base, no_report, outputs, tmp_path):
    continued(case, base, tmp_path, K=3, random_seed=1, ctf=True, zero_mask=True)
    case.classify(tmp_path / "same", continue_from=f"{base.root}_it002_optimiser.star", iter=3)
    assert outputs(tmp_path / "more", 3) == outputs(tmp_path / "same", 3)


@pytest.mark.parametrize("n", [1, 2])
def test_finished_run_is_not_continued_in_silence(case, base, no_report, tmp_path, capfd, n):
    result = continued(case, base, tmp_path, iter=n)
    assert not list(tmp_path.glob("*_it*"))
    assert "--iter" in capfd.readouterr().err
    np.testing.assert_array_equal(result.classes, base.classes)


@pytest.mark.parametrize("file", ["model.star", "data.star", "classes.mrcs"])
def test_missing_file_is_named(case, no_report, tmp_path, file):
    root = case.classify(tmp_path / "run", iter=1).root
    Path(f"{root}_it001_{file}").unlink()
    with pytest.raises(InputError, match=rf"run_it001_{file}.*, expected .*; \w+"):
        case.classify(None, continue_from=f"{root}_it001_optimiser.star", iter=2)


@pytest.mark.parametrize("file", ["model.star", "data.star", "classes.mrcs", "optimiser.star"])
def test_file_cut_short_is_named(case, no_report, tmp_path, file):
    root = case.classify(tmp_path / "run", iter=1).root
    path = Path(f"{root}_it001_{file}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"run_it001_.*expected "):
        case.classify(None, continue_from=f"{root}_it001_optimiser.star", iter=2)


def test_wrong_file_is_answered_with_the_right_one(case, base, no_report, tmp_path):
    for wrong in ("_it002_data.star", "_it009_optimiser.star", ""):
        with pytest.raises(InputError, match=r"expected .*; give .*_it002_optimiser.star"):
            case.classify(tmp_path / "run", continue_from=base.root + wrong)
