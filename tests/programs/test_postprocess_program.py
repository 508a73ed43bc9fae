"""``vitreous postprocess``: files, the automatic mask, what is said and what is refused."""

import re

import numpy as np
import pytest

from vitreous import cli
from vitreous.engine.phantom import make_phantom
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import read_star
from vitreous.programs import postprocess
from vitreous.programs.postprocess_options import Options

N, PIXEL_A = 40, 4.0


@pytest.fixture(scope="module")
def volumes():
    truth = make_phantom(110.0).volume(N, PIXEL_A)
    truth /= truth.std()
    rng = np.random.default_rng(1)
    return truth, [(truth + rng.normal(size=truth.shape)).astype(np.float32) for _ in range(2)]


@pytest.fixture
def folder(tmp_path, volumes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, half in enumerate(volumes[1], 1):
        write_mrc(f"run_half{i}_class001_unfil.mrc", half, PIXEL_A)
    (tmp_path / "mtf.star").write_text("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0.5 0.5\n")
    return tmp_path


HALF1 = "run_half1_class001_unfil.mrc"


def run(**options):
    return postprocess.run(Options.from_keywords(**{"verb": 0, "i": HALF1, **options}))


def test_an_automatic_mask_and_every_file(folder, volumes, capsys):
    words = f"--i {HALF1} --o PostProcess/job002/postprocess --auto_mask --auto_bfac --autob_lowres 20 --half_maps "
    words += "--molweight 300 --mtf mtf.star --interpolate --low_pass -1 --pipeline_control ."
    assert cli.main(["postprocess", *words.split()]) == 0
    out = capsys.readouterr().out
    made = {path.name for path in (folder / "PostProcess/job002").iterdir()}
    assert made == {
        "postprocess.mrc", "postprocess.star", "postprocess_automask.mrc", "postprocess_masked.mrc", "report.html",
        "postprocess_half1.mrc", "postprocess_half2.mrc", "postprocess_half1_masked.mrc",
        "postprocess_half2_masked.mrc", "postprocess_fsc.xml", "postprocess_fsc.dat", "postprocess_options.toml",
        "postprocess.jsonl",
    }  # fmt: skip
    star = read_star("PostProcess/job002/postprocess.star")
    general = star["general"]
    assert general.value("rlnMaskName") == "PostProcess/job002/postprocess_automask.mrc"
    assert general.value("rlnUnfilteredMapHalf2") == "run_half2_class001_unfil.mrc"
    last = out.strip().splitlines()[-1]
    assert re.fullmatch(r"  \+ FINAL RESOLUTION: +\d+\.?\d*", last)
    assert float(last.split()[-1]) == pytest.approx(general.value("rlnFinalResolution"), rel=1e-5)
    assert "resolution between shells" in out and "Made a mask from the average" in out
    assert len(star["fsc"]["rlnSpectralIndex"]) == N // 2 + 1 and "rlnLogAmplitudesMTFCorrected" in star["guinier"]
    page = (folder / "PostProcess/job002/report.html").read_text()
    assert "Guinier" in page and "--autob_lowres" in page and "<svg" in page and len(page) < 5e6
    truth = volumes[0]
    sharp = read_mrc("PostProcess/job002/postprocess_masked.mrc")[0]
    assert np.corrcoef(sharp.ravel(), truth.ravel())[0, 1] > 0.8
    xml = (folder / "PostProcess/job002/postprocess_fsc.xml").read_text()
    assert xml.startswith('<fsc title="RELION masked-corrected FSC"') and xml.count("<coordinate>") == N // 2 + 1


def test_a_mask_gives_a_better_resolution_than_none(folder):
    bare = run(o="bare")
    masked = run(o="masked", auto_mask=True)
    assert masked.assessment.resolution_A < bare.assessment.resolution_A
    assert bare.mask is None and set(read_star("bare.star")["fsc"]) == {
        "rlnSpectralIndex", "rlnResolution", "rlnAngstromResolution", "rlnFourierShellCorrelationUnmaskedMaps",
    }  # fmt: skip
    assert not (folder / "bare_masked.mrc").exists()


def test_half_maps_get_the_filter_of_the_map(folder):
    """The map is the average of the half maps, and so it stays, since every step is linear."""
    run(auto_mask=True, auto_bfac=True, autob_lowres=20.0, half_maps=True)
    halves = [read_mrc(f"postprocess_half{i}.mrc")[0] for i in (1, 2)]
    volume = read_mrc("postprocess.mrc")[0]
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, volume, atol=1e-5 * np.abs(volume).max())


