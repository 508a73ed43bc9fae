"""star-handler beside relion_star_handler on one large table: python bench/peers/star_handler.py --rows 1000000

Each operation runs with both programs in turn, one after the other; costs are of whole processes. Where the outputs are
the same bytes this is said. RELION compares every row with every other for --compare, which is left out here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import card

from vitreous.io.star import write_star

OPERATIONS = {
    "rewrite": "--i {star} --o {out}",
    "select": "--i {star} --o {out} --select rlnDefocusU --minval 50",
    "select_by_str": "--i {star} --o {out} --select_by_str rlnMicrographName --select_include mic_0001",
    "center": "--i {star} --o {out} --center --center_Z 10",
    "split": "--i {star} --o {out} --split --nr_split 4",
    "remove_duplicates": "--i {star} --o {out} --remove_duplicates 100",
}
FLOATS = ("DefocusU", "DefocusV", "DefocusAngle", "CtfBfactor", "CtfScalefactor", "PhaseShift", "AngleRot", "AngleTilt",
          "AnglePsi", "OriginXAngst", "OriginYAngst", "NormCorrection", "LogLikeliContribution",
          "MaxValueProbDistribution")  # fmt: skip


def make_table(path: Path, n: int) -> None:
    """Particles with the columns of a refinement, about 200 in each micrograph."""
    rng = np.random.default_rng(0)
    micrograph = np.sort(rng.integers(0, max(n // 200, 1), n))
    names = [f"mic_{i:05d}" for i in micrograph.tolist()]
    columns = {
        "rlnCoordinateX": rng.uniform(0, 4000, n),
        "rlnCoordinateY": rng.uniform(0, 4000, n),
        "rlnImageName": np.array([f"{i + 1:06d}@Extract/job007/Movies/{m}.mrcs" for i, m in enumerate(names)], object),
        "rlnMicrographName": np.array([f"MotionCorr/job002/Movies/{m}.mrc" for m in names], object),
        "rlnOpticsGroup": np.ones(n, int),
        "rlnClassNumber": rng.integers(1, 51, n),
        "rlnNrOfSignificantSamples": rng.integers(1, 99, n),
    }
    columns |= {f"rln{label}": rng.uniform(1, 100, n) for label in FLOATS}
    optics = {
        "rlnOpticsGroup": np.array([1]), "rlnOpticsGroupName": np.array(["og"], object),
        "rlnImagePixelSize": np.array([2.0]),
        "rlnImageSize": np.array([64]), "rlnImageDimensionality": np.array([2]), "rlnVoltage": np.array([300.0]),
        "rlnSphericalAberration": np.array([2.7]), "rlnAmplitudeContrast": np.array([0.1]),
    }  # fmt: skip
    write_star(path, {"optics": optics, "particles": columns})


def cost(folder: Path, command: list[str]) -> dict:
    """CPU and wall time, s, and peak memory, MiB, of a command."""
    measure = Path(__file__).with_name("measure.py")
    subprocess.run([sys.executable, measure, folder / "cost.json", folder / "log.txt", *command], check=True)
    return json.loads((folder / "cost.json").read_text())


def compare(folder: Path, name: str, star: Path) -> dict:
    """Costs of one operation with both programs, and whether they wrote the same."""
    found, content = {}, {}
    for who, program in (("relion", ["relion_star_handler"]), ("vitreous", ["vitreous", "star-handler"])):
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        words = OPERATIONS[name].format(star=star, out=out / "o.star").split()
        found[who] = cost(folder, [*program, *words])
        content[who] = {path.name: path.read_bytes() for path in out.iterdir() if path.name.startswith("o")}
    found["same_bytes"] = content["relion"] == content["vitreous"]
    found["cpu_ratio"] = found["relion"]["cpu_s"] / found["vitreous"]["cpu_s"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("star_handler_bench"))
    parser.add_argument("--out", type=Path, default=Path("star_handler.json"))
    parser.add_argument("--only", nargs="*", default=list(OPERATIONS), choices=list(OPERATIONS))
    options = parser.parse_args()
    if shutil.which("relion_star_handler") is None:
        print("relion_star_handler is not installed", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    star = options.folder / "big.star"
    make_table(star, options.rows)
    result = {"machine": card(), "rows": options.rows, "columns": 21, "MiB": star.stat().st_size / 2**20}
    for name in options.only:
        result[name] = compare(options.folder, name, star)
        row = result[name]
        print(
            f"{name:20} RELION {row['relion']['cpu_s']:6.1f} s  vitreous {row['vitreous']['cpu_s']:6.1f} s  "
            f"x{row['cpu_ratio']:.1f}  same bytes: {row['same_bytes']}",
            flush=True,
        )
    options.out.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
