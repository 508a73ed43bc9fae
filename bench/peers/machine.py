"""The card of the machine that a figure was measured on; every bench JSON carries one."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def _first(path: str, key: str) -> str:
    """The value after ``key :`` in a /proc file, or "unknown" where the system does not tell."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _commit() -> str:
    """Short commit of the source tree, with a + where it has changes; empty outside a checkout."""
    where = Path(__file__).parent
    text = [subprocess.run(["git", *words], cwd=where, capture_output=True, text=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])]
    return text[0] + ("+" if text[1] else "")


def card() -> dict:
    """What decides a speed here: processor, cores we may use, memory, load at the start, versions, commit."""
    flags = set(_first("/proc/cpuinfo", "flags").split())
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_set": next((s for s in ("avx512f", "avx2", "asimd") if s in flags), "unknown"),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "load_at_start": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in ("vitreous", "numpy", "scipy", "scipy-openblas32")},
        "commit": _commit(),
    }
