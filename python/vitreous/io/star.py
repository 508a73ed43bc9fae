"""STAR files: blocks of labelled columns, in every dialect that RELION 2 to 5, Warp, M and others write.

``read_star`` gives an ordered dictionary of blocks whose columns are numpy arrays; ``write_star`` writes RELION's
layout. The grammar of headers is here; rows, of which a file may have millions, are split and formatted by the module
_io (docs/decisions/0001-star-writer.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vitreous import _io
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.labels import label_type, nearest_label

# The dialect number that RELION 3.1, 4 and 5 all read; 5 itself writes 50001.
VERSION = 30001
KINDS = {"double": "d", "int": "i", "bool": "i", "string": "s", "double_vector": "s", "int_vector": "s"}
_VERSION_LINE = re.compile(r"\s*version\s+(\d{1,9})\s*")
ROWS_PER_WRITE = 20_000  # about 8 MB of text at a time


@dataclass
class Block:
    """One table: labels without their underscore -> columns of equal length.

    Columns are float64, int64 or object (str) vectors; a column with a known label has the type of that label.

    Attributes
    ----------
    name : after ``data_``; may be empty
    kind : "loop", or "list" (label and value in one line; columns of length 1)
    columns : label -> (n,) array, in file order
    version : number in the ``# version`` line; None: no such line, which RELION takes for its 3.0 dialect
    comments : other comment lines before the block, without the ``#``
    precise : write float64 in the shortest form that reads back the same, not in RELION's 6 digits
    where : "file:line" of the block's first line, for messages
    """

    name: str = ""
    kind: str = "loop"
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    version: int | None = VERSION
    comments: tuple[str, ...] = ()
    precise: bool = False
    where: str = ""

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, label: str) -> bool:
        return label in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, label: str) -> np.ndarray:
        """The column of a label; a missing one is an InputError that names the nearest label present."""
        if label not in self.columns:
            near = nearest_label(label, self.columns)
            advice = f"did you mean {near}, which is there?" if near else "add the column, or give another file"
            raise InputError(f"{self.where or 'STAR table'}: data_{self.name} has no column {label}, expected one of "
                             f"its {len(self.columns)} columns; {advice}")
        return self.columns[label]

    def __setitem__(self, label: str, values) -> None:
        self.columns[label] = as_column(values)

    def get(self, label: str, default=None):
        """The column of a label, or ``default`` where it is missing."""
        return self.columns.get(label, default)

    def value(self, label: str, default=...):
        """First entry of a column as a Python int, float or str; ``default`` where missing, else an InputError."""
        if label not in self.columns and default is not ...:
            return default
        column = self[label]
        if not len(column):
            raise InputError(f"{self.where or 'STAR table'}: {label} is empty, expected a value; write one in its line")
        return column[0] if column.dtype == object else column[0].item()

    def take(self, indices) -> Block:
        """The same table with the rows of ``indices`` (integers or a mask)."""
        columns = {label: column[indices] for label, column in self.columns.items()}
        return Block(self.name, self.kind, columns, self.version, self.comments, self.precise, self.where)


class StarFile(dict):
    """Blocks of a file by name, in order. A second block of one name has the key ``name#2``, a third ``name#3``."""

    def __init__(self, blocks=(), path: str = ""):
        super().__init__(blocks)
        self.path = path

    def __missing__(self, name: str) -> Block:
        near = nearest_label(name, self)
        has = ", ".join(f"data_{key}" for key in list(self)[:8]) or "no block"
        advice = f"did you mean data_{near}?" if near else "check that this is the right file"
        raise InputError(f"{self.path or 'STAR file'}: has {has}, expected data_{name}; {advice}")

    def first(self, *names: str) -> Block:
        """The first of the named blocks that is there."""
        return self[next((name for name in names if name in self), names[0])]


