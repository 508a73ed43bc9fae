"""Our masks are those of relion_mask_create."""

import numpy as np
import pytest
from relion_case import BOX, PIXEL_A, relion, write_half_maps

from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.programs import mask_create
from vitreous.programs.option_parser import parse

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    write_half_maps(folder)
    x = np.arange(BOX) - BOX // 2
    rod = np.broadcast_to(np.hypot(x[:, None], x) < 8, (BOX, BOX, BOX)).astype(np.float32)
    write_mrc(folder / "rod.mrc", rod, PIXEL_A)
    return folder


CASES = [
    "--i map.mrc --ini_threshold 1",
    "--i map.mrc --ini_threshold 1 --extend_inimask 3 --width_soft_edge 5",
    "--i half1.mrc --ini_threshold 0.5 --lowpass 20 --extend_inimask -2 --width_soft_edge 3",
    "--i half1.mrc --ini_threshold 3 --lowpass 17 --angpix 3.5 --invert",
    "--i map.mrc --ini_threshold 1 --and half1.mrc --width_soft_edge 2",
    "--i map.mrc --ini_threshold 2 --or half1.mrc --lowpass 30",
    "--i map.mrc --ini_threshold 1 --and_not half1.mrc",
    "--i map.mrc --ini_threshold 1 --or_not half1.mrc --extend_inimask -1",
    "--i rod.mrc --ini_threshold 0.5 --helix --z_percentage 0.4 --extend_inimask 2 --width_soft_edge 5",
    "--denovo --box_size 40 --inner_radius 6 --outer_radius 12 --width_soft_edge 4 --center_x 2 --center_y -1 "
    "--center_z 3",
    "--denovo --box_size 33 --inner_radius 4 --outer_radius 12 --angpix 2.5",
]


@pytest.mark.parametrize("words", CASES)
def test_mask_create_equals_relion(maps, monkeypatch, words):
    monkeypatch.chdir(maps)
    relion("relion_mask_create", *words.split(), "--o", "theirs.mrc", folder=maps)
    result = mask_create.run(parse(mask_create.Options, [*words.split(), "--o", "ours.mrc", "--verb", "0"]))
    theirs, their_pixel_A = read_mrc("theirs.mrc")
    np.testing.assert_allclose(read_mrc("ours.mrc")[0], theirs, atol=1e-6)
    assert 0 < theirs.mean() < 1
    assert result.pixel_size_A == pytest.approx(their_pixel_A, rel=1e-6)
