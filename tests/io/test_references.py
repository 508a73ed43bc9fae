"""First references come from images, stacks and STAR files, on the particles' grid or not at all."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.references import read_images, read_references

BOX = 12


@pytest.fixture
def stack(tmp_path):
    images = np.random.default_rng(0).normal(size=(4, BOX, BOX)).astype(np.float32)
    write_mrc(tmp_path / "s.mrcs", images, 2.0, stack=True)
    return tmp_path / "s.mrcs", images


def test_stack_is_one_reference_per_section(stack):
    path, images = stack
    np.testing.assert_array_equal(read_references(path, BOX, 2.0), images)


def test_star_gives_its_references_in_its_order(stack, tmp_path):
    _path, images = stack
    write_mrc(tmp_path / "t.mrcs", images[::-1].copy(), 2.0, stack=True)
    lines = ["000003@s.mrcs", "000001@t.mrcs", "000001@s.mrcs"]  # found beside the STAR file
    (tmp_path / "refs.star").write_text("data_\n\nloop_\n_rlnReferenceImage #1\n" + "\n".join(lines) + "\n")
    np.testing.assert_array_equal(read_references(tmp_path / "refs.star", BOX, 2.0), images[[2, 3, 0]])


def test_read_images_takes_sections_and_whole_files(stack):
    path, images = stack
    np.testing.assert_array_equal(read_images([f"2@{path}", str(path)]), images[[1, 0, 1, 2, 3]])


def test_wrong_grid_is_refused_with_the_remedy(stack):
    path, _ = stack
    with pytest.raises(InputError, match=r"12 x 12 px, expected 14 x 14.*relion_image_handler"):
        read_references(path, 14, 2.0)
    with pytest.raises(InputError, match=r"pixel size is 2 A, expected 3 A.*--ref_angpix 3"):
        read_references(path, BOX, 3.0)
    assert len(read_references(path, BOX, 3.0, ref_angpix=3.0)) == 4
    assert len(read_references(path, BOX, 2.01)) == 4  # within a per cent


def test_missing_things_are_named(stack, tmp_path):
    path, _images = stack
    with pytest.raises(InputError, match=r"none.mrcs: is not there"):
        read_references(tmp_path / "none.mrcs", BOX, 2.0)
    with pytest.raises(InputError, match="found section 000009, expected 1 to 4"):
        read_images([f"000009@{path}"])
    (tmp_path / "x.star").write_text("data_other\n\n_rlnVoltage 300\n")
    with pytest.raises(InputError, match="found data_other without a column rlnReferenceImage"):
        read_references(tmp_path / "x.star", BOX, 2.0)


def test_nan_is_refused(stack, tmp_path):
    _, images = stack
    images[2, 3, 3] = np.nan
    write_mrc(tmp_path / "n.mrcs", images, 2.0, stack=True)
    with pytest.raises(InputError, match="holds NaN or infinity"):
        read_references(tmp_path / "n.mrcs", BOX, 2.0)
