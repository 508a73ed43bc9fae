"""Event log of a run: one JSON object per line, written at once, so that a killed run keeps all but the last event."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def plain(value: Any) -> Any:
    """A value as JSON has it: numpy scalars and arrays, paths and tuples become plain; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return str(value)


class EventLog:
    """Appends events to a file; with no path it only counts time.

    Each line has ``time`` (UTC), ``elapsed_s`` (since the log was opened), ``event`` (its kind) and the event's values.
    """

    def __init__(self, path: Path | None):
        self._start = time.monotonic()
        self._path = path
        self._file: BinaryIO | None = None
        self._half_line, self._told = False, False
        if path is not None:
            # A killed run's half line must not swallow the first event of this one.
            self._half_line = bool(path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"))
            self._file = path.open("ab", buffering=0)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start

    def event(self, kind: str, **values: Any) -> None:
        """Write one event. A disk that takes no more costs the event, not the run: its other files say what is wrong."""
        if self._file is None:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": now, "elapsed_s": round(self.elapsed_s, 3), "event": kind, **plain(values)}
        text = ("\n" if self._half_line else "") + json.dumps(line, ensure_ascii=False) + "\n"
        data = text.encode("utf-8", "surrogateescape")
        try:
            self._half_line = self._file.write(data) != len(data)
        except OSError as error:
            self._half_line = True
            if not self._told:
                print(f"warning: {self._path}: cannot be written ({error.strerror}); events are lost", file=sys.stderr)
            self._told = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read_events(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Events of a log, in order; half lines of killed runs are left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and (kind is None or event.get("event") == kind):
                yield event