def as_column(values) -> np.ndarray:
    """A contiguous float64, int64 or object (str) vector of ``values``; scalars become vectors of one."""
    array = np.asarray(values)
    if array.ndim != 1:
        array = array.reshape(-1)
    kind = array.dtype.kind
    if kind in "biu":
        return np.ascontiguousarray(array, np.int64)
    if kind == "f":
        return np.ascontiguousarray(array, np.float64)
    out = np.empty(len(array), object)
    out[:] = array.tolist() if kind == "O" else [str(value) for value in array.tolist()]
    return out


def round_as_written(values) -> np.ndarray:
    """What numbers become when they are written in RELION's format and read again.

    Parameters
    ----------
    values : float array of any shape

    Returns
    -------
    float64 array of the same shape
    """
    values = np.ascontiguousarray(values, np.float64)
    out = np.empty(values.size, np.float64)
    _io.round_as_written(values.reshape(-1), out)
    return out.reshape(values.shape)


def read_star(path, blocks=None) -> StarFile:
    """Read a STAR file.

    Parameters
    ----------
    path : str or Path
    blocks : names of the blocks to keep, None for all

    Returns
    -------
    StarFile                         block name -> Block, in file order

    Raises  InputError: no such file, no block in it, or a line that does not fit, with file:line.
    Cost: about 2 s and three times the file's size in memory for a million rows of 26 columns
    """
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 16)
            # A stack given by mistake can be larger than the memory; text has no zero bytes.
            file.seek(0)
            data = b"" if b"\0" in head else file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a STAR file; check the name and the "
                         "permissions") from error
    if b"\0" in head:
        raise InputError(f"{path}: holds binary data, expected a STAR file; was the image stack given in place "
                         "of its table?")
    return parse_star(data, str(path), blocks)


def parse_star(data: bytes, path: str = "STAR text", blocks=None) -> StarFile:
    """Like read_star, for the bytes of a file; ``path`` appears in messages."""
    return _Reader(data, path, None if blocks is None else set(blocks)).read()


