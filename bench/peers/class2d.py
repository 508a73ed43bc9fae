"""2D classification side by side: relion_refine and ours, same particles, same flags, same threads, in one run.

    python bench/peers/class2d.py --work scratch --runs 3 --json class2d.json
    python bench/peers/class2d.py --work scratch --only vitreous gradient --n 10000     ours beside ours with --grad
    python bench/peers/class2d.py --work scratch --sizes         growth with box and number of particles, ours only
    python bench/peers/class2d.py --work scratch --judge scratch/set_... scratch/relion_...     an earlier run's quality

Runs alternate, so that a slow minute of the machine hits both. Where RELION is absent this is said and ours runs alone.
Cost is of the whole program as the system counts it; quality is judged from the files it wrote (judge.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import files
import judge
import numpy as np
import pair
import simulate

from vitreous.engine.judge import pose_errors, purity

RELION = "relion_refine"
# key, heading, format
COLUMNS = (*pair.COSTS, ("resolution_A", "best A", "8.2f"), ("true_resolution_A", "true A", "8.2f"), ("purity", "purity", "7.3f"),
           ("n_classes", "classes", "7.0f"), ("n_views", "views", "6.0f"),
           ("angle_error_deg", "angle deg", "9.2f"), ("shift_error_A", "shift A", "8.2f"))  # fmt: skip
LEGEND = """best A: the program's own estimate for its best class of at least 3 %. true A: median over those classes of
FRC = 0.5 with the true projection. purity: share of particles whose view is their class's main one. classes: those of
at least 3 %. views: true views that are the main one of such a class. angle, shift: median error within a class and
view."""


def flags(o) -> list[str]:
    """The flags that all programs get."""
    return (f"--K {o.K} --tau2_fudge 2 --particle_diameter {o.diameter:g} --ctf --zero_mask "
            "--psi_step 12 --offset_range 5 --offset_step 2 --oversampling 1 --flatten_solvent --norm --scale --pad 2 "
            f"--pool 30 --j {o.j} --random_seed {o.seed} --preread_images --dont_combine_weights_via_disc").split()


def own_flags(o, name: str) -> list[str]:
    """The flags of one program; of the gradient those of RELION's GUI."""
    gradient = "--grad --class_inactivity_threshold 0.1 --grad_write_iter 10" if name == "gradient" else ""
    return f"--iter {n_iterations(o, name)} {gradient}".split()


def n_iterations(o, name: str) -> int:
    return o.grad_iter if name == "gradient" else o.iter


def programs(o) -> dict[str, list[str]]:
    """Name -> command of what is here to run."""
    wanted = [name for name in o.only if name != "relion" or not (o.sizes or o.earlier)]
    return pair.found({"vitreous": [*pair.OURS, "class2d"], "gradient": [*pair.OURS, "class2d"], "relion": [RELION]}, wanted)


def make_set(o, n: int, box: int) -> Path:
    """The folder of a simulated set, made once per size and seed."""
    pixel_size_A = 256.0 / box  # one field of view whatever the box
    folder = o.work / f"set_{n}_{box}_{o.views}views_{o.snr:g}_{o.seed}"
    if not (folder / "truth.star").exists():
        finer = box / 64  # the same dose: the noise of a pixel grows as it shrinks
        images, truth = simulate.simulate(n, box, pixel_size_A, o.views, o.snr / finer**2, o.shift_px * finer,
                                          o.diameter, o.seed, atoms(o))
        simulate.write_set(folder, box, pixel_size_A, images, truth)
    return folder


def atoms(o) -> np.ndarray:
    return simulate.read_atoms(o.model) if o.model else simulate.chain_atoms(o.seed)


def run_once(o, name: str, command: list[str], particles: Path, i_run: int) -> dict:
    """Run one program in the set's folder; its cost and quality."""
    out = pair.new_folder(o.work / f"{name}_{particles.name}_K{o.K}_seed{o.seed}_run{i_run}")
    star = o.i.name if o.i else "particles.star"
    figures = pair.measured(name, [*command, "--i", star, "--o", str(out / "run"), *flags(o), *own_flags(o, name)], particles, out)
    return {"program": name, **figures, **quality(o, particles, out, n_iterations(o, name))}


def earlier_run(o, particles: Path) -> dict:
    """What an earlier run of RELION cost (cost.json in its folder) and how good it was."""
    figures = json.loads((o.earlier / "cost.json").read_text())
    figures.pop("rc", None)
    return {"program": "relion", **figures, **quality(o, particles, o.earlier, o.iter)}


