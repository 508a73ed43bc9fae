"""Particle images by index: read in batches from many stacks, ahead of the computation, with bad ones set aside.

Memory is bounded by the batches in flight whatever the size of the stacks, unless ``preread`` asks for all of them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import StackReader, read_header

GB = 1e9
MAX_OPEN = 64  # files open at once; the usual limit of a process is 1024
MAX_UNPACKED = int(1 * GB)  # bytes of compressed stacks kept unpacked
PREREAD_BATCH = 512
FORCED_TYPE = re.compile(r":(mrcs?|st)$")  # RELION's x.ali:mrcs


class ImageSource:
    """Images of particles, addressed by their index in the particle table.

    Parameters
    ----------
    image_file : (n,) int            for each image the position of its stack in ``files``
    section : (n,) int               its section there, from 1
    files : stack names as in the particle table
    root : folder that relative names start from
    box : side in px, one for all or (n,); None takes that of the first stack
    preread : keep all images in memory (float32)
    scratch_dir : folder on a fast local disk to copy the stacks to first
    keep_free_scratch_GB : space to leave free there; stacks that do not fit are read where they are
    keep_scratch : leave the copies for the next run, which takes them if size and time still agree

    Raises  InputError: preread does not fit into memory, or no box can be told.
    """

    def __init__(self, image_file, section, files: list[str], root=".", *, box=None, preread: bool = False,
                 scratch_dir=None, keep_free_scratch_GB: float = 10.0, keep_scratch: bool = False):
        self.image_file = np.asarray(image_file, np.int64)
        self.section = np.asarray(section, np.int64)
        if self.image_file.shape != self.section.shape or self.image_file.ndim != 1:
            raise ValueError(f"ImageSource: image_file {self.image_file.shape} and section {self.section.shape} must "
                             "be vectors of one length")
        if len(self.image_file) and not 0 <= self.image_file.min() <= self.image_file.max() < len(files):
            raise ValueError(f"ImageSource: image_file goes beyond the {len(files)} files")
        self.files = list(files)
        self.paths = [Path(root) / FORCED_TYPE.sub("", str(name)) for name in files]
        self._lock = threading.RLock()
        self._open: OrderedDict[int, StackReader] = OrderedDict()
        self._unusable: dict[int, str] = {}
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bad: dict[int, str] = {}
        self.scratch_note = ""
        self._scratch = None
        box = self._first_box() if box is None else box
        self.box = np.broadcast_to(np.asarray(box, np.int64), self.image_file.shape)
        if scratch_dir is not None:
            self._scratch = _Scratch(scratch_dir, keep_free_scratch_GB, keep_scratch)
            self.paths = self._scratch.copy([self.paths[i] for i in range(len(files))])
            self.scratch_note = self._scratch.note
        if preread:
            self._preread()

    def __len__(self) -> int:
        return len(self.image_file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Close all files, free kept images and remove the copies on scratch unless they are to stay."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
            self._kept.clear()
            if self._scratch is not None:
                self._scratch.remove()

    def name(self, index: int) -> str:
        """``000012@stack.mrcs`` of an image."""
        return f"{self.section[index]:06d}@{self.files[self.image_file[index]]}"

    def read(self, indices) -> tuple[np.ndarray, dict[int, str]]:
        """Read images; those that cannot be used are zero and listed with their reason.

        Parameters
        ----------
        indices : (m,) int               images of one box, in any order

        Returns
        -------
        (m, box, box) float32
        dict                             index -> reason with the image's name, for NaN, constant, missing, truncated or
                                         wrongly sized images
        """
        indices = np.asarray(indices, np.int64).reshape(-1)
        boxes = np.unique(self.box[indices])
        if len(boxes) > 1:
            raise ValueError(f"ImageSource: a batch holds images of boxes {boxes.tolist()}, expected one")
        box = int(boxes[0]) if len(boxes) else 0
        if self._kept and box:
            return self._kept[box][self._row[indices]], {
                i: self._kept_bad[i] for i in indices.tolist() if i in self._kept_bad}
        out = np.empty((len(indices), box, box), np.float32)
        bad: dict[int, str] = {}
        with self._lock:
            order = np.lexsort((self.section[indices], self.image_file[indices]))
            files = self.image_file[indices[order]]
            for places in np.split(order, np.flatnonzero(np.diff(files)) + 1):
                if len(places):
                    self._read_file(indices, places, out, bad)
        self._check(indices, out, bad)
        for place, index in enumerate(indices.tolist()):
            if index in bad:
                out[place] = 0
        return out, bad

    def prefetch(self, batches: Iterable, depth: int = 2) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, str]]]:
        """Read batches ahead in a thread.

        Parameters
        ----------
        batches : index vectors, each as for ``read``; taken one by one, so it may be a generator
        depth : batches read ahead; memory holds depth + 1

        Yields
        ------
        (indices, images, bad)           as given and as ``read`` returns them, in order

        An error of the reading thread is raised here; closing the iterator stops the thread.
        """
        waiting = iter(batches)
        ahead: deque = deque()
        with ThreadPoolExecutor(1, "read-ahead") as pool:
            try:
                for batch in waiting:
                    ahead.append((batch, pool.submit(self.read, batch)))
                    if len(ahead) > depth:
                        yield self._next_batch(ahead)
                while ahead:
                    yield self._next_batch(ahead)
            finally:
                for _, future in ahead:
                    future.cancel()

    @staticmethod
    def _next_batch(ahead: deque):
        batch, future = ahead.popleft()
        images, bad = future.result()
        return batch, images, bad

    # ---- below: one file, one image ---------------------------------------------------------------------------------

    def _read_file(self, indices: np.ndarray, places: np.ndarray, out: np.ndarray, bad: dict[int, str]) -> None:
        """Images of one stack, whose places in the batch are sorted by section."""
        chosen = indices[places]
        i_file = int(self.image_file[chosen[0]])
        sections = self.section[chosen]
        try:
            reader = self._reader(i_file)
            box = out.shape[1]
            if reader.shape != (box, box):
                raise InputError(f"is {reader.shape[1]} x {reader.shape[0]} px, expected {box} x {box}; was it "
                                 "extracted with another box?")
        except InputError as error:
            bad.update((i, f"{self.name(i)}: {error}") for i in chosen.tolist())
            return
        there = (sections >= 1) & (sections <= reader.n_readable)
        for i in chosen[~there].tolist():
            promised = 1 <= self.section[i] <= reader.n_sections
            what = "the stack was cut short" if promised else "there is no such section"
            bad[i] = f"{self.name(i)}: {what}, it holds sections 1 to {reader.n_readable}; copy or make the stack again"
        places, chosen, sections = places[there], chosen[there], sections[there]
        if not len(places):
            return
        try:
            if (np.diff(places) == 1).all():  # the usual case: the batch is a piece of the stack
                reader.read(sections, out[places[0] : places[-1] + 1])
            else:
                out[places] = reader.read(sections)
        except InputError as error:
            bad.update((i, f"{self.name(i)}: {error}") for i in chosen.tolist())

    def _reader(self, i_file: int) -> StackReader:
        if i_file in self._open:
            self._open.move_to_end(i_file)
            return self._open[i_file]
        if i_file in self._unusable:
            raise InputError(self._unusable[i_file])
        try:
            reader = StackReader(self.paths[i_file])
        except InputError as error:
            self._unusable[i_file] = str(error)
            raise
        self._open[i_file] = reader
        while len(self._open) > 1 and (
                len(self._open) > MAX_OPEN or sum(r.memory_bytes for r in self._open.values()) > MAX_UNPACKED):
            self._open.popitem(last=False)[1].close()
        return reader

    def _check(self, indices: np.ndarray, images: np.ndarray, bad: dict[int, str]) -> None:
        """Mark images without information. NaN and infinity show in the extremes, so two passes see all."""
        if not images.size:
            return
        flat = images.reshape(len(images), -1)
        with np.errstate(invalid="ignore"):
            low, high = flat.min(axis=1), flat.max(axis=1)
        for place in np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (low < high))).tolist():
            index = int(indices[place])
            if index in bad:
                continue
            if np.isfinite(low[place]) and np.isfinite(high[place]):
                bad[index] = f"{self.name(index)}: all pixels are {low[place]:g}, expected an image; was it extracted?"
            else:
                n = int((~np.isfinite(flat[place])).sum())
                bad[index] = f"{self.name(index)}: {n} pixels are NaN or infinite, expected numbers; extract it again"

    def _first_box(self) -> int:
        reasons = []
        for i_file in np.unique(self.image_file)[:10].tolist():
            try:
                header = read_header(self.paths[i_file])
            except InputError as error:
                reasons.append(str(error))
                continue
            if header.nx == header.ny:
                return header.nx
            reasons.append(f"{self.paths[i_file]}: is {header.nx} x {header.ny} px, expected square images")
        raise InputError(reasons[0] if reasons else "no images are listed, expected some; check the particle table")

    def _preread(self) -> None:
        """All images into one array per box."""
        n_bytes = int(4 * (self.box.astype(float) ** 2).sum())
        free = available_memory()
        if n_bytes > 0.9 * free:
            raise InputError(f"--preread_images: {len(self)} images need {n_bytes / GB:.1f} GB of memory, "
                             f"{free / GB:.1f} GB are free; leave --preread_images out, or use "
                             "--scratch_dir on a local disk")
        row = np.zeros(len(self), np.int64)
        kept: dict[int, np.ndarray] = {}
        for box in np.unique(self.box).tolist():
            members = np.flatnonzero(self.box == box)
            row[members] = np.arange(len(members))
            kept[box] = np.empty((len(members), box, box), np.float32)
            for begin in range(0, len(members), PREREAD_BATCH):
                part = members[begin : begin + PREREAD_BATCH]
                kept[box][begin : begin + len(part)], bad = self.read(part)
                self._kept_bad.update(bad)
        self._row, self._kept = row, kept


class _Scratch:
    """Copies of stacks on a local disk."""

    def __init__(self, folder, keep_free_GB: float, keep: bool):
        self.folder = Path(folder) / "vitreous_scratch"
        self.keep_free, self.keep, self.note = keep_free_GB * GB, keep, ""
        self.made: list[Path] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--scratch_dir {folder}: cannot be used ({error.strerror}), expected a writable folder; "
                             "give another, or leave it out") from error

    def copy(self, paths: list[Path]) -> list[Path]:
        """For each stack its copy, or itself where there is no room or no such file."""
        out, n_reused = list(paths), 0
        for i, path in enumerate(paths):
            try:
                stat = path.stat()
                target = self._target(path)
                if self._same(target, stat):
                    n_reused += 1
                elif shutil.disk_usage(self.folder).free - stat.st_size < self.keep_free:
                    continue
                else:
                    self._copy_one(path, target)
                out[i] = target
            except OSError:
                continue  # a missing stack is reported when its images are read
        n_there = sum(a != b for a, b in zip(out, paths))
        self.note = f"scratch {self.folder}: {n_there} of {len(paths)} stacks are there ({n_reused} from before)"
        if n_there < len(paths):
            self.note += f"; the others are read where they are, to leave {self.keep_free / GB:g} GB free"
        return out

    def _target(self, path: Path) -> Path:
        whole = os.path.abspath(path)
        return self.folder / f"{hashlib.sha1(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}_{path.name}"

    @staticmethod
    def _same(target: Path, stat: os.stat_result) -> bool:
        try:
            copy = target.stat()
        except OSError:
            return False
        return copy.st_size == stat.st_size and copy.st_mtime_ns == stat.st_mtime_ns

    def _copy_one(self, path: Path, target: Path) -> None:
        part = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copyfile(path, part)
            shutil.copystat(path, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        self.made.append(target)

    def remove(self) -> None:
        if self.keep:
            return
        for path in self.made:
            path.unlink(missing_ok=True)
        self.made.clear()
        with suppress(OSError):  # another run has copies there
            self.folder.rmdir()


def available_memory() -> int:
    """Bytes that this process may still take: what the machine has free, within the limit of its control group."""
    free = _number_behind("/proc/meminfo", "MemAvailable:") * 1024
    if not free and hasattr(os, "sysconf"):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit, used, cache in (
            ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
             "total_inactive_file")):
        most = _number_behind(limit)
        if most:
            # Cached file pages count as used, but make room when asked.
            reclaimable = _number_behind(str(Path(used).with_name("memory.stat")), cache)
            free = min(free, max(0, most - _number_behind(used) + reclaimable))
    return free


def _number_behind(path: str, key: str = "") -> int:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                words = line[len(key):].split()
                return int(words[0]) if words and words[0].isdigit() else 0
    except OSError:
        pass
    return 0