def test_runs_are_the_same_bytes_for_a_seed(folder):
    for root, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(o=root, auto_mask=True, random_seed=seed)
    read = {root: (folder / f"{root}_fsc.dat").read_text() for root in "abc"}
    assert read["a"] == read["b"] != read["c"]
    assert (folder / "a.mrc").read_bytes() == (folder / "b.mrc").read_bytes()


def test_a_negative_seed_draws_one_and_records_it(folder):
    run(auto_mask=True, random_seed=-1)
    assert re.search(r"seed of the phases</td><td[^>]*>[\d,]+<", (folder / "report.html").read_text())


def test_equal_pairs_change_the_curve_little(folder):
    curves = [run(o=f"p{i}", equal_pairs=equal).assessment.unmasked for i, equal in enumerate((False, True))]
    assert 1e-4 < np.abs(curves[0] - curves[1]).max() < 0.1


def test_the_pixel_size_of_the_header_may_be_overruled(folder, capsys):
    found = run(angpix=3.0).assessment
    assert found.pixel_size_A == 3.0 and "header says 4 A" in capsys.readouterr().err
    assert read_mrc("postprocess.mrc")[1] == pytest.approx(3.0)


def test_the_other_half_is_known_by_name():
    assert postprocess.other_half("half1/run_half1_x.mrc") == "half1/run_half2_x.mrc"
    assert postprocess.other_half("a/run_half2.mrc") == "a/run_half1.mrc"
    with pytest.raises(InputError, match=r"--i half1/map.mrc: found no half1 in the name.*give --i2"):
        postprocess.other_half("half1/map.mrc")


def test_local_resolution_leaves_its_files(folder, capsys):
    words = f"--i {HALF1} --o LocalRes/job003/relion --locres --locres_sampling 32 --adhoc_bfac -50 --auto_mask"
    assert cli.main(["postprocess", *words.split(), "--j", "1"]) == 0
    assert "local resolution, 5, 50, 95 %" in capsys.readouterr().out
    made = {path.name for path in (folder / "LocalRes/job003").iterdir()}
    assert made == {
        "relion_locres.mrc", "relion_locres_filtered.mrc", "relion_locres_points.star", "relion_automask.mrc",
        "relion_options.toml", "relion.jsonl", "report.html",
    }  # fmt: skip
    resolution_A = read_mrc("LocalRes/job003/relion_locres.mrc")[0]
    known = resolution_A > 0
    assert 0.2 < known.mean() < 1 and resolution_A[known].min() >= 8 and resolution_A.max() <= 50.001
    points = read_star("LocalRes/job003/relion_locres_points.star")["locres"]
    assert "rlnAngstromResolution" in points and points["rlnCoordinateX"].mean() == N // 2
    page = (folder / "LocalRes/job003/report.html").read_text()
    assert "Local resolution" in page and "<svg" in page


def test_warnings_say_what_to_do(folder, volumes, capsys):
    run()
    assert "no B-factor was applied; give --auto_bfac" in capsys.readouterr().err
    run(adhoc_bfac=0.0)  # who says none wants none
    assert "no B-factor" not in capsys.readouterr().err
    far = np.zeros((N, N, N), np.float32)
    far[:5, :5, :5] = 1
    write_mrc("far.mrc", far, PIXEL_A)
    run(mask="far.mrc")
    assert "force this one with --force_mask" in capsys.readouterr().err
    assert read_star("postprocess.star")["general"].value("rlnMaskName") == "far.mrc"
    run(auto_bfac=True, autob_lowres=60.0, autob_highres=20.0)
    assert re.search("fitted B-factor is -?[0-9]+", capsys.readouterr().err)


