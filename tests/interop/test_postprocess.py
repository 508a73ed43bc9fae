"""Our curves, maps and tables are those of relion_postprocess, but for the random phases."""

import numpy as np
import pytest
from relion_case import BOX, PIXEL_A, relion, write_half_maps

from vitreous.engine import masks3d
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import read_star
from vitreous.programs import postprocess
from vitreous.programs.option_parser import parse
from vitreous.programs.postprocess_options import Options

pytestmark = pytest.mark.interop
RANDOM = "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps"
CORRECTED = "rlnFourierShellCorrelationCorrected"


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    truth = write_half_maps(folder)
    mask = masks3d.soft_edge(masks3d.extend(truth >= 1, 3), 5)
    write_mrc(folder / "mask.mrc", mask, PIXEL_A)
    x = np.linspace(0, 0.5, 2001)  # fine: RELION reads its table half a row off
    rows = "".join(f"{a:.6f} {b:.6f}\n" for a, b in zip(x, np.exp(-1.2 * x)))
    (folder / "mtf.star").write_text(f"data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n{rows}\n")
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
    return folder


def both(folder, monkeypatch, words, crashes=False):
    """(our STAR file, theirs, our result); RELION's program fails after its STAR file where there is no mask."""
    monkeypatch.chdir(folder)
    words = f"--i half1.mrc {words}".split()
    try:
        relion("relion_postprocess", *words, "--o", "theirs/p", folder=folder)
    except AssertionError:
        assert crashes
    result = postprocess.run(parse(Options, [*words, "--o", "ours/p", "--verb", "0"]))
    return read_star("ours/p.star"), read_star("theirs/p.star"), result


def close(name, ours, theirs, atol):
    np.testing.assert_allclose(ours, theirs, atol=atol, err_msg=name)


def test_tables_of_a_masked_run_equal_relion_s(maps, monkeypatch):
    words = "--mask mask.mrc --molweight 300 --skip_fsc_weighting --auto_bfac --autob_lowres 20 --low_pass 12 "
    words += "--half_maps"
    ours, theirs, _ = both(maps, monkeypatch, words)
    assert set(theirs["fsc"]) == set(ours["fsc"]) and set(theirs["guinier"]) == set(ours["guinier"])
    assert set(ours["general"]) - set(theirs["general"]) == {"rlnPostprocessedMap", "rlnPostprocessedMapMasked"}
    assert set(theirs["general"]) <= set(ours["general"])
    for label in set(theirs["fsc"]) - {RANDOM, CORRECTED}:
        close(label, ours["fsc"][label], theirs["fsc"][label], 2e-6)  # six digits in the files
    same = theirs["fsc"][CORRECTED] == theirs["fsc"]["rlnFourierShellCorrelationMaskedMaps"]
    assert same.sum() >= 7
    close(CORRECTED, ours["fsc"][CORRECTED][same], theirs["fsc"][CORRECTED][same], 2e-6)
    # the mask is tight enough for random phases to correlate by 0.05 rms in a shell; both draw theirs
    assert np.abs(ours["fsc"][CORRECTED] - theirs["fsc"][CORRECTED]).max() < 0.3
    assert np.abs(ours["fsc"][RANDOM][9:].mean() - theirs["fsc"][RANDOM][9:].mean()) < 0.05
    for label in theirs["guinier"]:
        close(label, ours["guinier"][label], theirs["guinier"][label], 1e-4)
    for label in set(theirs["general"]):
        if label.startswith("rlnUnfiltered") or label == "rlnMaskName":
            assert ours["general"].value(label) == theirs["general"].value(label)
        else:
            assert ours["general"].value(label) == pytest.approx(theirs["general"].value(label), rel=2e-5), label
    for name in ("p.mrc", "p_masked.mrc", "p_half1.mrc", "p_half2_masked.mrc"):
        (a, pixel_A), (b, _) = read_mrc(f"ours/{name}"), read_mrc(f"theirs/{name}")
        # a relative error of 1e-5 in the B-factor moves the map by as much
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max(), err_msg=name)
        assert pixel_A == PIXEL_A
    ours_xml, theirs_xml = ((maps / f"{who}/p_fsc.xml").read_text().splitlines() for who in ("ours", "theirs"))
    assert len(ours_xml) == len(theirs_xml) and ours_xml[:12] == theirs_xml[:12]


