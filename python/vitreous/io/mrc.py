"""MRC images, stacks and volumes: whole, by section without loading the file, and streamed out.

Own code instead of mrcfile where it matters here: sections of a stack are read by position, headers that lie never
allocate memory, 4-bit data (mode 101) are known, and writing is atomic. Sections are counted from 1, as in
``000001@stack.mrcs``.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write

HEADER_BYTES = 1024
# Mode -> numpy type. 0 is signed since MRC2014; 101 is two 4-bit pixels per byte, the lower half first.
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
COMPLEX_MODES = (3, 4)
WRITTEN_MODES = {np.dtype(np.float32): 2, np.dtype(np.float16): 12, np.dtype(np.int16): 1}
STACK_SUFFIXES = (".mrcs", ".st", ".ali", ".stk")
IMOD_STAMP, IMOD_SIGNED_BYTES = 1146047817, 1
READ_AT_ONCE = 64 << 20  # bytes per system call and per conversion buffer
LABEL = b"vitreous".ljust(80)


@dataclass(frozen=True)
class MrcHeader:
    """What the first 1024 bytes say, in this machine's byte order."""

    nx: int
    ny: int
    nz: int
    mode: int
    pixel_size_A: float  # of x; 0 where the header does not tell
    offset: int  # first byte of the pixels
    byte_order: str  # "<" or ">"
    signed_bytes: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.nz, self.ny, self.nx

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers; bytes that hold two pixels each for mode 101."""
        code = "u1" if self.mode == 0 and not self.signed_bytes else MODES[self.mode]
        return np.dtype(self.byte_order + code)

    @property
    def row_items(self) -> int:
        return (self.nx + 1) // 2 if self.mode == 101 else self.nx

    @property
    def section_bytes(self) -> int:
        return self.row_items * self.ny * self.dtype.itemsize


def parse_header(data: bytes, path) -> MrcHeader:
    """Read and check a header.

    Parameters
    ----------
    data : the first 1024 bytes of the file
    path : name for messages

    Raises  InputError: too short, no MRC header, complex data, or an unknown mode.
    """
    if len(data) < HEADER_BYTES:
        raise InputError(f"{path}: has {len(data)} bytes, expected an MRC header of {HEADER_BYTES}; its writing may "
                         "have been cut short: make the file again")
    # As RELION does: the byte order in which the size and mode make sense. The machine stamp is often wrong.
    for order in "<>":
        nx, ny, nz, mode = struct.unpack(f"{order}4i", data[:16])
        if 0 < nx < 1 << 20 and 0 < ny < 1 << 20 and nz > 0 and (mode in MODES or mode in COMPLEX_MODES):
            break
    else:
        nx, ny, nz, mode = struct.unpack("<4i", data[:16])
        raise InputError(f"{path}: the header says {nx} x {ny} x {nz} px and mode {mode}, expected positive sizes and "
                         f"one of the modes {', '.join(map(str, MODES))}; check that this is an MRC file")
    if mode in COMPLEX_MODES:
        raise InputError(f"{path}: holds complex numbers (mode {mode}), expected an image; give it in real space")
    mx, cell_x = struct.unpack(f"{order}i", data[28:32])[0], struct.unpack(f"{order}f", data[40:44])[0]
    pixel_size_A = cell_x / mx if mx > 0 and np.isfinite(cell_x) and cell_x > 0 else 0.0
    n_extended = struct.unpack(f"{order}i", data[92:96])[0]
    if n_extended < 0:
        raise InputError(f"{path}: the header says that an extended header has {n_extended} bytes, expected 0 or more; "
                         "make the file again")
    stamp, flags = struct.unpack(f"{order}2i", data[152:160])
    signed = not (stamp == IMOD_STAMP and not flags & IMOD_SIGNED_BYTES)  # IMOD says so where its bytes are 0 to 255
    return MrcHeader(nx, ny, nz, mode, pixel_size_A, HEADER_BYTES + n_extended, order, signed)


def to_float32(raw: np.ndarray, header: MrcHeader) -> np.ndarray:
    """Stored numbers (n, ny, row_items) -> (n, ny, nx) float32."""
    if header.mode == 101:
        pixels = np.stack([raw & 15, raw >> 4], axis=-1).reshape(*raw.shape[:-1], -1)
        return pixels[..., : header.nx].astype(np.float32)
    return raw.astype(np.float32)


class StackReader:
    """Sections of a stack or volume, read when they are asked for.

    A file that is not compressed stays on the disk; ``.gz``, ``.bz2`` and ``.xz`` files are unpacked into memory.
    ``read`` may be called from several threads.

    Attributes
    ----------
    header : MrcHeader
    n_sections : int                 number of sections that the header promises
    n_readable : int                 number of sections that the file holds; smaller where it was cut short
    """

    def __init__(self, path):
        self.path = Path(path)
        self._handle, self._data = -1, b""
        try:
            self._open()
        except OSError as error:
            self.close()
            raise InputError(f"{path}: cannot be read ({error.strerror or error}), expected an MRC file; check the "
                             "name and the permissions") from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        head = os.pread(self._handle, HEADER_BYTES, 0)
        opener = decompressor(head)
        if opener is None:
            n_bytes = os.fstat(self._handle).st_size
            self.header = parse_header(head, self.path)
        else:
            self._data = _unpack(self.path, opener)
            n_bytes = len(self._data)
            self.header = parse_header(self._data[:HEADER_BYTES], self.path)
        self.n_sections = self.header.nz
        self.n_readable = max(0, min(self.n_sections, (n_bytes - self.header.offset) // self.header.section_bytes))

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of a section."""
        return self.header.ny, self.header.nx

    @property
    def pixel_size_A(self) -> float:
        return self.header.pixel_size_A

    def require_whole(self) -> None:
        """Raise an InputError where the file was cut short, saying which sections are there."""
        if self.n_readable < self.n_sections:
            n = self.n_readable
            there = f"sections 1 to {n} are there, {n + 1} to {self.n_sections} are not" if n else "no section is whole"
            raise InputError(f"{self.path}: was cut short: {there}, expected {self.n_sections} of "
                             f"{self.header.nx} x {self.header.ny} px; copy or make the file again")

    def read(self, sections: Sequence[int] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read sections in any order.

        Parameters
        ----------
        sections : (n,) int              from 1; may repeat
        out : (n, ny, nx) float32        C-contiguous, made where None

        Returns
        -------
        (n, ny, nx) float32

        Raises  InputError: a section that the file does not hold.
        """
        sections = np.asarray(sections, np.int64).reshape(-1)
        if len(sections) and not (sections.min() >= 1 and sections.max() <= self.n_readable):
            bad = sections[(sections < 1) | (sections > self.n_readable)][0]
            if 1 <= bad <= self.n_sections:
                self.require_whole()
            raise InputError(f"{bad:06d}@{self.path}: there is no such section, expected 1 to {self.n_sections}; check "
                             "the image names")
        out = np.empty((len(sections), *self.shape), np.float32) if out is None else out
        most = max(1, READ_AT_ONCE // self.header.section_bytes)
        breaks = np.flatnonzero(np.diff(sections) != 1) + 1
        for first, last in zip([0, *breaks], [*breaks, len(sections)]):
            for begin in range(first, last, most):
                end = min(begin + most, last)
                self._read_run(int(sections[begin]) - 1, out[begin:end])
        return out

    def _read_run(self, i_first: int, out: np.ndarray) -> None:
        """Consecutive sections from ``i_first`` (from 0) into ``out``."""
        h = self.header
        at = h.offset + i_first * h.section_bytes
        if h.dtype == np.float32 and h.dtype.isnative:
            self._fill(memoryview(out).cast("B"), at)
            return
        raw = np.empty((len(out), h.ny, h.row_items), h.dtype)
        self._fill(memoryview(raw.reshape(-1).view("u1")), at)
        with np.errstate(invalid="ignore"):  # a float16 NaN becomes a float32 NaN
            out[...] = to_float32(raw, h)

    def _fill(self, view: memoryview, at: int) -> None:
        if self._data:
            view[:] = self._data[at : at + len(view)]
            return
        done = 0
        while done < len(view):
            try:
                got = os.preadv(self._handle, [view[done : done + READ_AT_ONCE]], at + done)
            except OSError as error:
                raise InputError(f"{self.path}: cannot be read at byte {at + done} ({error.strerror}), expected "
                                 f"{len(view)} bytes; check the disk") from error
            if not got:
                raise InputError(f"{self.path}: ended at byte {at + done} while it was read, expected "
                                 f"{len(view) - done} more; is another program writing it?")
            done += got

    @property
    def memory_bytes(self) -> int:
        """What an unpacked file occupies; 0 for one that stays on the disk."""
        return len(self._data)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._data = -1, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def decompressor(head: bytes):
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open)):
        if head.startswith(magic):
            return opener
    return None


def _unpack(path: Path, opener) -> bytes:
    """The bytes that the header of a compressed file calls for, and no more."""
    try:
        with opener(path, "rb") as file:
            head = file.read(HEADER_BYTES)
            header = parse_header(head, path)
            parts, left = [head], header.offset - HEADER_BYTES + header.nz * header.section_bytes
            while left > 0:
                try:
                    part = file.read(min(left, READ_AT_ONCE))
                except EOFError:  # cut short: what came before counts
                    break
                if not part:
                    break
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{path}: cannot be unpacked ({error}), expected a compressed MRC file; copy or make it "
                         "again") from error


def read_header(path) -> MrcHeader:
    """The header of an MRC file, compressed or not."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEADER_BYTES)
        opener = decompressor(head)
        if opener is not None:
            with opener(path, "rb") as file:
                head = file.read(HEADER_BYTES)
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), expected an MRC file; "
                         "check the name and the permissions") from error
    return parse_header(head, path)