def quality(o, particles: Path, out: Path, iteration: int) -> dict:
    """Figures of the last iteration of a run: the program's own, and the judge's where there is a truth (else NaN)."""
    averages, share, estimated_A = files.class_table(out / f"run_it{iteration:03d}_model.star")
    occupied = np.flatnonzero(share >= judge.MIN_SHARE)
    own = {"resolution_A": float(estimated_A[occupied].min()), "n_classes": len(occupied)}
    judged = {} if o.i else against_truth(o, particles, out, iteration, averages, share, occupied)
    return {**{key: float("nan") for key, _, _ in COLUMNS[len(pair.COSTS) :]}, **own, **judged}


def against_truth(o, particles: Path, out: Path, iteration: int, averages, share, occupied) -> dict:
    """The judge's figures for the last iteration of a run on a simulated set."""
    tables = files.read_star(particles / "truth.star")
    truth, pixel_size_A = tables["particles"], float(tables["optics"]["rlnImagePixelSize"][0])
    found = files.read_star(out / f"run_it{iteration:03d}_data.star")["particles"]
    row_of = {name.lstrip("0"): i for i, name in enumerate(truth["rlnImageName"])}
    row = np.array([row_of[name.lstrip("0")] for name in found["rlnImageName"]])
    view = files.numbers(truth, "rlnClassNumber").astype(int)[row]
    class_number = files.numbers(found, "rlnClassNumber").astype(int)
    origin, true_origin = (np.stack([files.numbers(t, f"rlnOrigin{a}Angst") for a in "XY"], 1) for t in (found, truth))
    angle_deg, shift_A, turn = pose_errors(class_number, view, files.numbers(found, "rlnAnglePsi"),
                                           files.numbers(truth, "rlnAnglePsi")[row], origin, true_origin[row])
    true_A = judge.true_resolutions(averages, share, class_number, view, turn, o.views, atoms(o), pixel_size_A,
                                    o.diameter)
    members = [view[class_number == i + 1] for i in occupied]
    main_views = {int(np.bincount(m).argmax()) for m in members if len(m)}
    return {"true_resolution_A": float(np.median(true_A)), "purity": purity(class_number, view),
            "n_views": len(main_views), "angle_error_deg": float(np.median(angle_deg)),
            "shift_error_A": float(np.median(shift_A))}


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, outside the repository")
    parser.add_argument("--runs", type=int, default=1, help="alternated runs of each program")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--snr", type=float, default=0.1, help="per pixel, at a box of 64; same dose at others")
    parser.add_argument("--shift_px", type=float, default=2.0, help="at a box of 64")
    parser.add_argument("--model", type=Path, help="PDB file to simulate; without it a random chain")
    parser.add_argument("--K", type=int, default=20)
    parser.add_argument("--iter", type=int, default=25)
    parser.add_argument("--grad_iter", type=int, default=200, help="iterations of the gradient")
    parser.add_argument("--diameter", type=float, default=220.0)
    parser.add_argument("--j", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["relion", "vitreous"], choices=["relion", "vitreous", "gradient"])
    parser.add_argument("--sizes", action="store_true", help="ours at 64 and 128 px, n and 4 n particles")
    parser.add_argument("--i", type=Path, help="STAR file of real particles in place of a simulated set: no truth")
    parser.add_argument("--set", type=Path, help="folder of a simulated set to use in place of a new one")
    parser.add_argument("--earlier", type=Path, help="folder of an earlier RELION run, which is not run again")
    parser.add_argument("--judge", nargs=2, type=Path, metavar=("SET", "RUN"), help="judge an earlier run")
    parser.add_argument("--json", type=Path)
    o = parser.parse_args(arguments)
    o.work = o.work.resolve()
    if o.judge:
        print(json.dumps(quality(o, *o.judge, o.iter), indent=1))
        return
    found, runs = programs(o), []
    sizes = [(o.n, 64), (4 * o.n, 64), (o.n, 128), (4 * o.n, 128)] if o.sizes else [(o.n, o.box)]
    for n, box in sizes:
        particles = o.i.resolve().parent if o.i else o.set.resolve() if o.set else make_set(o, n, box)
        size = particles.name if o.i or o.set else f"{n}x{box}"
        for i_run in range(o.runs):
            for name, command in found.items():
                runs.append({"size": size, **run_once(o, name, command, particles, i_run)})
                print(f"{name} {size} run {i_run + 1}: {runs[-1]['wall_s']:.1f} s", file=sys.stderr, flush=True)
    if o.earlier and not o.sizes:
        runs.append({"size": size, **earlier_run(o, particles)})
    pair.tell(runs, COLUMNS, flags(o), LEGEND, o.json)


if __name__ == "__main__":
    main()
