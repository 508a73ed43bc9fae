"""ImageSource: the right pixels whatever the order, bad images set aside with their reason, bounded memory."""

import os
import resource
import struct
import threading

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io import images as module
from vitreous.io.images import ImageSource, available_memory
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star

BOX = 6
RNG = np.random.default_rng(3)


@pytest.fixture
def stacks(tmp_path):
    """Three stacks of 4, 5 and 6 images; returns (image_file, section, files, root, pixels)."""
    (tmp_path / "Extract").mkdir()
    pixels, image_file, section, files = [], [], [], []
    for i, n in enumerate((4, 5, 6)):
        data = RNG.normal(size=(n, BOX, BOX)).astype(np.float32)
        write_mrc(tmp_path / f"Extract/mic{i}.mrcs", data, 2.0)
        pixels.append(data)
        image_file += [i] * n
        section += range(1, n + 1)
        files.append(f"Extract/mic{i}.mrcs")
    return np.array(image_file), np.array(section), files, tmp_path, np.concatenate(pixels)


def source(stacks, **kwargs) -> ImageSource:
    image_file, section, files, root, _ = stacks
    return ImageSource(image_file, section, files, root, **kwargs)


@pytest.mark.parametrize("preread", [False, True])
@pytest.mark.parametrize("indices", [range(15), [14, 0, 7, 7, 3], [], [4, 5, 6], np.arange(15)[::-1]])
def test_read_gives_the_images_of_the_indices(stacks, indices, preread):
    with source(stacks, preread=preread) as images:
        got, bad = images.read(indices)
        assert bad == {} and got.dtype == np.float32
        np.testing.assert_array_equal(got, stacks[4][np.array(indices, int)].reshape(got.shape))
        assert len(images) == 15 and images.name(4) == "000001@Extract/mic1.mrcs" and set(images.box) == {BOX}


@pytest.mark.parametrize("preread", [False, True])
def test_read_sets_bad_images_aside(stacks, preread):
    root, data = stacks[3], stacks[4][4:9].copy()
    data[0, 2, 3] = np.nan
    data[1, 0, 0] = np.inf
    data[2] = 3.5
    data[3] = 0
    write_mrc(root / "Extract/mic1.mrcs", data, 2.0)
    path = root / "Extract/mic2.mrcs"
    path.write_bytes(path.read_bytes()[:-10])  # the sixth image is not whole
    (root / "Extract/mic0.mrcs").unlink()
    images = source(stacks, preread=preread, box=BOX)
    got, bad = images.read(range(15))
    assert sorted(bad) == [0, 1, 2, 3, 4, 5, 6, 7, 14]
    assert "000001@Extract/mic1.mrcs: 1 pixels are NaN" in bad[4] and "1 pixels are NaN or infinite" in bad[5]
    assert "000003@Extract/mic1.mrcs: all pixels are 3.5" in bad[6] and "all pixels are 0" in bad[7]
    assert "000006@Extract/mic2.mrcs: the stack was cut short, it holds sections 1 to 5" in bad[14]
    assert "000001@Extract/mic0.mrcs: " in bad[0] and "No such file" in bad[0]
    assert not got[sorted(bad)].any()
    np.testing.assert_array_equal(got[8:14], stacks[4][8:14])
    assert list(images.read([14, 13])[1]) == [14]


def test_read_sets_wrong_boxes_and_sections_aside(stacks):
    image_file, section, files, root, pixels = stacks
    write_mrc(root / "Extract/mic0.mrcs", RNG.normal(size=(4, 8, 8)), 2.0)
    (root / "Extract/mic2.mrcs").write_bytes(b"no image")
    section = section.copy()
    section[4:6] = 0, 6
    images = ImageSource(image_file, section, files, root, box=BOX)
    got, bad = images.read(range(15))
    assert sorted(bad) == [0, 1, 2, 3, 4, 5, *range(9, 15)]
    assert "000002@Extract/mic0.mrcs: is 8 x 8 px, expected 6 x 6" in bad[1]
    assert "000006@Extract/mic1.mrcs: there is no such section, it holds sections 1 to 5" in bad[5]
    assert "has 8 bytes, expected an MRC header" in bad[9]
    np.testing.assert_array_equal(got[6:9], pixels[6:9])


def test_read_takes_several_boxes_batch_by_batch(stacks):
    write_mrc(stacks[3] / "Extract/mic0.mrcs", RNG.normal(size=(4, 8, 8)), 2.0)
    for preread in (False, True):
        images = source(stacks, box=np.where(stacks[0] == 0, 8, BOX), preread=preread)
        assert images.read([3, 1])[0].shape == (2, 8, 8)
        np.testing.assert_array_equal(images.read([8, 4])[0], stacks[4][[8, 4]])
        with pytest.raises(ValueError, match=r"a batch holds images of boxes \[6, 8\]"):
            images.read([0, 4])


def test_box_is_told_by_the_first_stack_that_can_be_read(stacks):
    (stacks[3] / "Extract/mic0.mrcs").unlink()
    assert set(source(stacks).box) == {BOX}
    for name in stacks[2][1:]:
        (stacks[3] / name).unlink()
    with pytest.raises(InputError, match=r"mic0.mrcs: cannot be read"):
        source(stacks)


