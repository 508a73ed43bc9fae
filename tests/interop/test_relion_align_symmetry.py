"""Maps aligned by us as RELION sees them: its average over the group changes nothing, its own alignment is no better."""

import numpy as np
import pytest
from relion_case import relion
from volume_phantom import Blobs, random_rotations

from vitreous import align_symmetry
from vitreous.engine.turn_map import turned
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.model.symmetry import Symmetry

pytestmark = pytest.mark.interop
BOX, PIXEL_A = 48, 4.0


def write_turned(name):
    blobs = Blobs(name, reach_px=12)
    blobs.places = blobs.places @ random_rotations(1, 8)[0].T
    write_mrc("map.mrc", blobs.volume(BOX), PIXEL_A)


def agreement(volume, name):
    """Correlation of a map with its average over the group."""
    return np.corrcoef(volume.ravel(), turned(volume, np.eye(3), (0, 0, 0), Symmetry.parse(name)).ravel())[0, 1]


@pytest.mark.parametrize("name", ["C4", "D3", "T", "O", "I1", "I2", "I3"])
def test_relion_s_average_over_the_group_leaves_our_map(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_turned(name)
    align_symmetry(i="map.mrc", sym=name, o="ours.mrc", verb=0)
    relion("relion_image_handler", "--i", "ours.mrc", "--o", "average.mrc", "--sym", name, folder=tmp_path)
    ours, average = read_mrc("ours.mrc")[0], read_mrc("average.mrc")[0]
    assert np.corrcoef(ours.ravel(), average.ravel())[0, 1] > 0.99


def test_relion_s_alignment_is_no_better(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_turned("D3")
    align_symmetry(i="map.mrc", sym="D3", o="ours.mrc", verb=0)
    relion("relion_align_symmetry", "--i", "map.mrc", "--o", "theirs.mrc", "--sym", "D3", "--box_size", "32",
           folder=tmp_path)  # fmt: skip
    ours, theirs = (agreement(read_mrc(f"{name}.mrc")[0], "D3") for name in ("ours", "theirs"))
    assert ours > 0.99 and ours > theirs - 0.01
