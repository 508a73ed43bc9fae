"""3D refinement side by side: relion_refine_mpi and ours, same particles, same flags, as many threads, in one run.

    python bench/peers/refine3d.py --work scratch --n 2000 --json refine3d.json       auto-refinement to convergence
    python bench/peers/refine3d.py --work scratch --iteration --n 500       one global iteration at 7.5 degrees
    python bench/peers/refine3d.py --work scratch --sizes                   growth with particles, box, orientations; ours
    python bench/peers/refine3d.py --work scratch --judge scratch/set3d_... scratch/relion_...     an earlier run

Both start from the true map low-passed to --ini_high. Runs alternate, so that a slow minute hits both. Where RELION is
absent ours runs alone. RELION needs 0.16 CPU-seconds per particle for such an iteration at 64 px.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import files
import judge3d
import numpy as np
import pair
import poses
import simulate

# key, heading, format
COLUMNS = (*pair.COSTS, ("n_iterations", "iter", "5.0f"), ("resolution_A", "own A", "7.2f"),
           ("half_resolution_A", "halves A", "9.2f"), ("true_resolution_A", "true A", "7.2f"),
           ("angle_error_deg", "angle deg", "9.2f"), ("shift_error_A", "shift A", "8.2f"))  # fmt: skip
LEGEND = """own A: the program's own estimate. halves A: FSC = 0.143 of the two unfiltered half maps within a soft sphere.
true A: FSC = 0.5 of the map with the true one there. angle, shift: median error of the poses about the map's own turn
and shift. peak: of the largest process; RELION runs three, of which two hold a half-set each."""
# RELION is of the system's MPI, not of a wheel's beside this Python.
OF_SYSTEM = os.pathsep.join(p for p in os.get_exec_path() if Path(p) != Path(sys.executable).parent)
MPIRUN = [
    shutil.which("mpirun", path=OF_SYSTEM) or "mpirun", "-n", "3", "--allow-run-as-root", "--oversubscribe", "relion_refine_mpi"
]
OFF_AXIS_A = (48.0, 0.0, 22.0)  # where a random chain stands in a group of several, at 0.55 of its size
CHAIN_SCALE = 0.55


def flags(o, order: int | None = None) -> list[str]:
    """The flags that both programs get."""
    both = (f"--particle_diameter {o.diameter:g} --ini_high {o.ini_high:g} --sym {o.sym} --ctf --ctf_corrected_ref "
            "--zero_mask --flatten_solvent --norm --scale --pad 2 --skip_gridding --oversampling 1 "
            f"--healpix_order {o.order if order is None else order} --offset_range 5 --offset_step 2 --pool 30 "
            f"--random_seed {o.seed} --preread_images --dont_combine_weights_via_disc")
    if one_iteration(o):
        return f"{both} --K 1 --iter 1 --tau2_fudge 4 --j {o.j}".split()
    return f"{both} --auto_refine --split_random_halves --low_resol_join_halves 40".split()


def one_iteration(o) -> bool:
    return o.iteration or o.sizes


def programs(o) -> dict[str, list[str]]:
    """Name -> command of what is here to run; RELION's refinement has as many workers as ours has threads, two."""
    wanted = [name for name in o.only if name == "vitreous" or not (o.sizes or o.earlier)]
    if one_iteration(o):
        commands = {"vitreous": [*pair.OURS, "class3d"], "relion": ["relion_refine"]}
    else:
        commands = {"vitreous": [*pair.OURS, "refine3d"], "relion": MPIRUN}
    return pair.found(commands, wanted)