def test_weights_detector_and_b_factor_equal_relion_s(maps, monkeypatch):
    """Without a mask nothing is random, so that every step can be compared."""
    words = "--auto_bfac --autob_lowres 25 --autob_highres 9 --mtf mtf.star --mtf_angpix 3 --filter_edge_width 4 "
    words += "--low_pass 11"
    ours, theirs, _ = both(maps, monkeypatch, words, crashes=True)
    assert set(theirs["fsc"]) == set(ours["fsc"])
    for label in theirs["fsc"]:
        close(label, ours["fsc"][label], theirs["fsc"][label], 2e-6)
    assert ours["general"].value("rlnFinalResolution") == theirs["general"].value("rlnFinalResolution")
    label = "rlnBfactorUsedForSharpening"
    # half a row of the table
    assert ours["general"].value(label) == pytest.approx(theirs["general"].value(label), rel=2e-4)
    ours_map, theirs_map = (read_mrc(f"{who}/p.mrc")[0] for who in ("ours", "theirs"))
    np.testing.assert_allclose(ours_map, theirs_map, atol=1e-3 * np.abs(theirs_map).max())


@pytest.mark.parametrize("words", ["--adhoc_bfac -300 --low_pass -1", "--skip_fsc_weighting", "--angpix 3.1"])
def test_maps_without_a_mask_equal_relion_s(maps, monkeypatch, words):
    both(maps, monkeypatch, words, crashes=True)
    ours_map, theirs_map = (read_mrc(f"{who}/p.mrc")[0] for who in ("ours", "theirs"))
    np.testing.assert_allclose(ours_map, theirs_map, atol=2e-6 * np.abs(theirs_map).max())


def test_resolution_with_a_mask_equals_relion_s(maps, monkeypatch):
    words = "--mask mask.mrc --randomize_at_A 20 --auto_bfac --autob_lowres 25 --autob_highres 11"
    ours, theirs, result = both(maps, monkeypatch, words)
    there, here = (star["general"].value("rlnFinalResolution") for star in (theirs, ours))
    shells = [round(BOX * PIXEL_A / resolution) for resolution in (there, here)]
    assert abs(shells[0] - shells[1]) <= 1  # the curve at 0.143 moves with the random phases
    assert ours["general"].value("rlnRandomiseFrom") == theirs["general"].value("rlnRandomiseFrom")
    label = "rlnBfactorUsedForSharpening"
    assert ours["general"].value(label) == pytest.approx(theirs["general"].value(label), rel=0.03)  # weights
    assert result.assessment.first_random == 9


def test_local_resolution_is_near_relion_s(maps, monkeypatch):
    """RELION transforms the whole box for each ball and gives whole shells; phases are random in both."""
    monkeypatch.chdir(maps)
    words = ["--i", "half1.mrc", "--locres", "--mask", "mask.mrc", "--adhoc_bfac", "-100"]
    relion("relion_postprocess", *words, "--o", "theirs/l", folder=maps)
    postprocess.run(parse(Options, [*words, "--o", "ours/l", "--verb", "0"]))
    inside = read_mrc("mask.mrc")[0] > 0.5
    mine, theirs = (read_mrc(f"{who}/l_locres.mrc")[0][inside] for who in ("ours", "theirs"))
    assert np.median(np.abs(mine / theirs - 1)) < 0.1
    assert np.corrcoef(1 / mine, 1 / theirs)[0, 1] > 0.9
    mine, theirs = (read_mrc(f"{who}/l_locres_filtered.mrc")[0][inside] for who in ("ours", "theirs"))
    assert np.corrcoef(mine, theirs)[0, 1] > 0.97
