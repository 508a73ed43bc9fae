"""Extraction side by side: relion_preprocess and ours, same micrographs, same flags, in one run.

    python bench/peers/extract.py --work scratch --runs 3 --json extract.json

Runs alternate. Warm: the micrographs are in the page cache. Cold: their pages are dropped before each run, and the
disk's own rate is measured in the same way. Where RELION is absent this is said and ours runs alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import machine
import numpy as np

from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import Block, write_star

HERE = Path(__file__).parent
RELION = "relion_preprocess"
N_FILES = 4  # real micrographs; the others are links to them
CASES = {
    "256 to 64": "--extract_size 256 --scale 64 --norm --bg_radius 25 --invert_contrast",
    "256 as it is": "--extract_size 256 --norm --bg_radius 96 --invert_contrast",
    "64 as it is": "--extract_size 64 --norm --bg_radius 25 --invert_contrast",
}


def make_project(folder: Path, n: int, side: int, picks: int) -> int:
    """Micrographs, picks and their table; returns the bytes of all micrographs."""
    rng = np.random.default_rng(1)
    (folder / "Micrographs").mkdir(parents=True, exist_ok=True)
    names = [f"Micrographs/mic_{i:03d}.mrc" for i in range(n)]
    for i, name in enumerate(names):
        path = folder / name
        if not path.exists():
            if i < N_FILES:
                write_mrc(path, rng.normal(100, 10, (side, side)).astype(np.float32), 0.885)
            else:
                path.symlink_to(f"mic_{i % N_FILES:03d}.mrc")
        xy = rng.uniform(0, side, (picks, 2))
        columns = {"rlnCoordinateX": xy[:, 0], "rlnCoordinateY": xy[:, 1]}
        write_star(folder / f"Micrographs/mic_{i:03d}_pick.star", [Block("", columns=columns)])
    optics = {"rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnMicrographOriginalPixelSize": [0.885],
              "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1],
              "rlnMicrographPixelSize": [0.885]}  # fmt: skip
    table = {"rlnMicrographName": names, "rlnOpticsGroup": [1] * n, "rlnDefocusU": [12000.0] * n,
             "rlnDefocusV": [11500.0] * n, "rlnDefocusAngle": [30.0] * n}  # fmt: skip
    write_star(folder / "mics.star", {"optics": optics, "micrographs": table})
    return sum(os.path.getsize(folder / name) for name in names)


def drop_pages(folder: Path) -> None:
    """Take the micrographs out of the page cache."""
    for path in folder.glob("Micrographs/*.mrc"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def disk_rate(folder: Path) -> float:
    """MB/s of reading the real micrographs one after the other, cold, into one buffer."""
    drop_pages(folder)
    buffer = bytearray(8 << 20)
    start, total = time.monotonic(), 0
    for path in sorted(p for p in folder.glob("Micrographs/*.mrc") if not p.is_symlink()):
        with open(path, "rb", buffering=0) as file:
            while n := file.readinto(buffer):
                total += n
    return total / 1e6 / (time.monotonic() - start)


def measured(folder: Path, name: str, command: list[str]) -> dict:
    """wall_s, cpu_s, peak_MiB of one command."""
    cost = folder / f"{name}_cost.json"
    subprocess.run([sys.executable, str(HERE / "measure.py"), str(cost), str(folder / f"{name}.log"), *command],
                   cwd=folder, check=True)  # fmt: skip
    return json.loads(cost.read_text())


def same(folder: Path) -> float:
    """Largest difference between the two stacks of a micrograph."""
    ours, theirs = (read_mrc(folder / place / "Micrographs/mic_001.mrcs")[0] for place in ("vitreous", "relion"))
    return float(np.abs(ours - theirs).max())


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("extract_bench"))
    parser.add_argument("--n", type=int, default=24, help="micrographs")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--picks", type=int, default=200, help="of each micrograph")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--j", type=int, default=1, help="threads of ours; relion_preprocess has one")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--pages", nargs="*", default=["warm", "cold"], choices=["warm", "cold"])
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    o.work = o.work.resolve()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is installed: modules are compiled once
    n_bytes = make_project(o.work, o.n, o.side, o.picks)
    programs = {"vitreous": [sys.executable, "-m", "vitreous", "extract", "--j", str(o.j)]}
    if shutil.which(RELION):
        programs["relion"] = [RELION]
    else:
        print(f"{RELION} is not on PATH: ours runs alone (apt install relion)")
    result = {"card": machine.card(), "disk_MB_s": disk_rate(o.work), "bytes": n_bytes, "rows": []}
    print(f"disk {result['disk_MB_s']:.0f} MB/s; {o.n} micrographs, {n_bytes / 1e6:.0f} MB, {o.picks} particles each")
    print(f"{'case':<14}{'pages':<6}{'program':<10}{'wall s':>8}{'CPU s':>8}{'MB/s':>8}{'peak MiB':>10}")
    for case in o.cases:
        flags = CASES[case]
        for pages in o.pages:
            found: dict[str, list[dict]] = {name: [] for name in programs}
            for _ in range(o.runs):
                for name, command in programs.items():
                    shutil.rmtree(o.work / name, ignore_errors=True)
                    if pages == "cold":
                        drop_pages(o.work)
                    words = f"--i mics.star --coord_dir ./ --coord_suffix _pick.star --extract {flags}".split()
                    output = ["--part_dir", f"{name}/", "--part_star", f"{name}/particles.star"]
                    found[name].append(measured(o.work, name, [*command, *words, *output]))
            for name, costs in found.items():
                best = {key: min(cost[key] for cost in costs) for key in ("wall_s", "cpu_s", "peak_MiB")}
                best["MB_s"] = n_bytes / 1e6 / best["wall_s"]
                result["rows"].append({"case": case, "pages": pages, "program": name, **best})
                print(f"{case:<14}{pages:<6}{name:<10}{best['wall_s']:8.2f}{best['cpu_s']:8.2f}{best['MB_s']:8.0f}"
                      f"{best['peak_MiB']:10.0f}", flush=True)  # fmt: skip
            if len(programs) == 2:
                print(f"{'':<14}largest difference of a pixel: {same(o.work):.1e}")
    if o.json:
        o.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
