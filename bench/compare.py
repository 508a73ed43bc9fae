"""Old and new figures side by side: python bench/compare.py old.json new.json [--limit 5]; exit 1 where one got slower.

Reads what pytest-benchmark writes (``--benchmark-json``) and what bench/peers writes (``--json``).
"""

from __future__ import annotations

import argparse
import json
import sys
from math import nan
from pathlib import Path


def figures(path: Path) -> dict[str, float]:
    """Name -> seconds: the least time of each bench, the least wall time of each program and size."""
    data = json.loads(path.read_text())
    if "benchmarks" in data:
        return {b["fullname"]: b["stats"]["min"] for b in data["benchmarks"]}
    if "runs" not in data:
        raise SystemExit(f"{path}: no 'benchmarks' and no 'runs'; give a JSON of pytest-benchmark or bench/peers")
    least: dict[str, float] = {}
    for run in data["runs"]:
        name = f"{run['program']} {run['size']}"
        least[name] = min(run["wall_s"], least.get(name, run["wall_s"]))
    return least


def machine_of(path: Path) -> str:
    data = json.loads(path.read_text())
    card = data.get("machine") or data.get("machine_info", {}).get("card", {})
    return f"{card.get('cpu', 'unknown')} x {card.get('cores', '?')}, commit {card.get('commit', '?')}"


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--limit", type=float, default=5.0, help="percent slower that counts as a regression")
    o = parser.parse_args(arguments)
    old, new = figures(o.old), figures(o.new)
    width = max((len(name) for name in {*old, *new}), default=10)
    print(f"old: {machine_of(o.old)}\nnew: {machine_of(o.new)}\n{'':{width}}  {'old s':>11}  {'new s':>11}  change")
    worse = 0
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            print(f"{name:{width}}  {old.get(name, nan):11.4g}  {new.get(name, nan):11.4g}  only in one")
            continue
        percent = 100 * (new[name] / old[name] - 1)
        slower = percent > o.limit
        worse += slower
        print(f"{name:{width}}  {old[name]:11.4g}  {new[name]:11.4g}  {percent:+6.1f} %{'  SLOWER' if slower else ''}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
