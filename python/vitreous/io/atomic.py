"""Writing a file so that its name never shows half of it."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from vitreous.errors import InputError


class WriteError(InputError, OSError):
    """A file could not be written: the disk is full, a quota is reached, or the folder refuses."""


class _CheckedFile:
    """A binary file whose short or failed writes say which file, how many bytes and what to do."""

    def __init__(self, file, path: Path):
        self.file, self.path, self.n_bytes = file, path, 0

    def write(self, data) -> int:
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        done = 0
        while done < len(view):
            try:
                done += self.file.write(view[done:])
            except OSError as error:
                raise _explained(error, self.path, self.n_bytes + done) from error
        self.n_bytes += done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def _explained(error: OSError, path: Path, n_bytes: int) -> WriteError:
    advice = {
        "ENOSPC": "free space on that disk, or write elsewhere with --o",
        "EDQUOT": "your quota is used up: remove files, or write elsewhere with --o",
        "EFBIG": "the file system or a limit (ulimit -f) allows no file of this size: write elsewhere with --o",
        "ENOENT": "make the folder first",
        "EACCES": "you may not write there: change its permissions, or write elsewhere with --o",
        "EROFS": "that disk is read-only: write elsewhere with --o",
    }
    what = advice.get(errno.errorcode.get(error.errno, ""), "check the disk, or write elsewhere with --o")
    return WriteError(f"{path}: cannot be written ({error.strerror or error}) after {n_bytes} bytes, "
                      f"expected a writable place with room; {what}")


@contextmanager
def atomic_write(path):
    """Open ``path`` for binary writing; it appears under its name only when all of it is on the disk.

    The data go to a temporary name in the same folder, are flushed and synchronised, and then renamed. On any error the
    temporary file is removed and an older file of that name stays as it was. The caller makes the folder.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    object with write(bytes-like), seek, tell

    Raises  WriteError (an InputError and an OSError): no room, no permission, no such folder.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise _explained(error, path, 0) from error
    temporary = Path(temporary)
    try:
        with open(handle, "wb", buffering=0) as file:
            checked = _CheckedFile(file, path)
            yield checked
            try:
                os.fchmod(file.fileno(), _mode(path))
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except OSError as error:
                raise _explained(error, path, checked.n_bytes) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those that open() would give."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o666 & ~_umask()


def _umask() -> int:
    # Linux tells the mask without changing it; elsewhere it can only be read by setting it.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; file systems that cannot do this are left as they are."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
