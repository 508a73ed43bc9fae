"""Picking side by side: relion_autopick and ours, same micrographs, same flags, same core, in one run.

    python bench/peers/autopick.py --work scratch --n 6 --runs 2 --json autopick.json

Runs alternate, and every program is bound to the same core or cores. The micrographs hold a built-in molecule in
noise; the page
cache is warm. Picks are compared with the truth and, with RELION's, with each other. Where RELION is absent ours runs
alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import machine
import numpy as np
from scipy.spatial import cKDTree

from vitreous.engine.phantom import make_phantom
from vitreous.engine.simulate import euler_matrix, view_directions
from vitreous.io.coordinates import read_coordinates
from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star

HERE = Path(__file__).parent
RELION = "relion_autopick"
PIXEL_A, DIAMETER_A, N_VIEWS, BIN = 1.06, 180.0, 10, 4
N_FILES = 2  # real micrographs; the others are links to them
COMMON = "--shrink 0 --lowpass 20"
TEMPLATE = f"--invert --ctf --ang 5 --angpix_ref {PIXEL_A * BIN} --particle_diameter 200 --threshold 0.2 --min_distance 120 {COMMON}"
CASES = {
    "LoG": f"--LoG --LoG_diam_min 140 --LoG_diam_max 200 --LoG_adjust_threshold 1.2 {COMMON}",
    "1 reference": f"--ref refs1.mrcs {TEMPLATE}",
    "4 references": f"--ref refs4.mrcs {TEMPLATE}",
    "10 references": f"--ref refs10.mrcs {TEMPLATE}",
}


def views(box: int, pixel_A: float) -> np.ndarray:
    """(N_VIEWS, box, box) float32 projections of the molecule, standard deviation 1 where they are not 0."""
    rot, tilt = view_directions(N_VIEWS)
    matrix = euler_matrix(rot, tilt, np.zeros(N_VIEWS))
    images = make_phantom(DIAMETER_A).projections(matrix, np.zeros((N_VIEWS, 2)), box, pixel_A)
    return (images / images[images > 0].std()).astype(np.float32)


def micrograph(rng, side: int, n: int, particles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image with dark particles in white noise, and their (n, 2) centres x, y."""
    box = particles.shape[-1]
    image = 3 * rng.standard_normal((side, side), np.float32)
    points = rng.uniform(box / 2 + 4, side - box / 2 - 4, (20 * n, 2)).astype(int)
    kept: list[np.ndarray] = []
    for point in points:
        if len(kept) < n and all(np.hypot(*(point - other)) > DIAMETER_A / PIXEL_A for other in kept):
            kept.append(point)
    for x, y in kept:
        part = np.rot90(particles[rng.integers(N_VIEWS)], rng.integers(4))
        image[y - box // 2 : y - box // 2 + box, x - box // 2 : x - box // 2 + box] -= part
    return image * 10 + 200, np.array(kept)


def make_project(folder: Path, n: int, side: int, particles: int) -> list[np.ndarray]:
    """Micrographs, their table and references; returns the centres of the particles of the real micrographs."""
    rng = np.random.default_rng(1)
    (folder / "M").mkdir(parents=True, exist_ok=True)
    images, truth = views(256, PIXEL_A), []
    names = [f"M/mic_{i:03d}.mrc" for i in range(n)]
    for i, name in enumerate(names):
        if i < N_FILES:
            image, points = micrograph(rng, side, particles, images)
            truth.append(points)
            write_mrc(folder / name, image, PIXEL_A, stack=False)
        elif not (folder / name).exists():
            (folder / name).symlink_to(f"mic_{i % N_FILES:03d}.mrc")
    small = views(64, PIXEL_A * BIN)
    x = np.arange(64) - 32
    small *= x[:, None] ** 2 + x**2 < 26**2
    for count in (1, 4, N_VIEWS):
        write_mrc(folder / f"refs{count}.mrcs", small[:count] * np.float32(0.25), PIXEL_A * BIN, stack=True)
    optics = {"rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0],
              "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnMicrographPixelSize": [PIXEL_A]}  # fmt: skip
    table = {"rlnMicrographName": names, "rlnOpticsGroup": [1] * n, "rlnDefocusU": [12000.0] * n,
             "rlnDefocusV": [11500.0] * n, "rlnDefocusAngle": [30.0] * n}  # fmt: skip
    write_star(folder / "mics.star", {"optics": optics, "micrographs": table})
    return truth


def measured(folder: Path, name: str, command: list[str]) -> dict:
    """wall_s, cpu_s, peak_MiB of one command."""
    words = [sys.executable, str(HERE / "measure.py"), f"{name}_cost.json", f"{name}.log", *command]
    subprocess.run(words, cwd=folder, check=True)
    return json.loads((folder / f"{name}_cost.json").read_text())


def found(folder: Path, name: str) -> list[np.ndarray]:
    """Picks (n, 2) of the real micrographs."""
    tables = [read_coordinates(folder / f"{name}/M/mic_{i:03d}_autopick.star") for i in range(N_FILES)]
    return [np.stack([t["rlnCoordinateX"], t["rlnCoordinateY"]], 1) for t in tables]


def quality(picks: list[np.ndarray], truth: list[np.ndarray]) -> dict:
    """Recall, precision, F1, and the median distance of right picks from their particle, A."""
    right = n_picks = n_truth = 0
    distances = []
    for here, there in zip(picks, truth):
        n_picks, n_truth = n_picks + len(here), n_truth + len(there)
        if len(here):
            distance, _ = cKDTree(here).query(there)
            good = distance * PIXEL_A < 0.25 * DIAMETER_A
            right, distances = right + int(good.sum()), distances + list(distance[good] * PIXEL_A)
    recall, precision = right / n_truth, right / max(n_picks, 1)
    f1 = 2 * recall * precision / max(recall + precision, 1e-9)
    return {
        "recall": recall,
        "precision": precision,
        "F1": f1,
        "error_A": float(np.median(distances)) if distances else None,
    }


def agreement(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Share of picks that both have at the same place, to 0.01 px."""
    both = sum(int((cKDTree(y).query(x)[0] < 0.01).sum()) for x, y in zip(a, b) if len(x) and len(y))
    return both / max(sum(max(len(x), len(y)) for x, y in zip(a, b)), 1)


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("autopick_bench"))
    parser.add_argument("--n", type=int, default=6, help="micrographs")
    parser.add_argument("--side", type=int, default=3840)
    parser.add_argument("--particles", type=int, default=150, help="of each micrograph")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument(
        "--cores", type=int, default=1, help="that all programs are bound to; relion_autopick has one thread"
    )
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is installed: modules are compiled once
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-o.cores :])
    truth = make_project(o.work, o.n, o.side, o.particles)
    programs = {"vitreous": [sys.executable, "-m", "vitreous", "autopick"]}
    if shutil.which(RELION):
        programs["relion"] = [RELION]
    else:
        print(f"{RELION} is not on PATH: ours runs alone (apt install relion)")
    result = {"card": machine.card(), "n": o.n, "side": o.side, "cores": o.cores, "rows": []}
    print(f"{o.n} micrographs of {o.side} px, {o.cores} core")
    print(
        f"{'case':<15}{'program':<10}{'wall s':>8}{'CPU s':>8}{'MiB':>7}{'recall':>8}{'prec.':>7}{'F1':>7}{'A':>6}{'CPU x':>7}"
    )
    for case in o.cases.split(","):
        costs: dict[str, list[dict]] = {name: [] for name in programs}
        for _ in range(o.runs):
            for name, command in programs.items():
                shutil.rmtree(o.work / name, ignore_errors=True)
                words = [*command, "--i", "mics.star", "--odir", f"{name}/", *CASES[case].split()]
                costs[name].append(measured(o.work, name, words))
        best = {
            name: {key: min(c[key] for c in found_) for key in ("wall_s", "cpu_s", "peak_MiB")}
            for name, found_ in costs.items()
        }
        for name in programs:
            row = {"case": case, "program": name, **best[name], **quality(found(o.work, name), truth)}
            ratio = best["relion"]["cpu_s"] / best[name]["cpu_s"] if "relion" in best else float("nan")
            result["rows"].append(row)
            print(f"{case:<15}{name:<10}{row['wall_s']:8.2f}{row['cpu_s']:8.2f}{row['peak_MiB']:7.0f}{row['recall']:8.3f}"
                  f"{row['precision']:7.3f}{row['F1']:7.3f}{row['error_A'] or 0:6.1f}{ratio:7.1f}", flush=True)  # fmt: skip
        if len(programs) == 2:
            result["rows"][-1]["same"] = agreement(found(o.work, "vitreous"), found(o.work, "relion"))
            print(f"{'':<15}picks at the same place: {100 * result['rows'][-1]['same']:.1f} %")
    if o.json:
        o.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
