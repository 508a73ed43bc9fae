"""Names and state of a run's files: the folder, ``root_itNNN_`` names, what a killed run left behind."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vitreous.errors import InputError

TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")  # the names that io/atomic.py gives; group 1 is the final name
ITERATION_FILES = ("data.star", "sampling.star", "optimiser.star")  # optimiser.star is written last
MODEL_FILES = (("model.star",), ("half1_model.star", "half2_model.star"))  # of a classification, of a refinement in halves


@dataclass(frozen=True)
class RunDir:
    """Files of a run whose names begin with ``root``, e.g. Class2D/job012/run.

    A root that ends with a slash or is a folder means the files ``run_...`` inside it.
    """

    root: str

    def __post_init__(self):
        if self.root.endswith(os.sep) or Path(self.root).is_dir():
            object.__setattr__(self, "root", os.path.join(self.root, "run"))

    @property
    def folder(self) -> Path:
        return Path(self.root).parent

    @property
    def stem(self) -> str:
        """Last part of the root: the start of every file name."""
        return Path(self.root).name

    def file(self, suffix: str) -> Path:
        """``root_suffix``, e.g. file("unmasked_classes.mrcs")."""
        return Path(f"{self.root}_{suffix}")

    def iteration_file(self, iteration: int, suffix: str) -> Path:
        """``root_itNNN_suffix``, e.g. iteration_file(25, "classes.mrcs")."""
        return Path(f"{self.root}_it{iteration:03d}_{suffix}")

    @property
    def log(self) -> Path:
        return Path(f"{self.root}.jsonl")

    @property
    def options(self) -> Path:
        return self.file("options.toml")

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def make(self) -> None:
        """Make the folder and check that files can be written there; raises InputError."""
        probe = self.folder / f".{self.stem}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"--o {self.root}: found a folder that cannot be written ({error.strerror}), expected one where this "
                f"user can make files; give another --o or change the rights of {self.folder}"
            ) from None

    def clean_stale(self) -> list[Path]:
        """Remove this run's temporary files that a killed process left; returns them."""
        removed = []
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            found = TEMPORARY.fullmatch(path.name)
            if found and self._is_mine(found.group(1)) and path.is_file():
                path.unlink()
                removed.append(path)
        return removed

    def _is_mine(self, name: str) -> bool:
        return re.match(re.escape(self.stem) + r"[_.]", name) is not None

    def iterations(self) -> list[int]:
        """Iterations with all files present, ascending."""
        if not self.folder.is_dir():
            return []
        pattern = re.compile(re.escape(self.stem) + r"_it(\d{3,})_optimiser\.star")
        numbers = (int(found.group(1)) for found in map(pattern.fullmatch, os.listdir(self.folder)) if found)
        return sorted(n for n in numbers if self._is_whole(n))

    def _is_whole(self, iteration: int) -> bool:
        def there(suffixes):
            return all(_has_bytes(self.iteration_file(iteration, suffix)) for suffix in suffixes)

        return there(ITERATION_FILES) and any(map(there, MODEL_FILES))

    def last_complete(self) -> Path | None:
        """The optimiser file to continue from, or None where no iteration is complete."""
        numbers = self.iterations()
        return self.iteration_file(numbers[-1], "optimiser.star") if numbers else None


def split_optimiser_name(path: str) -> tuple[str, int]:
    """Root and iteration of ``root_itNNN_optimiser.star``.

    Raises  InputError: no such file, or another kind of file; it names the file to use where one is at hand.
    """
    found = re.fullmatch(r"(.+)_it(\d{3,})_optimiser\.star", path)
    if found and Path(path).is_file():
        return found.group(1), int(found.group(2))
    guess = re.sub(r"(_it\d+)?(_[a-z]+\.\w+)?$", "", path)
    last = RunDir(guess or path).last_complete()
    todo = f"give {last}" if last else "give the root_itNNN_optimiser.star of the last iteration"
    what = "another name" if Path(path).is_file() else "no such file"
    raise InputError(f"--continue {path}: found {what}, expected a file root_itNNN_optimiser.star; {todo}")


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
