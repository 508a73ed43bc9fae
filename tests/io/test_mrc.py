"""MRC: every mode and byte order, sections without the whole file, and files that were cut short or lie."""

import bz2
import gzip
import lzma
import os
import resource
import struct
import warnings

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.errors import InputError
from vitreous.io.mrc import StackReader, StackWriter, parse_header, read_header, read_mrc, write_mrc

RNG = np.random.default_rng(7)
IMAGES = RNG.normal(0, 30, (5, 6, 8)).astype(np.float32)
TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def mrc_bytes(data, mode, order="<", extended=0, nz=None, imod=None, size=None):
    """An MRC file, made by hand from the format's description."""
    n, ny, nx = data.shape if size is None else size
    head = bytearray(1024)
    struct.pack_into(order + "4i", head, 0, nx, ny, n if nz is None else nz, mode)
    struct.pack_into(order + "3i", head, 28, nx, ny, n)
    struct.pack_into(order + "3f", head, 40, nx * 1.5, ny * 1.5, n * 1.5)
    struct.pack_into(order + "i", head, 92, extended)
    if imod is not None:
        struct.pack_into(order + "2i", head, 152, 1146047817, imod)
    return bytes(head) + bytes(extended) + data.tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", TYPES)
def test_read_mrc_knows_every_mode_and_byte_order(tmp_path, mode, order):
    data = np.abs(IMAGES).astype(order + TYPES[mode]) if mode == 6 else IMAGES.astype(order + TYPES[mode])
    (tmp_path / "a.mrcs").write_bytes(mrc_bytes(data, mode, order, extended=160))
    got, pixel_size_A = read_mrc(tmp_path / "a.mrcs")
    np.testing.assert_array_equal(got, data.astype(np.float32))
    assert got.dtype == np.float32 and got.dtype.isnative and pixel_size_A == 1.5


def test_read_mrc_unpacks_four_bits(tmp_path):
    pixels = RNG.integers(0, 16, (2, 3, 5))
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, 1)))
    packed = (padded[..., ::2] | padded[..., 1::2] << 4).astype(np.uint8)
    (tmp_path / "a.mrcs").write_bytes(mrc_bytes(packed, 101, size=(2, 3, 5)))
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrcs")[0], pixels)


def test_bytes_are_signed_unless_imod_says_otherwise(tmp_path):
    data = np.array([[[0, 127, 128, 255]]], np.uint8)
    for imod, expected in ((None, [0, 127, -128, -1]), (1, [0, 127, -128, -1]), (0, [0, 127, 128, 255])):
        (tmp_path / "a.mrc").write_bytes(mrc_bytes(data, 0, imod=imod))
        assert read_mrc(tmp_path / "a.mrc")[0].ravel().tolist() == expected


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_read_mrc_unpacks_files(tmp_path, pack):
    raw = mrc_bytes(IMAGES, 2)
    (tmp_path / "a.mrc").write_bytes(pack(raw))
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc")[0], IMAGES)
    assert read_header(tmp_path / "a.mrc").shape == IMAGES.shape
    (tmp_path / "a.mrc").write_bytes(pack(raw)[:-300])
    with pytest.raises(InputError, match=r"cut short|unpacked"):
        read_mrc(tmp_path / "a.mrc")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("stack", [True, False])
def test_write_mrc_is_valid_for_mrcfile(tmp_path, dtype, stack):
    path = tmp_path / "a.mrc"
    write_mrc(path, IMAGES, 1.25, dtype=dtype, stack=stack)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dtype == np.float16 or mrcfile.validate(path)  # its own float16 statistics overflow
        with mrcfile.open(path) as file:
            np.testing.assert_array_equal(file.data, IMAGES.astype(dtype))
            assert file.voxel_size.x == pytest.approx(1.25) and file.is_image_stack() == stack
            assert file.header.dmin == file.data.min() or dtype == np.float16
            assert float(file.header.rms) == pytest.approx(IMAGES.std(), rel=1e-6)
            assert float(file.header.dmean) == pytest.approx(IMAGES.mean(), rel=1e-5)
    again, pixel_size_A = read_mrc(path)
    np.testing.assert_array_equal(again, IMAGES.astype(dtype))
    assert pixel_size_A == pytest.approx(1.25)


def test_write_mrc_chooses_by_name_and_axes(tmp_path):
    for name, data, ispg in (("a.mrc", IMAGES, 1), ("a.mrcs", IMAGES, 0), ("b.mrc", IMAGES[0], 0)):
        write_mrc(tmp_path / name, data, 1.0)
        assert struct.unpack("<i", (tmp_path / name).read_bytes()[88:92])[0] == ispg
    assert read_mrc(tmp_path / "b.mrc")[0].shape == (1, 6, 8)