@pytest.mark.parametrize("change, text", [
    ({"i": None}, "--i: found no half map"),
    ({"i": "run.mrc"}, "found no half1 in the name"),
    ({"i2": "gone.mrc"}, "--i2 gone.mrc: is not there"),
    ({"i2": HALF1}, "is the same file as --i"),
    ({"i2": "copy.mrc"}, "has the same voxels as --i"),
    ({"i2": "small.mrc"}, "is 20 x 20 x 20 px, expected 40 x 40 x 40"),
    ({"i2": "other_pixel.mrc"}, "the pixel size is 5 A, expected 4 A"),
    ({"i2": "flat.mrc"}, "all voxels of a half map are alike"),
    ({"mask": "small.mrc"}, "--mask small.mrc: is 20 x 20 x 20 px"),
    ({"mask": "copy.mrc"}, "expected 0 to 1; make a mask"),
    ({"mask": "zero.mrc"}, "is 0 everywhere"),
    ({"mask": "zero.mrc", "auto_mask": True}, "--auto_mask: found --mask beside it"),
    ({"auto_mask": True, "inimask_threshold": 1e6}, "which no voxel of the low-passed map reaches"),
    ({"auto_bfac": True, "adhoc_bfac": -100.0}, "--auto_bfac: found --adhoc_bfac"),
    ({"auto_bfac": True, "autob_lowres": 10.0, "autob_highres": 12.0}, "--autob_highres: found 12 A"),
    ({"auto_bfac": True, "autob_lowres": 9.0, "autob_highres": 8.9}, "expected at least 2; widen the range"),
    ({"auto_mask": True, "randomize_at_A": 3.0}, "--randomize_at_A: found 3 A, expected 8 to 160 A"),
    ({"auto_mask": True, "i": "same_half1.mrc"}, "never falls below 0.8.*--randomize_at_A"),
    ({"mtf": HALF1}, "holds binary data"),
    ({"mtf": "bad.star"}, r"bad.star:6: rlnMtfValue is 0.0, expected more than 0"),
    ({"mtf": "unsorted.star"}, r"unsorted.star:6: rlnResolutionInversePixel is 0.0, expected more than in the"),
    ({"locres": True, "auto_bfac": True}, "--locres: found --auto_bfac beside it"),
    ({"locres": True, "locres_sampling": 1.0}, "--locres_sampling: found 1 A, expected at least a voxel of 4 A"),
    ({"locres": True, "locres_maskrad": 80.0}, "--locres_maskrad: found 80 A, expected less than half the box, 80 A"),
    ({"locres": True, "locres_randomize_at": 7.0}, "--locres_randomize_at: found 7 A, expected 8 to 160 A"),
    ({"ampl_corr": True}, "--ampl_corr: found an option of RELION"),
])  # fmt: skip
def test_bad_input_is_refused(folder, volumes, change, text):
    _, halves = volumes
    write_mrc("run.mrc", halves[1], PIXEL_A)
    write_mrc("copy.mrc", halves[0], PIXEL_A)
    write_mrc("small.mrc", halves[0][:20, :20, :20], PIXEL_A)
    write_mrc("other_pixel.mrc", halves[1], 5.0)
    write_mrc("flat.mrc", np.ones((N, N, N), np.float32), PIXEL_A)
    write_mrc("zero.mrc", np.zeros((N, N, N), np.float32), PIXEL_A)
    write_mrc("same_half1.mrc", halves[0], PIXEL_A)
    write_mrc("same_half2.mrc", halves[0] + 1e-3 * halves[1], PIXEL_A)
    head = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n"
    (folder / "bad.star").write_text(head + "0 1\n0.5 0\n")
    (folder / "unsorted.star").write_text(head + "0.5 1\n0 0.5\n")
    with pytest.raises(InputError, match=text):
        run(**change)
    assert not (folder / "postprocess.star").exists()


@pytest.mark.parametrize("part", [np.s_[1:, 1:, 1:], np.s_[3:38, :, 2:39]], ids=["odd", "not a cube"])
def test_boxes_need_be_neither_even_nor_cubes(folder, volumes, part):
    for i, half in enumerate(volumes[1], 1):
        write_mrc(f"odd_half{i}.mrc", half[part], PIXEL_A)
    found = run(i="odd_half1.mrc", auto_mask=True, auto_bfac=True, autob_lowres=25.0, low_pass=-1.0).assessment
    whole = run(auto_mask=True).assessment
    # the longest side, and with it the width of a shell, differs by at most a voxel; the noise is the same
    assert found.resolution_A == pytest.approx(whole.resolution_A, rel=0.12)
    assert read_mrc("postprocess.mrc")[0].shape == volumes[0].shape


def test_half_maps_without_a_common_signal_are_said_to_be_so(folder, capsys):
    rng = np.random.default_rng(5)
    for i in (1, 2):
        write_mrc(f"noise_half{i}.mrc", rng.normal(size=(24, 24, 24)).astype(np.float32), PIXEL_A)
    found = run(i="noise_half1.mrc").assessment
    assert found.shell <= 1 or found.resolution_A > 20
    with pytest.raises(InputError, match="their FSC is too low there"):
        run(i="noise_half1.mrc", auto_bfac=True)


def test_a_header_without_pixel_size_asks_for_it(folder):
    for i in (1, 2):
        path = folder / f"run_half{i}_class001_unfil.mrc"
        data = bytearray(path.read_bytes())
        data[40:52] = bytes(12)
        path.write_bytes(data)
    with pytest.raises(InputError, match="has no pixel size, expected one; give --angpix"):
        run()
    assert run(angpix=4.0).assessment.pixel_size_A == 4.0
