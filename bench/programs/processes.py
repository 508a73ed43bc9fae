"""Time of a program against processes and threads: the same job as 1 x 1, 1 x 2, 2 x 1, ... of them.

    python bench/programs/processes.py --work scratch --cases 1x1 1x2 2x1 --runs 2

Each case is run --runs times, alternated, and its fastest run counts. CPU s is of all processes with the launcher, as the
system counts it; expectation and maximisation are wall time of rank 0, from the log; speed-up is of the wall time within
iterations, against the first case.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "peers"))
import machine

FLAGS = {
    "class2d": "--K 10 --iter 6 --psi_step 12 --offset_range 5 --offset_step 2",
    "refine3d": "--ini_high 40 --healpix_order 2 --offset_range 3 --offset_step 2 --auto_iter_max 4 "
    "--low_resol_join_halves 40",
}
USUAL = "--particle_diameter 180 --ctf --zero_mask --flatten_solvent --norm --scale --random_seed 1 --verb 0"
HEADS = ("processes x threads", "wall s", "expectation s", "maximisation s", "CPU s", "speed-up")


def launcher() -> list[str]:
    """mpiexec beside this Python, or the system's mpirun, without its binding to cores."""
    beside = Path(sys.executable).parent / "mpiexec"
    if beside.is_file():
        return [str(beside)]
    found = shutil.which("mpirun")
    if not found:
        sys.exit("processes.py: found no mpiexec and no mpirun, expected one; pip install 'vitreous[mpi]'")
    return [found, "--bind-to", "none", "--oversubscribe"]


def particles(o) -> Path:
    """The simulated set, made once."""
    folder = o.work / f"set_{o.n}_{o.box}"
    if not (folder / "particles.star").is_file():
        words = f"simulate --o {folder} --n {o.n} --box {o.box} --angpix 4 --snr 0.1 --particle_diameter 180 --seed 1 --verb 0"
        subprocess.run([sys.executable, "-m", "vitreous", *words.split()], check=True)
    return folder


def run(o, n_processes: int, n_threads: int) -> dict[str, float]:
    """Seconds of one run."""
    made = particles(o)
    root = o.work / f"{o.program}_{n_processes}x{n_threads}" / "run"
    shutil.rmtree(root.parent, ignore_errors=True)
    words = [o.program, "--i", str(made / "particles.star"), "--o", str(root), "--j", str(n_threads)]
    words += USUAL.split() + FLAGS[o.program].split()
    words += ["--ref", str(made / "truth.mrc")] if o.program == "refine3d" else []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    start = [*launcher(), "-n", str(n_processes)] if n_processes > 1 else []
    subprocess.run([*start, sys.executable, "-m", "vitreous", *words], check=True, stderr=subprocess.DEVNULL)
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    events = [json.loads(line) for line in Path(f"{root}.jsonl").read_text().splitlines()]
    seconds = [event["seconds"] for event in events if event["event"] == "iteration"]
    cost = {name: sum(s[name] for s in seconds) for name in ("expectation", "maximisation")}
    cpu_s = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    return {"wall_s": wall_s, **cost, "cpu_s": cpu_s, "iterations_s": sum(sum(s.values()) for s in seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for particles and runs")
    parser.add_argument("--program", choices=FLAGS, default="refine3d")
    parser.add_argument("--cases", nargs="+", default=["1x1", "1x2", "2x1"], help="processes x threads of each")
    parser.add_argument("--n", type=int, default=600, help="particles")
    parser.add_argument("--box", type=int, default=64, help="px")
    parser.add_argument("--runs", type=int, default=2)
    o = parser.parse_args()
    o.work.mkdir(parents=True, exist_ok=True)
    cases = [tuple(map(int, case.split("x"))) for case in o.cases]
    runs = [{case: run(o, *case) for case in cases} for _ in range(o.runs)]
    best = {case: min((r[case] for r in runs), key=lambda cost: cost["iterations_s"]) for case in cases}
    print(json.dumps(machine.card()))
    print(f"{o.program}, {o.n} particles of {o.box} px")
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    for (n, j), cost in best.items():
        speed = best[cases[0]]["iterations_s"] / cost["iterations_s"]
        figures = (cost["wall_s"], cost["expectation"], cost["maximisation"], cost["cpu_s"])
        print(f"| {n} x {j} | " + " | ".join(f"{x:.1f}" for x in figures) + f" | {speed:.2f} |")


if __name__ == "__main__":
    main()
