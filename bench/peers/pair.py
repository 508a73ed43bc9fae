"""Two programs side by side: which are here, what a whole run of each costs, and a table of runs with their ratios."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import machine
import numpy as np

HERE = Path(__file__).parent
OURS = [sys.executable, "-m", "vitreous"]
# key, heading, format
COSTS = (("wall_s", "wall s", "9.1f"), ("cpu_s", "CPU s", "9.1f"), ("peak_MiB", "peak MiB", "9.0f"))


def found(commands: dict[str, list[str]], wanted) -> dict[str, list[str]]:
    """Those of the commands, "vitreous" and "relion", that are here to run; what is wanted and not here is said."""
    here = {}
    for name in (n for n in commands if n in wanted):
        words = commands[name]
        if name == "vitreous" and subprocess.run([*words, "--help"], capture_output=True).returncode:
            print(f"python -m {' '.join(words[2:])} does not run here: pip install .")
        elif name == "relion" and not all(shutil.which(w) for w in (words[0], words[-1])):
            print(f"{words[-1]} is not on PATH: ours runs alone (apt install relion)")
        else:
            here[name] = words
    return here


def measured(name: str, command: list[str], cwd: Path, out: Path) -> dict:
    """Run a command from ``cwd`` and leave log.txt and cost.json in a new folder ``out``; what the system counted.

    The peak is of the largest process: of a run under MPI that of one rank.
    """
    cost, log = out / "cost.json", out / "log.txt"
    subprocess.run([sys.executable, "-I", str(HERE / "measure.py"), str(cost), str(log), *command], cwd=cwd)
    figures = json.loads(cost.read_text()) if cost.exists() else {"rc": 127}
    if figures.pop("rc") != 0:
        raise SystemExit(f"{name} failed; its last words ({log}):\n{log.read_text()[-1500:]}")
    return figures


def new_folder(path: Path) -> Path:
    """An empty folder in place of what was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def table(runs: list[dict], columns) -> str:
    """Aligned rows, one per run, and per size the ratio of the medians relion : vitreous."""
    width = max(len(f"{r['program']} {r['size']}") for r in runs)
    lines = [" " * width + "  " + "  ".join(f"{head:>{_width(form)}}" for _, head, form in columns)]
    for r in runs:
        cells = [f"{r[key]:{form}}" for key, _, form in columns]
        lines.append(f"{r['program'] + ' ' + r['size']:{width}}  " + "  ".join(cells))
    for size in dict.fromkeys(r["size"] for r in runs):
        middle = {name: {key: np.median([r[key] for r in runs if (r["program"], r["size"]) == (name, size)])
                         for key, _, _ in columns} for name in {r["program"] for r in runs if r["size"] == size}}
        if {"relion", "vitreous"} <= middle.keys():
            cells = []
            for key, _, form in columns:
                ours = middle["vitreous"][key]
                cells.append(f"{middle['relion'][key] / ours if ours else np.nan:{_width(form)}.2f}")
            lines.append(f"{'relion / ours':{width}}  " + "  ".join(cells))
    return "\n".join(lines)


def tell(runs: list[dict], columns, flags: list[str], legend: str, json_path: Path | None) -> None:
    """Print flags, table and legend, and write all runs with the machine's card where a file is given."""
    if not runs:
        raise SystemExit("nothing to run")
    print(f"{' '.join(flags)}\n{table(runs, columns)}\n{legend}")
    if json_path:
        json_path.write_text(json.dumps({"machine": machine.card(), "flags": flags, "runs": runs}, indent=1))


def _width(form: str) -> int:
    return int(form.split(".")[0])