def read_mrc(path) -> tuple[np.ndarray, float]:
    """Read a whole image, stack or volume.

    Returns
    -------
    (nz, ny, nx) float32             one section for a single image
    float                            pixel size of the header, A; 0 where it has none

    Raises  InputError: no such file, no MRC file, or one that was cut short.
    """
    with StackReader(path) as reader:
        reader.require_whole()
        return reader.read(np.arange(1, reader.n_sections + 1)), reader.pixel_size_A


class StackWriter:
    """Write images one batch after the other; the stack appears under its name when all are there.

    Use as ``with StackWriter(...) as writer: writer.write(images)``. Memory does not grow with the stack.

    Parameters
    ----------
    path : str or Path
    n : number of images, None for as many as come
    box : side in px, or (ny, nx)
    pixel_size_A : A
    dtype : float32 (mode 2), float16 (mode 12, which RELION 3.1 cannot read) or int16 (mode 1, of whole numbers)
    stack : images (True) or the sections of one volume (False)
    """

    def __init__(self, path, n: int | None, box, pixel_size_A: float, dtype=np.float32, stack: bool = True):
        self.path, self.n, self.stack = Path(path), n, stack
        self.shape = (int(box), int(box)) if np.ndim(box) == 0 else (int(box[0]), int(box[1]))
        self.dtype = np.dtype(dtype)
        if self.dtype not in WRITTEN_MODES:
            raise ValueError(f"StackWriter: dtype is {self.dtype}, expected float32, float16 or int16")
        if not (np.isfinite(pixel_size_A) and pixel_size_A > 0):
            raise InputError(f"{path}: the pixel size is {pixel_size_A} A, expected more than 0; give --angpix")
        self.pixel_size_A = float(pixel_size_A)
        self.n_written = self._n_values = 0
        self._min, self._max, self._mean, self._spread = np.inf, -np.inf, 0.0, 0.0

    @contextmanager
    def _session(self):
        with atomic_write(self.path) as self._file:
            self._file.write(bytes(HEADER_BYTES))
            yield
            if self.n is not None and self.n_written != self.n:
                raise ValueError(f"{self.path}: {self.n_written} images were written, expected {self.n}")
            self._file.seek(0)
            self._file.write(self._header())

    def __enter__(self):
        self._context = self._session()
        self._context.__enter__()
        return self

    def __exit__(self, *exception):
        return self._context.__exit__(*exception)

    def write(self, images: np.ndarray) -> None:
        """Append (m, ny, nx) or one (ny, nx)."""
        images = np.asarray(images)
        images = images[None] if images.ndim == 2 else images
        if images.ndim != 3 or images.shape[1:] != self.shape:
            raise ValueError(f"{self.path}: images have shape {images.shape}, expected (any, {self.shape[0]}, "
                             f"{self.shape[1]})")
        most = max(1, READ_AT_ONCE // (4 * self.shape[0] * self.shape[1]))
        for begin in range(0, len(images), most):
            part = np.ascontiguousarray(images[begin : begin + most], np.float32)
            self._count(part)
            if self.dtype == np.int16:
                part = self._whole(part)
            elif self.dtype == np.float16:
                with np.errstate(over="ignore", invalid="ignore"):
                    half = part.astype("<f2")
                if not np.array_equal(np.isfinite(half), np.isfinite(part)):
                    largest = np.abs(part[np.isfinite(part)]).max()
                    raise InputError(f"{self.path}: values reach {largest:g}, expected at most 65504 for float16; "
                                     "write float32, or normalise the images")
                part = half
            self._file.write(np.ascontiguousarray(part, part.dtype.newbyteorder("<")))
            self.n_written += len(part)

    def _whole(self, part: np.ndarray) -> np.ndarray:
        """Values as whole numbers of 16 bits."""
        largest = np.abs(part).max(initial=0)
        if not largest < 32767.5:
            raise InputError(f"{self.path}: values reach {largest:g}, expected at most 32767 for int16; write float32")
        return np.rint(part).astype("<i2")

    def _count(self, part: np.ndarray) -> None:
        """Statistics over all finite values so far, merged batch by batch in float64."""
        values = part if np.isfinite(part).all() else part[np.isfinite(part)]
        if not values.size:
            return
        mean, n = float(values.mean(dtype=np.float64)), values.size
        spread = float(values.var(dtype=np.float64)) * n
        total = self._n_values + n
        step = mean - self._mean
        self._spread += spread + step * step * self._n_values * n / total
        self._mean += step * n / total
        self._n_values = total
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))

    def _header(self) -> bytes:
        ny, nx = self.shape
        nz = self.n_written
        mz = 1 if self.stack else nz  # MRC2014: a stack of images has one section per unit cell
        rms = (self._spread / self._n_values) ** 0.5 if self._n_values else 0.0
        low, high = (self._min, self._max) if self._n_values else (0.0, 0.0)
        header = bytearray(HEADER_BYTES)
        struct.pack_into("<10i", header, 0, nx, ny, nz, WRITTEN_MODES[self.dtype], 0, 0, 0, nx, ny, mz)
        struct.pack_into("<6f", header, 40, *(n * self.pixel_size_A for n in (nx, ny, mz)), 90, 90, 90)
        struct.pack_into("<3i3f2i", header, 64, 1, 2, 3, low, high, self._mean, 0 if self.stack else 1, 0)
        struct.pack_into("<i", header, 108, 20140)  # version of the format
        struct.pack_into("<4s4Bfi", header, 208, b"MAP ", 0x44, 0x44, 0, 0, rms, 1)
        header[224:304] = LABEL
        return bytes(header)


def write_mrc(path, data, pixel_size_A: float, dtype=np.float32, stack: bool | None = None) -> None:
    """Write an image (ny, nx), or a stack or volume (nz, ny, nx), whole or not at all.

    Parameters
    ----------
    path : str or Path
    data : (ny, nx) or (nz, ny, nx) real
    pixel_size_A : A
    dtype : float32, float16 or int16
    stack : sections are images (True) or one volume (False); None: by the name (.mrcs, .st) and by the number of axes

    Raises  WriteError: the disk. InputError: values too large for float16.
    """
    data = np.asarray(data)
    if data.ndim not in (2, 3) or data.size == 0 or data.dtype.kind == "c":
        raise ValueError(f"{path}: data have shape {data.shape} and type {data.dtype}, expected real (ny, nx) or "
                         "(nz, ny, nx)")
    if stack is None:
        stack = data.ndim == 2 or Path(path).suffix in STACK_SUFFIXES
    data = data[None] if data.ndim == 2 else data
    with StackWriter(path, len(data), data.shape[1:], pixel_size_A, dtype, stack) as writer:
        writer.write(data)
