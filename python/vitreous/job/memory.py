"""Memory of a run: the predicted peak as a table, held against what the machine and its control group still give."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from vitreous.errors import InputError

MARGIN = 0.95  # of what is free; the rest is for page cache and the allocator's waste


def human(n_bytes: float) -> str:
    """Bytes as kB, MB or GB of 1024."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1024 or unit == "GB":
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError


def _read_int(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # cgroup 2 writes "max" for no limit


def _reclaimable(path: Path) -> int:
    """File cache in a control group's memory.stat that the kernel gives back when asked, bytes."""
    try:
        stat = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(stat.get("inactive_file", stat.get("total_inactive_file", 0)))


def cgroup_free(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the process's control groups (version 1 or 2, the tightest level) still allow; None = no limit."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return None
    free = []
    for _, controllers, inner in lines:
        if controllers == "":
            base, limit, usage = root, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, usage = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = base / inner.lstrip("/")
        for level in (folder, *folder.parents):
            most, used = _read_int(level / limit), _read_int(level / usage)
            if most is not None and used is not None and most < 1 << 60:  # version 1 writes about 2^63 for no limit
                free.append(max(most - used + _reclaimable(level / "memory.stat"), 0))
            if level == base:
                break
    return min(free, default=None)


def system_free(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """MemAvailable in bytes; None where the system does not tell."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def available_bytes() -> int | None:
    """Memory that this process can still take without swapping or being killed; None where nothing tells."""
    return min((n for n in (system_free(), cgroup_free()) if n is not None), default=None)


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Largest resident memory of this process so far."""
    # Linux's rusage counts what the process that started this one held at that moment, e.g. a notebook with its data.
    try:
        lines = status.read_text().splitlines()
    except OSError:
        lines = []
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
    if own is not None:
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_table(parts: Mapping[str, int], free: int | None) -> str:
    """The predicted peak as aligned lines, largest part first.

    Parameters
    ----------
    parts : what takes memory -> bytes
    free : bytes available; None = unknown
    """
    rows = [*sorted(parts.items(), key=lambda item: -item[1]), ("together", sum(parts.values()))]
    if free is not None:
        rows.append(("available", free))
    width = max(len(name) for name, _ in rows)
    return "\n".join([" Memory at the peak:"] + [f"   {name:<{width}}  {human(n):>10}" for name, n in rows])


def check_memory(parts: Mapping[str, int], shrink: str, free: int | None = None) -> str:
    """The table of ``memory_table`` after a check that it fits.

    Parameters
    ----------
    parts : what takes memory -> bytes, of what is still to be allocated
    shrink : which options make it smaller, for the error: "leave out --preread_images, or give a smaller --K"
    free : bytes available; None = ask the machine

    Raises  InputError: it does not fit.
    """
    free = available_bytes() if free is None else free
    total = sum(parts.values())
    if free is not None and total > MARGIN * free:
        name, largest = max(parts.items(), key=lambda item: item[1])
        raise InputError(
            f"memory: found {human(free)} available, expected {human(total / MARGIN)} "
            f"(the most is {name}, {human(largest)}); {shrink}"
        )
    return memory_table(parts, free)
