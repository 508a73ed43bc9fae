"""How well 2D classes gather particles of one pose, for sets whose views are anywhere on the sphere, against the truth.

    python bench/peers/poses.py truth.star run_it025_data.star [other_data.star ...] --sym D7

A class with one pose Q predicts a particle's pose as its in-plane turn times Q, and its origin as the class's, turned.
Q is the member whose prediction is best for the others (medoid). view: angle of the directions, turn: about them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import files
import numpy as np
from scipy.spatial.transform import Rotation


def symmetry(name: str) -> np.ndarray:
    """(n, 3, 3) operators of Cn or Dn."""
    n = int(name[1:] or 1)
    turns = Rotation.from_euler("z", (360 / n * np.arange(n))[:, None], degrees=True).as_matrix()
    half = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    return np.concatenate([turns, turns @ half]) if name[0].upper() == "D" else turns


def euler_matrices(rot, tilt, psi) -> np.ndarray:
    """(n, 3, 3): reference to image coordinates."""
    return Rotation.from_euler("ZYZ", np.column_stack([rot, tilt, psi]), degrees=True).inv().as_matrix()


def class_errors(pose, operators):
    """Angle and view error of each member against the medoid of (n, 3, 3) poses; at most 60 members are tried as medoid."""
    tried = pose[np.linspace(0, len(pose) - 1, min(60, len(pose))).astype(int)]
    best = None
    for q in tried:
        copies = np.einsum("ij,ojk->oik", q, operators)
        cosine = (np.einsum("nij,oij->no", pose, copies) - 1) / 2
        nearest = cosine.argmax(1)
        angle = np.degrees(np.arccos(np.clip(cosine.max(1), -1, 1)))
        if best is None or np.median(angle) < np.median(best[0]):
            along = np.einsum("ni,ni->n", pose[:, 2], copies[nearest][:, 2])
            best = angle, np.degrees(np.arccos(np.clip(along, -1, 1)))
    return best


def judge(result, truth, operators) -> dict[str, float]:
    """Median errors over the particles of classes with at least 3 % of them."""
    name = lambda table: ["@".join((n.split("@")[0].lstrip("0"), Path(n.split("@")[-1]).name)) for n in table["rlnImageName"]]
    where = {n: i for i, n in enumerate(name(truth))}
    order = np.array([where[n] for n in name(result)])
    number = lambda table, label: np.asarray(table[label], float)
    true = euler_matrices(*(number(truth, f"rlnAngle{a}")[order] for a in ("Rot", "Tilt", "Psi")))
    turn = euler_matrices(0 * number(result, "rlnAnglePsi"), 0 * number(result, "rlnAnglePsi"), number(result, "rlnAnglePsi"))
    found = np.einsum("nji,njk->nik", turn, true)  # the class's pose, as each member tells it
    shift = lambda table: np.column_stack([number(table, f"rlnOrigin{a}Angst") for a in "XY"])
    offset = np.einsum("nji,nj->ni", turn[:, :2, :2], shift(truth)[order] - shift(result))  # in the class's frame
    classes = number(result, "rlnClassNumber").astype(int)
    errors = {"pose_deg": [], "view_deg": [], "shift_A": []}
    n_classes = 0
    for k in np.unique(classes):
        member = classes == k
        if member.sum() < 0.03 * len(classes):
            continue
        n_classes += 1
        angle, view = class_errors(found[member], operators)
        errors["pose_deg"].append(angle)
        errors["view_deg"].append(view)
        errors["shift_A"].append(np.hypot(*(offset[member] - np.median(offset[member], 0)).T))
    out = {key: float(np.median(np.concatenate(values))) for key, values in errors.items()}
    return out | {"classes": n_classes, "in them": float(sum(map(len, errors["pose_deg"])) / len(classes))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth")
    parser.add_argument("results", nargs="+")
    parser.add_argument("--sym", default="C1")
    o = parser.parse_args()
    truth = files.read_star(o.truth)["particles"]
    for path in o.results:
        found = judge(files.read_star(path)["particles"], truth, symmetry(o.sym))
        print(f"{path}  " + "  ".join(f"{key} {value:.2f}" for key, value in found.items()))


if __name__ == "__main__":
    main()