def test_few_files_are_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    for i in range(10):
        write_mrc(tmp_path / f"{i}.mrcs", RNG.normal(size=(1, BOX, BOX)), 1.0)
    images = ImageSource(np.arange(10), np.ones(10), [f"{i}.mrcs" for i in range(10)], tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        assert images.read(range(10))[1] == {}
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    images.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_with_a_forced_type_are_files(tmp_path):
    write_mrc(tmp_path / "a.ali", RNG.normal(size=(2, BOX, BOX)), 1.0)
    assert ImageSource([0, 0], [1, 2], ["a.ali:mrcs"], tmp_path).read([1])[1] == {}


# ---- reading ahead -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
def test_prefetch_gives_every_batch_in_order(stacks, depth):
    batches = [np.array([0, 1]), np.array([14, 5]), np.array([], int), np.array([7])]
    got = list(source(stacks).prefetch(iter(batches), depth))
    assert [batch.tolist() for batch, _, _ in got] == [b.tolist() for b in batches]
    for batch, pixels, bad in got:
        assert bad == {} and np.array_equal(pixels.reshape(-1, BOX, BOX), stacks[4][batch])


def test_prefetch_reads_no_further_ahead_than_asked(stacks):
    images = source(stacks)
    taken = []

    def batches():
        for i in range(10):
            taken.append(i)
            yield [i]

    ahead = images.prefetch(batches(), depth=2)
    next(ahead)
    assert len(taken) == 3
    next(ahead)
    assert len(taken) == 4
    ahead.close()


def test_prefetch_raises_the_readers_error_and_stops_its_thread(stacks):
    images = source(stacks)
    ahead = images.prefetch([[0], [99], [1]])
    assert next(ahead)[0] == [0]
    with pytest.raises(IndexError):
        next(ahead)
    other = images.prefetch([[i] for i in range(15)])
    next(other)
    other.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_prefetch_reads_while_the_caller_works(stacks, monkeypatch):
    images = source(stacks)
    read, begun = images.read, [threading.Event() for _ in range(6)]

    def noted(batch):
        begun[batch[0]].set()
        return read(batch)

    monkeypatch.setattr(images, "read", noted)
    for batch, _, _ in images.prefetch([[i] for i in range(6)], depth=1):
        later = min(batch[0] + 1, 5)
        assert begun[later].wait(10)  # comes without our asking for the next batch


# ---- memory and scratch ----------------------------------------------------------------------------------------------


def test_preread_refuses_what_does_not_fit(stacks, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 2000)
    with pytest.raises(InputError, match=r"15 images need .* GB are free; leave --preread_images out"):
        source(stacks, preread=True)


def test_available_memory_is_that_of_a_machine():
    assert 10**7 < available_memory() < 10**15


def test_memory_does_not_grow_with_the_stack(tmp_path):
    """A sparse stack of 20 GB, its images passed one batch after the other."""
    n, box = 20_000, 512
    with open(tmp_path / "big.mrcs", "wb") as file:
        file.write(struct.pack("<4i", box, box, n, 2).ljust(1024, b"\0"))
        file.truncate(1024 + n * box * box * 4)
    images = ImageSource(np.zeros(n), np.arange(1, n + 1), ["big.mrcs"], tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _, pixels, bad in images.prefetch([np.arange(i, i + 16) for i in range(0, n, 2000)]):
        assert len(bad) == len(pixels) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; four batches are 67 MB
    (tmp_path / "big.mrcs").unlink()


def test_scratch_copies_reads_and_cleans_up(stacks, tmp_path):
    scratch = tmp_path / "fast"
    images = source(stacks, scratch_dir=scratch, keep_free_scratch_GB=0)
    assert "3 of 3 stacks are there (0 from before)" in images.scratch_note
    for name in stacks[2]:
        (stacks[3] / name).unlink()  # what is read now comes from the copies
    np.testing.assert_array_equal(images.read(range(15))[0], stacks[4])
    images.close()
    assert list(scratch.iterdir()) == []


def test_scratch_keeps_and_reuses_copies_that_are_current(stacks, tmp_path):
    scratch = tmp_path / "fast"
    source(stacks, scratch_dir=scratch, keep_free_scratch_GB=0, keep_scratch=True).close()
    assert len(list(scratch.rglob("*.mrcs"))) == 3
    write_mrc(stacks[3] / stacks[2][0], -stacks[4][:4], 2.0)
    os.utime(stacks[3] / stacks[2][0], (1, 1))
    images = source(stacks, scratch_dir=scratch, keep_free_scratch_GB=0)
    assert "3 of 3 stacks are there (2 from before)" in images.scratch_note
    np.testing.assert_array_equal(images.read([0, 4])[0], stacks[4][[0, 4]] * np.array([-1, 1]).reshape(2, 1, 1))
    images.close()
    assert len(list(scratch.rglob("*.mrcs"))) == 2  # only its own copy is removed


def test_scratch_leaves_room_and_reads_the_rest_in_place(stacks, tmp_path):
    images = source(stacks, scratch_dir=tmp_path / "fast", keep_free_scratch_GB=1e9)
    assert "0 of 3 stacks" in images.scratch_note and "to leave 1e+09 GB free" in images.scratch_note
    np.testing.assert_array_equal(images.read(range(15))[0], stacks[4])


def test_scratch_says_what_to_do_when_it_cannot_be_used(stacks, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--scratch_dir .*file/x: cannot be used"):
        source(stacks, scratch_dir=tmp_path / "file" / "x")


@pytest.mark.data
def test_real_particles_are_all_good(test_data):
    root = test_data / "real" / "bgal_empiar10204"
    names = read_star(root / "particles.star")["particles"]["rlnImageName"]
    section, file = np.array([name.split("@") for name in names]).T
    files, image_file = np.unique(file, return_inverse=True)
    with ImageSource(image_file, section.astype(int), files.tolist(), root) as images:
        got, bad = images.read(range(len(names)))
    assert got.shape == (699, 64, 64) and bad == {}
    assert abs(got.mean()) < 0.3 and 0.5 < got.std() < 2  # background-normalised by the source project