class _Reader:
    """Walks the headers of a file line by line and hands the rows of loops to _io."""

    def __init__(self, data: bytes, path: str, wanted: set[str] | None):
        self.data, self.path, self.wanted = data, path, wanted
        self.at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.line = 1
        self.file = StarFile(path=path)
        self.n_named: dict[str, int] = {}

    def fail(self, line: int, found: str, expected: str, advice: str):
        raise InputError(f"{self.path}:{line}: {found}, expected {expected}; {advice}")

    def peek(self) -> tuple[str, int]:
        """The line at hand, without its end, and where the next one begins."""
        stop = self.data.find(b"\n", self.at)
        stop = len(self.data) if stop < 0 else stop
        # A line of megabytes is no STAR header: keep what a message may show.
        text = self.data[self.at:min(stop, self.at + 65536)].decode("utf-8", "surrogateescape")
        return text.rstrip("\r"), min(stop + 1, len(self.data))

    def read(self) -> StarFile:
        block, comments = None, []
        while self.at < len(self.data):
            whole, after = self.peek()
            text, line = whole.strip(), self.line
            if text == "loop_" and block is not None:
                self.at, self.line = after, line + 1
                self.read_loop(block if not block.columns else self.keep(self.new_block(block.name, line, [])))
                continue
            self.at, self.line = after, line + 1
            if text.startswith("#"):
                comments.append(whole[whole.index("#") + 1:].removeprefix(" "))
            elif text.startswith("data_"):
                name = text[5:].split("#")[0].split()
                block = self.keep(self.new_block(name[0] if name else "", line, comments))
                comments = []
            elif text.startswith("_") and block is not None:
                self.read_item(block, text, line)
            elif text:
                self.fail(line, f"found {_shown(text)}", "data_, loop_ or a _label" if block else "data_<name> first",
                          "check that this is a STAR file" if block is None else "put the line right, or remove it")
        if not self.n_named:
            what = "is empty" if not self.data.strip() else "has no data_ block"
            raise InputError(f"{self.path}: {what}, expected a STAR file; check that its writing was finished")
        return self.file

    def new_block(self, name: str, line: int, comments: list[str]) -> Block:
        versions = [match for c in comments if (match := _VERSION_LINE.fullmatch(c))]
        others = tuple(c for c in comments if c and not _VERSION_LINE.fullmatch(c))
        version = int(versions[-1][1]) if versions else None
        return Block(name, "list", {}, version, others, where=f"{self.path}:{line}")

    def keep(self, block: Block) -> Block:
        n = self.n_named[block.name] = self.n_named.get(block.name, 0) + 1
        if self.wanted is None or block.name in self.wanted:
            self.file[block.name if n == 1 else f"{block.name}#{n}"] = block
        return block

    def read_item(self, block: Block, text: str, line: int) -> None:
        """One ``_label value`` of a list."""
        if block.kind == "loop":
            self.fail(line, f"found the label {_shown(text)} after the rows of data_{block.name}",
                      "rows, data_ or the end", "put labels before the rows")
        head = re.split(r"\s", text, maxsplit=1)
        label = self.check_label(head[0], block, line)
        kind = KINDS.get(label_type(label), "u")
        rest = head[1].encode("utf-8", "surrogateescape") if len(head) > 1 else b""
        got = _io.read_rows(rest if rest.strip() else b'""', 0, line, kind if rest.strip() else "s")
        if got["what"]:
            self.fail_row(got, [label], [kind])
        column = got["columns"][0] if got["n_rows"] else as_column([""])  # only a comment behind the label
        block.columns[label] = column

    def check_label(self, text: str, block: Block, line: int) -> str:
        label = text[1:].split("#")[0]
        if not label:
            self.fail(line, "found an underscore without a label", "_label", "remove the line, or complete it")
        if label in block.columns:
            self.fail(line, f"the label {label} appears twice in data_{block.name}", "each label once",
                      "remove one of the two columns")
        return label

    def read_loop(self, block: Block) -> None:
        block.kind = "loop"
        behind_labels = self.at, self.line
        while self.at < len(self.data):
            whole, after = self.peek()
            text = whole.strip()
            if text.startswith("_"):
                block.columns[self.check_label(text.split()[0], block, self.line)] = np.zeros(0)
                behind_labels = after, self.line + 1
            elif text and (block.columns or not text.startswith("#")):
                break
            self.at, self.line = after, self.line + 1
        self.at, self.line = behind_labels  # empty lines before the first row tell rows from blocks
        if not block.columns:
            self.fail(self.line, "found loop_ without labels", "lines of _label behind it", "add them, or remove loop_")
        labels = list(block.columns)
        skip = self.wanted is not None and block.name not in self.wanted
        kinds = ["-" if skip else KINDS.get(label_type(label), "u") for label in labels]
        got = _io.read_rows(self.data, self.at, self.line, "".join(kinds))
        if got["what"]:
            self.fail_row(got, labels, kinds)
        if not skip:
            block.columns = dict(zip(labels, got["columns"]))
        self.at, self.line = got["end"], got["line"]

    def fail_row(self, got: dict, labels: list[str], kinds: list[str]) -> None:
        line, label, found = got["error_line"], labels[got["i_column"]], got["found"].decode("utf-8", "replace")
        if got["what"] in ("too few", "too many"):
            self.fail(line, f"found {found} fields", f"{len(labels)}, one for each label",
                      "the file may have been cut short or edited: write it again, or put this line right")
        number = "a number" if got["what"] == "not a number" else "a whole number"
        self.fail(line, f"{label} is {_shown(found)}", number, "put the value right")


def _shown(text: str) -> str:
    """Text from a file, short and printable."""
    return repr(text.encode("utf-8", "surrogateescape")[:60].decode("utf-8", "replace"))


