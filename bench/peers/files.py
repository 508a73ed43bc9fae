"""The few readers that the peers' judge needs, apart from vitreous's own, which are among what is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_star(path: Path) -> dict[str, dict[str, list[str]]]:
    """Blocks of a STAR file: block -> label -> values as text. A list block has one value per label."""
    blocks: dict[str, dict[str, list[str]]] = {}
    labels: list[str] = []
    block: dict[str, list[str]] = {}
    for line in Path(path).read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("data_"):
            block = blocks.setdefault(words[0][5:], {})
            labels = []
        elif words[0] == "loop_":
            labels = []
        elif words[0].startswith("_"):
            label = words[0][1:]
            labels.append(label)
            block[label] = words[1:2] if len(words) > 1 and not words[1].startswith("#") else []
        else:
            for label, word in zip(labels, words):
                block[label].append(word)
    return blocks


def numbers(table: dict[str, list[str]], label: str) -> np.ndarray:
    """A column as float64."""
    if label not in table:
        raise SystemExit(f"column {label} is missing; there are {', '.join(table)}")
    return np.array(table[label], float)


def read_stack(path: Path) -> np.ndarray:
    """Sections of an uncompressed little-endian MRC stack, as float32 (n, ny, nx)."""
    raw = Path(path).read_bytes()
    nx, ny, n, mode = np.frombuffer(raw, "<i4", 4)
    dtype = {2: "<f4", 12: "<f2"}[int(mode)]
    start = 1024 + int(np.frombuffer(raw, "<i4", 1, 92)[0])
    return np.frombuffer(raw, dtype, int(n) * int(ny) * int(nx), start).reshape(n, ny, nx).astype(np.float32)


def class_table(model_star: Path):
    """Class averages of a run with their share of the particles and estimated resolution.

    Returns
    -------
    averages : (n_classes, box, box) float32
    share : (n_classes,) float64
    resolution_A : (n_classes,) float64
    """
    table = read_star(model_star)["model_classes"]
    stack = Path(table["rlnReferenceImage"][0].split("@")[-1])
    # The name in the file is relative to where the program ran; the stack always lies beside the model.
    averages = read_stack(Path(model_star).parent / stack.name)
    sections = [int(name.split("@")[0]) - 1 for name in table["rlnReferenceImage"]]
    return averages[sections], numbers(table, "rlnClassDistribution"), numbers(table, "rlnEstimatedResolution")