def test_write_mrc_makes_the_same_bytes_twice(tmp_path):
    write_mrc(tmp_path / "a.mrc", IMAGES, 1.0)
    write_mrc(tmp_path / "b.mrc", IMAGES.astype(np.float64), 1.0)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def test_write_mrc_refuses_what_float16_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="values reach 70000, expected at most 65504"):
        write_mrc(tmp_path / "a.mrc", np.full((2, 2), 7e4), 1.0, dtype=np.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pixel_size_A", [0, -1, np.nan])
def test_write_mrc_refuses_pixel_sizes(tmp_path, pixel_size_A):
    with pytest.raises(InputError, match="give --angpix"):
        write_mrc(tmp_path / "a.mrc", IMAGES, pixel_size_A)


def test_stack_writer_streams_and_appears_at_the_end(tmp_path):
    path = tmp_path / "a.mrcs"
    with StackWriter(path, 5, (6, 8), 2.0) as writer:
        writer.write(IMAGES[:2])
        writer.write(IMAGES[2])
        writer.write(IMAGES[3:])
        assert not path.exists()
    np.testing.assert_array_equal(read_mrc(path)[0], IMAGES)
    write_mrc(tmp_path / "b.mrcs", IMAGES, 2.0)
    whole, parts = (mrcfile.open(p).header for p in (tmp_path / "b.mrcs", path))
    assert float(whole.rms) == pytest.approx(float(parts.rms), rel=1e-6) and whole.dmin == parts.dmin


def test_stack_writer_refuses_a_wrong_number_and_shape(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="4 images were written, expected 5"), StackWriter(path, 5, (6, 8), 1) as w:
        w.write(IMAGES[:4])
    with pytest.raises(ValueError, match=r"expected \(any, 6, 6\)"), StackWriter(path, 5, 6, 1) as w:
        w.write(IMAGES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sections", [[1], [5, 1, 3], [2, 3, 4], [1, 1, 2, 2], []])
@pytest.mark.parametrize("mode", [2, 1])
def test_stack_reader_reads_sections_in_any_order(tmp_path, sections, mode):
    data = IMAGES.astype("<" + TYPES[mode])
    (tmp_path / "a.mrcs").write_bytes(mrc_bytes(data, mode))
    with StackReader(tmp_path / "a.mrcs") as reader:
        got = reader.read(sections)
        assert got.shape == (len(sections), 6, 8)
        np.testing.assert_array_equal(got, data[np.array(sections, int) - 1].astype(np.float32))


def test_stack_reader_says_which_sections_are_there(tmp_path):
    path = tmp_path / "a.mrcs"
    path.write_bytes(mrc_bytes(IMAGES, 2)[:-300])
    with StackReader(path) as reader:
        assert (reader.n_readable, reader.n_sections) == (3, 5)
        np.testing.assert_array_equal(reader.read([3]), IMAGES[2:3])
        with pytest.raises(InputError, match="sections 1 to 3 are there, 4 to 5 are not, expected 5 of 8 x 6 px"):
            reader.read([2, 4])
        with pytest.raises(InputError, match=r"000006@.*there is no such section, expected 1 to 5"):
            reader.read([6])
        with pytest.raises(InputError, match="000000@"):
            reader.read([0])
    with pytest.raises(InputError, match="cut short"):
        read_mrc(path)


@pytest.mark.parametrize("nx, ny, nz, mode, message", [
    (-8, 6, 5, 2, "the header says -8 x 6 x 5 px"),
    (8, 6, 0, 2, "the header says 8 x 6 x 0 px"),
    (8, 6, 5, 7, "mode 7, expected positive sizes and one of the modes"),
    (8, 6, 5, 4, r"holds complex numbers .mode 4."),
    (1000000, 1000000, 2**31 - 1, 2, "no section is whole"),
    (2**31 - 1, 2**31 - 1, 2**31 - 1, 2, "the header says"),
])
def test_headers_that_lie_never_allocate(tmp_path, nx, ny, nz, mode, message):
    raw = bytearray(mrc_bytes(IMAGES, 2))
    struct.pack_into("<4i", raw, 0, nx, ny, nz, mode)
    for pack in (bytes, gzip.compress):
        (tmp_path / "a.mrc").write_bytes(pack(raw))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InputError, match=message):
            read_mrc(tmp_path / "a.mrc")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB; READ_AT_ONCE and its copies


WORDS = st.lists(st.integers(-2**31, 2**31 - 1), min_size=7, max_size=7)


@given(st.binary(max_size=1100) | st.builds(lambda words, order: struct.pack(order + "7i", *words), WORDS,
                                            st.sampled_from("<>")))
@settings(max_examples=300)
def test_parse_header_fails_only_with_a_reason(data):
    for raw in (data, data.ljust(1024, b"\0")):
        try:
            header = parse_header(raw, "a.mrc")
            assert header.section_bytes > 0 and header.offset >= 1024
        except InputError as error:
            assert "expected" in str(error)


def test_stack_reader_reads_far_into_a_big_file_without_memory(tmp_path):
    """A sparse stack of 40 GB: only the sections asked for are read."""
    path, n, box = tmp_path / "big.mrcs", 40_000, 512
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, box, box, n, 2)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(1024 + n * box * box * 4)
        file.seek(1024 + (n - 1) * box * box * 4)
        file.write(np.full(4, 7, np.float32).tobytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with StackReader(path) as reader:
        assert reader.read([n])[0, 0, :5].tolist() == [7, 7, 7, 7, 0]
        assert reader.read([20_000]).sum() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB; the file is 40 GB
    os.unlink(path)


def test_missing_and_short_files_say_so(tmp_path):
    with pytest.raises(InputError, match=r"no.mrc: cannot be read .No such file"):
        read_mrc(tmp_path / "no.mrc")
    with pytest.raises(InputError, match="cannot be read"):
        read_header(tmp_path / "no.mrc")
    (tmp_path / "a.mrc").write_bytes(b"MAP ")
    with pytest.raises(InputError, match="has 4 bytes, expected an MRC header of 1024"):
        read_mrc(tmp_path / "a.mrc")


@pytest.mark.data
def test_read_mrc_agrees_with_mrcfile_on_real_files(test_data):
    paths = [*test_data.rglob("*.mrc"), *test_data.rglob("*.mrcs"), *test_data.rglob("*.mrc.gz")]
    assert len(paths) > 20
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as file:
                expected = np.asarray(file.data)
        got, _ = read_mrc(path)
        np.testing.assert_array_equal(got.reshape(expected.shape), expected.astype(np.float32), err_msg=str(path))
