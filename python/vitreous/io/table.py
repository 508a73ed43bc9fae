"""One block of a STAR file, asked for columns by label: every complaint says file, line, column and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.labels import SPELLINGS, nearest_label


class Table:
    """Typed access to the columns of one block.

    Parameters
    ----------
    path : file that the block came from, for messages
    block : io.star.Block
    """

    def __init__(self, path, block):
        self.path, self.block = str(path), block
        self.columns = block.columns
        self._spelling = {SPELLINGS.get(label, label): label for label in self.columns}

    def __len__(self):
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, label):
        return label in self._spelling

    def where(self, row: int | None = None) -> str:
        """``file:line`` of a row, or file and block."""
        line = None if row is None else self._line(int(row))
        return f"{self.path} (data_{self.block.name})" if line is None else f"{self.path}:{line}"

    def _line(self, row: int) -> int | None:
        """Line of a row in the file, looked up again since only messages need it."""
        first = self.block.where.rpartition(":")[2]
        if not first.isdigit() or self.block.kind != "loop":
            return None
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    word = line.split()[:1]
                    heading = number <= int(first) or not word or word[0] == "loop_" or word[0][0] in "_#"
                    if not heading:
                        row -= 1
                    if row < 0:
                        return number
        except OSError:
            pass
        return None

    def missing(self, label: str, meaning: str, to_do: str) -> InputError:
        near = nearest_label(label, self.columns)
        hint = f" (the nearest column there is {near})" if near else ""
        return InputError(f"{self.where()}: there is no column {label}{hint}, expected {meaning}; {to_do}")

    def require(self, label: str, meaning: str, to_do: str) -> None:
        if label not in self:
            raise self.missing(label, meaning, to_do)

    def raw(self, label: str) -> np.ndarray:
        return self.columns[self._spelling[label]]

    def numbers(self, label: str, default: float | None = None) -> np.ndarray:
        """(n,) float64; ``default`` where the column is absent."""
        if label not in self:
            return np.full(len(self), default, np.float64)
        return self._converted(label, np.float64, "a number")

    def integers(self, label: str, default: int | None = None) -> np.ndarray:
        """(n,) int64; ``default`` where the column is absent."""
        if label not in self:
            return np.full(len(self), default, np.int64)
        values = self._converted(label, np.float64, "a whole number")
        wrong = np.flatnonzero(values != np.rint(values))
        if len(wrong):
            raise self.bad_value(label, wrong[0], "a whole number", "correct the value")
        return values.astype(np.int64)

    def strings(self, label: str) -> list[str]:
        values = self.raw(label)
        return values.tolist() if values.dtype.kind in "UO" else [str(value) for value in values.tolist()]

    def bad_value(self, label: str, row: int, expected: str, to_do: str) -> InputError:
        return InputError(f"{self.where(row)}: {label} is {self.raw(label)[row]}, expected {expected}; {to_do}")

    def _converted(self, label, dtype, expected):
        values = self.raw(label)
        try:
            return np.asarray(values).astype(dtype)
        except (ValueError, TypeError, OverflowError):
            for row, value in enumerate(values.tolist()):
                try:
                    float(value)
                except (ValueError, TypeError):
                    raise self.bad_value(label, row, expected, "correct the value") from None
            raise


class Row(Table):
    """A list block or the first row of a loop: single values, with defaults for labels that other versions lack."""

    def number(self, label: str, default: float) -> float:
        return float(self.numbers(label)[0]) if label in self else default

    def integer(self, label: str, default: int) -> int:
        return int(self.integers(label)[0]) if label in self else default

    def flag(self, label: str, default: bool) -> bool:
        return bool(self.integer(label, int(default)))

    def string(self, label: str, default: str) -> str:
        return self.strings(label)[0] if label in self else default


def exists(path) -> bool:
    """Whether a file is there; a name that no file can have is not."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def beside(star, name: str) -> str:
    """A file that a STAR file names, perhaps as ``000012@name``: as named, else where it lies beside the STAR file."""
    section, at, file = name.rpartition("@")
    near = Path(star).parent / Path(file).name
    return section + at + (str(near) if not exists(file) and exists(near) else file)


def factorise(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Distinct names in order of appearance, and for each entry the index of its name, (n,) int32."""
    distinct = list(dict.fromkeys(names))
    index = {name: i for i, name in enumerate(distinct)}
    return distinct, np.fromiter(map(index.__getitem__, names), np.int32, len(names))