def write_star(path, blocks, *, precise=False, version: int | None = VERSION, comments=(), allow_nan=False) -> None:
    """Write a STAR file in RELION's layout; it appears whole under its name or not at all.

    Parameters
    ----------
    path : str or Path
    blocks : mapping of block name to Block or to a mapping label -> values (scalars only: a list; else a loop);
        or a sequence of Blocks
    precise : write every float64 so that it reads back the same; else only in blocks that say so
    version : dialect number of blocks that are plain mappings; a Block has its own
    comments : lines for the head of the file, without the ``#``
    allow_nan : write NaN and infinity too, for columns that only pass through; RELION writes them and reads them as 0

    Raises  InputError: a number is NaN or infinite, a text holds a line break, columns differ in length.
    WriteError: the disk is full, or refuses.
    """
    items = blocks.items() if isinstance(blocks, Mapping) else [(block.name, block) for block in blocks]
    tables = [_as_block(name, block, precise, version) for name, block in items]
    for table in tables:
        _check_block(str(path), table, allow_nan)
    with atomic_write(path) as file:
        head = "".join(f"# {line}\n" for text in comments for line in str(text).splitlines())
        file.write(head.encode("utf-8", "surrogateescape"))
        for table in tables:
            _write_block(file, table)


def _as_block(name: str, block, precise: bool, version: int | None) -> Block:
    if isinstance(block, Block):
        out = replace(block, columns=block.columns, precise=block.precise or precise)
    else:
        scalar = all(np.ndim(values) == 0 for values in block.values())
        out = Block(name, "list" if scalar else "loop", dict(block), version, precise=precise)
    out.columns = {label: as_column(values) for label, values in out.columns.items()}
    return out


def _check_block(path: str, block: Block, allow_nan: bool) -> None:
    name = f"{path}: data_{block.name}"
    for text in (block.name, *block.columns):
        if re.search(r"[\s#]", text):
            raise InputError(f"{name}: the name {text!r} holds a blank or #, expected none; rename it")
    lengths = {label: len(column) for label, column in block.columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{name}: columns have lengths {lengths}, expected one length; fill the shorter columns")
    if block.kind == "list" and block.n_rows > 1:
        raise InputError(f"{name}: has {block.n_rows} rows, expected 1 in a list; write it as a loop")
    for label, column in block.columns.items():
        if column.dtype == np.float64 and not allow_nan and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise InputError(f"{name}: {label} is {column[row]} in row {row + 1}, expected a finite number, as RELION "
                             "reads this as 0; put the value right or leave the column out")
        if column.dtype == object:
            # Whatever else a caller put there is written as it prints; str is the common case and costs one pass.
            wrong = [i for i, value in enumerate(column) if type(value) is not str]
            for i in wrong:
                if column[i] is None:
                    raise InputError(f"{name}: {label} is None in row {i + 1}, expected a text; give one, or ''")
            if wrong:
                block.columns[label] = as_column([str(value) for value in column])


def _write_block(file, block: Block) -> None:
    if not block.n_rows:
        return  # RELION writes nothing for an empty table, and takes a header without rows for damage
    head = [f"# {text}\n" for text in block.comments]
    head.append("\n" if block.version is None else f"\n# version {block.version}\n\n")
    head.append(f"data_{block.name}\n\n")
    if block.kind == "loop":
        head.append("loop_ \n")
        head.extend(f"_{label} #{i} \n" for i, label in enumerate(block.columns, 1))
    file.write("".join(head).encode("utf-8", "surrogateescape"))
    columns = list(block.columns.values())
    if block.kind == "list":
        width = max(len(label) for label in block.columns) + 13
        for label, column in block.columns.items():
            value = _rows(block, {label: column}, 0, 1, pad=False)
            text = value if column.dtype == object else value.rjust(12)
            file.write(f"_{label}".ljust(width).encode("utf-8", "surrogateescape") + text + b"\n")
        file.write(b" \n")
        return
    for begin in range(0, block.n_rows, ROWS_PER_WRITE):
        end = min(begin + ROWS_PER_WRITE, block.n_rows)
        file.write(_rows(block, dict(zip(block.columns, columns)), begin, end, pad=True))
    file.write(b" \n")


def _rows(block: Block, columns: dict, begin: int, end: int, pad: bool) -> bytes:
    try:
        return _io.format_rows(list(columns.values()), [block.precise] * len(columns), begin, end, pad)
    except (ValueError, TypeError) as error:
        labels = ", ".join(columns) if len(columns) == 1 else "its text columns"
        raise InputError(f"data_{block.name}: {labels}: {error}, expected text in one line; put it right") from error
