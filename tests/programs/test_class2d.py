"""class2d from end to end: what a run leaves, and that its answer is right and repeatable."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from vitreous.io.mrc import read_header, read_mrc
from vitreous.io.star import read_star

DATA_COLUMNS = {
    "rlnGroupNumber", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst",
    "rlnClassNumber", "rlnNormCorrection", "rlnLogLikeliContribution", "rlnMaxValueProbDistribution",
    "rlnNrOfSignificantSamples",
}  # fmt: skip
MODEL_GENERAL = {
    "rlnReferenceDimensionality", "rlnDataDimensionality", "rlnOriginalImageSize", "rlnPixelSize",
    "rlnCurrentResolution", "rlnCurrentImageSize", "rlnPaddingFactor", "rlnNrClasses", "rlnNrGroups",
    "rlnNrOpticsGroups", "rlnTau2FudgeFactor", "rlnNormCorrectionAverage", "rlnSigmaOffsetsAngst", "rlnLogLikelihood",
    "rlnAveragePmax",
}  # fmt: skip
MODEL_CLASSES = {
    "rlnReferenceImage", "rlnClassDistribution", "rlnAccuracyRotations", "rlnAccuracyTranslationsAngst",
    "rlnEstimatedResolution", "rlnOverallFourierCompleteness", "rlnClassPriorOffsetX", "rlnClassPriorOffsetY",
}  # fmt: skip
MODEL_CLASS = {
    "rlnSpectralIndex", "rlnResolution", "rlnAngstromResolution", "rlnSsnrMap", "rlnGoldStandardFsc",
    "rlnFourierCompleteness", "rlnReferenceSigma2", "rlnReferenceTau2",
}  # fmt: skip
OPTIMISER = {
    "rlnOutputRootName", "rlnModelStarFile", "rlnExperimentalDataStarFile", "rlnOrientSamplingStarFile",
    "rlnCurrentIteration", "rlnNumberOfIterations", "rlnDoSplitRandomHalves", "rlnJoinHalvesUntilThisResolution",
    "rlnAdaptiveOversampleOrder", "rlnAdaptiveOversampleFraction", "rlnRandomSeed", "rlnParticleDiameter",
    "rlnWidthMaskEdge", "rlnDoZeroMask", "rlnDoSolventFlattening", "rlnSolventMaskName", "rlnTauSpectrumName",
    "rlnMaximumCoarseImageSize", "rlnHighresLimitExpectation", "rlnIncrementImageSize", "rlnDoMapEstimation",
    "rlnDoAutoRefine", "rlnAutoLocalSearchesHealpixOrder", "rlnNumberOfIterWithoutResolutionGain",
    "rlnBestResolutionThusFar", "rlnNumberOfIterWithoutChangingAssignments", "rlnDoSkipAlign",
    "rlnOverallAccuracyRotations", "rlnOverallAccuracyTranslationsAngst", "rlnChangesOptimalOrientations",
    "rlnChangesOptimalOffsets", "rlnChangesOptimalClasses", "rlnSmallestChangesOrientations",
    "rlnSmallestChangesOffsets", "rlnSmallestChangesClasses", "rlnHasConverged", "rlnDoCorrectNorm",
    "rlnDoCorrectScale", "rlnDoCorrectCtf", "rlnFixSigmaNoiseEstimates", "rlnFixSigmaOffsetEstimates",
    "rlnMaxNumberOfPooledParticles",
}  # fmt: skip
N_ITERATIONS = 5


@pytest.fixture(scope="module")
def run(case, command, tmp_path_factory):
    """A whole run as a command, with all corrections on: finished process, root."""
    root = tmp_path_factory.mktemp("whole") / "Class2D" / "run"
    switches = dict.fromkeys(("norm", "scale", "flatten_solvent", "center_classes"), True)
    return command(case.words(root, iter=N_ITERATIONS, verb=1, tau2_fudge=2, **switches)), root


def test_class2d_ends_well_and_says_so(run):
    done, root = run
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for i in range(1, N_ITERATIONS + 1):
        assert f" Expectation iteration {i} of {N_ITERATIONS}\n" in done.stdout
    assert str(root.parent / "report.html") in done.stdout


def test_class2d_leaves_every_file_of_every_iteration(run):
    _, root = run
    for i in range(N_ITERATIONS + 1):
        for name in ("data.star", "model.star", "sampling.star", "optimiser.star", "classes.mrcs"):
            assert Path(f"{root}_it{i:03d}_{name}").stat().st_size > 0
    assert read_header(Path(f"{root}_unmasked_classes.mrcs")).nz == 3
    assert not list(root.parent.glob(".*")), "temporary files are left"


def test_class2d_files_have_the_columns_that_relion_asks_for(run):
    _, root = run
    for i in range(N_ITERATIONS + 1):
        start = f"{root}_it{i:03d}_"
        assert set(read_star(start + "data.star")["particles"].columns) >= DATA_COLUMNS
        model = read_star(start + "model.star")
        assert set(model["model_general"].columns) >= MODEL_GENERAL
        assert set(model["model_classes"].columns) >= MODEL_CLASSES
        assert set(model["model_class_2"].columns) >= MODEL_CLASS
        assert {"rlnGroupName", "rlnGroupNrParticles", "rlnGroupScaleCorrection"} <= set(model["model_groups"].columns)
        assert "rlnSigma2Noise" in model["model_optics_group_1"].columns
        assert "rlnPsiStep" in read_star(start + "sampling.star")["sampling_general"].columns
        assert set(read_star(start + "optimiser.star")["optimiser_general"].columns) >= OPTIMISER


def test_class2d_keeps_every_row_and_column_of_the_input(run, case):
    _, root = run
    before = read_star(case.particles)["particles"].columns
    after = read_star(f"{root}_it{N_ITERATIONS:03d}_data.star")["particles"].columns
    assert list(after)[: len(before)] == list(before)
    assert list(after["rlnImageName"]) == list(before["rlnImageName"])


def test_class2d_finds_the_views(run, case, particles_of, purity):
    _, root = run
    found = particles_of(root, N_ITERATIONS).class_number
    # Chance is a little over a third; seeds 1 to 5 of the simulation give 0.93 or more.
    assert purity(found, case.truth) > 0.8


def test_class2d_averages_look_like_the_views(run, case, classes_of, particles_of):
    _, root = run
    found = classes_of(root, N_ITERATIONS)
    views = read_mrc(case.folder / "truth_views.mrcs")[0]
    particles = particles_of(root, N_ITERATIONS)
    ring = np.hypot(*np.indices((32, 32)) - 16).round().astype(int)
    profile = lambda image: np.bincount(ring.ravel(), image.ravel())[:11] / np.bincount(ring.ravel())[:11]
    for k in range(3):
        mine = case.truth[particles.class_number == k + 1]
        if len(mine) > 20:  # turned by any angle, so the mean over each ring is compared
            view = np.bincount(mine).argmax() - 1
            assert np.corrcoef(profile(found[k]), profile(views[view]))[0, 1] > 0.9


def test_class2d_report_is_one_small_page_with_pictures(run):
    _, root = run
    page = (root.parent / "report.html").read_text()
    assert len(page) < 5e6
    pictures = re.findall(r"data:image/(png|svg\+xml|jpeg|webp);base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) + page.count("<svg") >= 3
    for kind, text in pictures:
        data = base64.b64decode(text, validate=True)
        assert kind != "png" or data.startswith(b"\x89PNG")
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page), "the page needs the network"
    assert "random seed" in page.lower()


def test_class2d_log_tells_every_iteration(run, events):
    _, root = run
    log = events(root)
    assert log[0]["event"] == "start"
    assert log[-1]["event"] == "end" and log[-1]["status"] == "finished"
    iterations = [e for e in log if e["event"] == "iteration"]
    assert [e["iteration"] for e in iterations] == list(range(1, N_ITERATIONS + 1))
    assert all(e["resolution_A"] > 0 and 0 < e["p_max"] <= 1 for e in iterations)
    assert sum(iterations[-1]["class_weight"]) == pytest.approx(1)
    assert next(e for e in log if e["event"] == "memory forecast")["total"] > 0


def test_class2d_record_names_every_choice_and_who_made_it(run):
    _, root = run
    record = Path(f"{root}_options.toml").read_text()
    assert re.search(r"^K = 3  # user$", record, re.M)
    assert re.search(r"^pad = 2  # default$", record, re.M)


def test_class2d_from_python_gives_the_same_as_the_command(run, case, no_report, outputs, tmp_path):
    _, root = run
    switches = dict.fromkeys(("norm", "scale", "flatten_solvent", "center_classes"), True)
    result = case.classify(tmp_path / "run", iter=N_ITERATIONS, tau2_fudge=2, **switches)
    assert outputs(tmp_path / "run", N_ITERATIONS) == outputs(root, N_ITERATIONS)
    np.testing.assert_array_equal(result.classes, read_mrc(f"{root}_it{N_ITERATIONS:03d}_classes.mrcs")[0])
    assert result.classes.shape == (3, 32, 32)
    assert len(result.particles) == len(case.truth) == len(result.dataset)
    assert result.root == str(tmp_path / "run")


@pytest.mark.parametrize("deterministic", [None, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_class2d_does_not_depend_on_threads(case, base, no_report, outputs, tmp_path, threads, deterministic):
    switches = dict.fromkeys(("norm", "scale"), True)
    for n in (2, threads):
        case.classify(tmp_path / f"{n}", j=n, deterministic=deterministic, **switches)
    assert outputs(tmp_path / "2", 2) == outputs(tmp_path / f"{threads}", 2)


def test_class2d_without_zero_mask_does_not_depend_on_threads(case, no_report, outputs, tmp_path):
    for n in (1, 2):
        case.classify(tmp_path / f"{n}", j=n, zero_mask=None)
    assert outputs(tmp_path / "1", 2) == outputs(tmp_path / "2", 2)


def test_class2d_seed_decides_the_result(case, base, no_report, outputs, tmp_path):
    for seed in (1, 2):
        case.classify(tmp_path / f"{seed}", random_seed=seed)
    assert outputs(tmp_path / "1", 2) == outputs(base.root, 2)
    assert outputs(tmp_path / "2", 2) != outputs(base.root, 2)
