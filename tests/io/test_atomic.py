"""atomic_write: the name shows the old file or the whole new one, and failures say why."""

import errno
import os
import resource
import signal

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.atomic import WriteError, atomic_write


def test_atomic_write_shows_nothing_until_it_is_whole(tmp_path):
    path = tmp_path / "a.star"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.star"]


def test_atomic_write_keeps_the_old_file_and_leaves_no_rubbish_on_error(tmp_path):
    path = tmp_path / "a.star"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.star"]


def test_atomic_write_passes_foreign_errors_on_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="another"), atomic_write(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "another")


def test_atomic_write_takes_arrays(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    with atomic_write(tmp_path / "a") as file:
        file.write(array)
        assert file.tell() == array.nbytes
    assert (tmp_path / "a").read_bytes() == array.tobytes()


def test_atomic_write_keeps_permissions_and_honours_the_mask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "new") as file:
            file.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new").chmod(0o600)
    with atomic_write(tmp_path / "new") as file:
        file.write(b"y")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_atomic_write_says_what_to_do_without_a_folder(tmp_path):
    with pytest.raises(WriteError, match="make the folder first") as caught, atomic_write(tmp_path / "no" / "a"):
        pass
    assert isinstance(caught.value, InputError) and isinstance(caught.value, OSError)


def test_atomic_write_explains_a_full_disk(tmp_path):
    """A limit on file size fails writes midway, as a full disk does, without needing one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        text = r"big: cannot be written .* after 100000 bytes.*; .*write elsewhere"
        with pytest.raises(WriteError, match=text), atomic_write(tmp_path / "big") as file:
            file.write(bytes(250_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
