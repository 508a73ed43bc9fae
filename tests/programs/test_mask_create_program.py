"""``vitreous mask-create``: files, the automatic threshold, refusals."""

import numpy as np
import pytest

from vitreous import cli
from vitreous.engine.fsc import mass_in_mask_kDa
from vitreous.engine.phantom import make_phantom
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.programs import mask_create
from vitreous.programs.mask_create import Options


@pytest.fixture(scope="module")
def volume():
    made = make_phantom(90.0).volume(32, 4.0)
    return made / made.std()


@pytest.fixture
def folder(tmp_path, volume, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mrc("map.mrc", volume, 4.0)
    return tmp_path


def make(**options):
    return mask_create.run(Options.from_keywords(**{"verb": 0, "i": "map.mrc", **options}))


def test_files_of_a_mask(folder, volume):
    words = "--i map.mrc --o MaskCreate/job001/m --ini_threshold 1 --pipeline_control ."
    assert cli.main(["mask-create", *words.split()]) == 0
    mask, pixel_size_A = read_mrc("MaskCreate/job001/m.mrc")
    np.testing.assert_array_equal(mask, volume >= 1)
    assert pixel_size_A == 4.0
    made = {path.name for path in (folder / "MaskCreate/job001").iterdir()}
    assert made == {"m.mrc", "m.jsonl", "m_options.toml", "report.html"}
    page = (folder / "MaskCreate/job001/report.html").read_text()
    assert "map times mask" in page and "--ini_threshold" in page and len(page) < 5e6
    assert (folder / "RELION_JOB_EXIT_SUCCESS").exists()


def test_the_threshold_is_chosen_and_printed(folder, volume, capsys):
    result = make(verb=1, width_soft_edge=4)
    out = capsys.readouterr().out
    assert f"threshold: {'':19} {result.threshold:.4g}" in out and "kDa" in out
    assert volume[result.mask > 0].sum() > 0.9 * volume.sum()
    # each map has its own threshold, so the scale of a second one does not matter
    write_mrc("scaled.mrc", 50 * volume, 4.0)
    np.testing.assert_array_equal(make(**{"and": "scaled.mrc", "width_soft_edge": 4}).mask, result.mask)


def test_a_negative_threshold_is_a_threshold(folder, volume):
    write_mrc("map.mrc", volume - 10, 4.0)
    assert make(ini_threshold=-9.0).mask.mean() == pytest.approx((volume >= 1).mean())


def test_masks_of_images_have_two_dimensions(folder):
    disc = np.zeros((24, 24), np.float32)
    disc[8:16, 8:16] = 1
    write_mrc("image.mrc", disc, 2.0)
    result = make(i="image.mrc", ini_threshold=0.5, extend_inimask=2, invert=True)
    assert result.mask.shape == (1, 24, 24) and (result.mask == 0).sum() == 64 + 4 * 8 + 4


def test_a_map_without_pixel_size_is_taken_as_1_A(folder, volume, capsys):
    data = bytearray((folder / "map.mrc").read_bytes())
    data[40:52] = bytes(12)
    (folder / "map.mrc").write_bytes(data)
    assert make(ini_threshold=1.0).pixel_size_A == 1.0 and "1 A is assumed" in capsys.readouterr().err
    with pytest.raises(InputError, match="give --angpix"):
        make(ini_threshold=1.0, lowpass=20.0)
    make(ini_threshold=1.0, lowpass=20.0, angpix=4.0)
    assert read_header("mask.mrc").pixel_size_A == pytest.approx(4.0)


@pytest.mark.parametrize("threshold, edge, warned", [(0.5, 0, False), (-1.0, 0, True)])
def test_what_looks_wrong_is_said(folder, capsys, threshold, edge, warned):
    make(ini_threshold=threshold, width_soft_edge=edge)
    assert ("every voxel is inside" in capsys.readouterr().err) == warned


def test_a_mask_at_the_edge_of_the_box_is_warned_of(folder, volume, capsys):
    write_mrc("map.mrc", np.roll(volume, 12, axis=0), 4.0)
    make(ini_threshold=1.0)
    assert "reaches the edge of the box" in capsys.readouterr().err


@pytest.mark.parametrize("change, text", [
    ({"i": None}, "--i: found no map"),
    ({"i": "none.mrc"}, "--i none.mrc: is not there"),
    ({"and": "map.mrc", "or": "map.mrc"}, "--and and --or: found several"),
    ({"and": "small.mrc", "ini_threshold": 1.0}, "is 16 x 16 x 16 px, expected 32 x 32 x 32"),
    ({"denovo": True}, "found a map beside it"),
    ({"i": None, "denovo": True}, "--box_size: found none"),
    ({"i": None, "denovo": True, "box_size": 32, "inner_radius": 5, "outer_radius": 5}, "--inner_radius: found 5 px"),
    ({"helix": True}, "expected more than 0 for a soft cut"),
    ({"ini_threshold": 1e6}, "no voxel is inside the mask.*give a lower --ini_threshold than 1e"),
    ({"ini_threshold": 3.0, "extend_inimask": -9}, "shrink less with --extend_inimask"),
    ({"i": "flat.mrc"}, "all voxels are alike"),
    ({"i": "nan.mrc"}, "1 voxels are NaN or infinite"),
    ({"z_percentage": 30}, "--z_percentage: found 30"),
])  # fmt: skip
def test_bad_input_is_refused(folder, volume, change, text):
    write_mrc("small.mrc", volume[:16, :16, :16], 4.0)
    write_mrc("flat.mrc", np.ones((8, 8, 8), np.float32), 4.0)
    bad = volume.copy()
    bad[3, 4, 5] = np.nan
    write_mrc("nan.mrc", bad, 4.0)
    with pytest.raises(InputError, match=text):
        make(**change)
    assert not (folder / "mask.mrc").exists()


@pytest.mark.data
@pytest.mark.parametrize("name, mass_kDa", [
    ("sim/maps/rubisco_1bxn_64_2.8A.mrc.gz", 540), ("sim/maps/apoferritin_CAonly_64_3A.mrc.gz", 490),
    ("sim/maps/70S_36_10A.mrc.gz", 2500), ("real/bgal_empiar10204/reference/betaGal_ngl_3.54A_crop64.mrc.gz", 465),
])  # fmt: skip
def test_the_chosen_threshold_holds_the_mass_of_known_molecules(test_data, folder, name, mass_kDa):
    """Low-passed maps are blurred by a few A, so that their contour holds somewhat more than the molecule."""
    result = make(i=str(test_data / name))
    found_kDa = mass_in_mask_kDa(result.mask, result.pixel_size_A)
    assert 1.0 < found_kDa / mass_kDa < 1.4