def threads(o, name: str) -> list[str]:
    if one_iteration(o):
        return []
    return ["--j", str(o.j if name == "vitreous" else max(o.j // 2, 1))]


def atoms(o) -> np.ndarray:
    """(n, 3) atoms of the molecule, with the symmetry; a PDB file is taken to have it."""
    if o.model:
        return simulate.read_atoms(o.model)
    chain, operators = simulate.chain_atoms(o.seed), poses.symmetry(o.sym)
    if len(operators) == 1:
        return chain
    return np.concatenate([(CHAIN_SCALE * chain + OFF_AXIS_A) @ r.T for r in operators])


def make_set(o, n: int, box: int) -> Path:
    """The folder of a simulated set with its map, made once per size, group and seed."""
    pixel_size_A = 256.0 / box  # one field of view whatever the box
    folder = o.work / f"set3d_{n}_{box}_{o.sym}_{o.snr:g}_{o.seed}"
    if not (folder / "truth.mrc").exists():
        finer = box / 64  # the same dose: the noise of a pixel grows as it shrinks
        images, truth = simulate.simulate(n, box, pixel_size_A, 0, o.snr / finer**2, o.shift_px * finer, o.diameter,
                                          o.seed, atoms(o))
        simulate.write_set(folder, box, pixel_size_A, images, truth)
        volume = simulate.density(atoms(o), box, pixel_size_A) * truth["amplitude"].mean()
        simulate.write_stack(folder / "truth.mrc", volume, pixel_size_A)
    return folder


def run_once(o, name: str, command: list[str], particles: Path, i_run: int, order: int) -> dict:
    """Run one program in the set's folder; its cost and quality."""
    case = f"order{order}" if one_iteration(o) else "auto"
    out = pair.new_folder(o.work / f"{name}_{particles.name}_{case}_run{i_run}")
    words = ["--i", "particles.star", "--ref", "truth.mrc", "--o", str(out / "run"), *flags(o, order), *threads(o, name)]
    figures = pair.measured(name, [*command, *words], particles, out)
    return {"program": name, **figures, **quality(o, particles, out)}


def earlier_run(o, particles: Path) -> dict:
    """What an earlier run of RELION cost (cost.json in its folder) and how good it was."""
    figures = json.loads((o.earlier / "cost.json").read_text())
    figures.pop("rc", None)
    return {"program": "relion", **figures, **quality(o, particles, o.earlier)}


def quality(o, particles: Path, out: Path) -> dict:
    """Figures of a run, final files or else those of the last iteration: the program's own, and the judge's."""
    last = max(int(path.name[6:9]) for path in out.glob("run_it???_data.star"))
    converged = (out / "run_class001.mrc").exists()
    root = out / ("run" if converged else f"run_it{last:03d}")
    halves = "" if Path(f"{root}_model.star").exists() else "half1_"
    general = files.read_star(Path(f"{root}_{halves}model.star"))["model_general"]
    tables = files.read_star(particles / "truth.star")
    pixel_size_A, truth = float(tables["optics"]["rlnImagePixelSize"][0]), tables["particles"]
    found = files.read_star(Path(f"{root}_data.star"))["particles"]
    row_of = {name.lstrip("0"): i for i, name in enumerate(truth["rlnImageName"])}
    row = np.array([row_of[name.lstrip("0")] for name in found["rlnImageName"]])
    columns = lambda t, labels: np.stack([files.numbers(t, label) for label in labels], 1)
    angles, origins = [f"rlnAngle{a}" for a in ("Rot", "Tilt", "Psi")], [f"rlnOrigin{a}Angst" for a in "XY"]
    angle_deg, shift_A, turn, shift = judge3d.pose_errors(
        columns(found, angles), columns(truth, angles)[row], columns(found, origins), columns(truth, origins)[row],
        poses.symmetry(o.sym))
    volume = files.read_stack(Path(f"{root}_{halves}class001.mrc"))
    pair_of_maps = [out / f"run_half{h}_class001_unfil.mrc" for h in (1, 2)]
    return {"n_iterations": last, "resolution_A": float(general["rlnCurrentResolution"][0]),
            "half_resolution_A": judge3d.half_map_resolution_A(*map(files.read_stack, pair_of_maps), pixel_size_A,
                                                               o.diameter) if converged else float("nan"),
            "true_resolution_A": judge3d.true_resolution_A(volume, atoms(o), turn, shift, pixel_size_A, o.diameter),
            "angle_error_deg": float(np.median(angle_deg)), "shift_error_A": float(np.median(shift_A))}


def cases(o) -> list[tuple[int, int, int]]:
    """Particles, box, order of each."""
    if not o.sizes:
        return [(o.n, o.box, o.order)]
    return [(o.n, 64, 2), (4 * o.n, 64, 2), (o.n, 128, 2), (o.n, 64, 3)]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, outside the repository")
    parser.add_argument("--iteration", action="store_true", help="one global iteration in place of a refinement")
    parser.add_argument("--sizes", action="store_true", help="ours, one iteration: n and 4 n, 64 and 128 px, order 2, 3")
    parser.add_argument("--runs", type=int, default=1, help="alternated runs of each program")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--sym", default="C1", help="Cn or Dn")
    parser.add_argument("--snr", type=float, default=0.1, help="per pixel, at a box of 64; same dose at others")
    parser.add_argument("--shift_px", type=float, default=2.0, help="at a box of 64")
    parser.add_argument("--model", type=Path, help="PDB file to simulate; without it a random chain")
    parser.add_argument("--order", type=int, default=2, help="first HEALPix order; with oversampling 1, 2 is 7.5 degrees")
    parser.add_argument("--ini_high", type=float, default=40.0)
    parser.add_argument("--diameter", type=float, default=220.0)
    parser.add_argument("--j", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["relion", "vitreous"], choices=["relion", "vitreous"])
    parser.add_argument("--earlier", type=Path, help="folder of an earlier RELION run, which is not run again")
    parser.add_argument("--judge", nargs=2, type=Path, metavar=("SET", "RUN"), help="judge an earlier run")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments=None) -> None:
    o = parse(arguments)
    o.work = o.work.resolve()
    if o.judge:
        print(json.dumps(quality(o, *o.judge), indent=1))
        return
    here, runs = programs(o), []
    for n, box, order in cases(o):
        particles, size = make_set(o, n, box), f"{n}x{box} order {order}"
        for i_run in range(o.runs):
            for name, command in here.items():
                runs.append({"size": size, **run_once(o, name, command, particles, i_run, order)})
                print(f"{name} {size} run {i_run + 1}: {runs[-1]['wall_s']:.1f} s", file=sys.stderr, flush=True)
        if o.earlier and not o.sizes:
            runs.append({"size": size, **earlier_run(o, particles)})
    pair.tell(runs, COLUMNS, flags(o), LEGEND, o.json)


if __name__ == "__main__":
    main()
