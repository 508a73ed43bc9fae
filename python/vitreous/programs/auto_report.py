"""report.html of an automatic run, from its state and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.io.atomic import atomic_write
from vitreous.io.mrc import read_mrc
from vitreous.io.star import read_star
from vitreous.programs.auto_project import Record, State, shown
from vitreous.programs.auto_steps import Facts, Step

REPORT = "report.html"
CURVES = {
    "corrected": "rlnFourierShellCorrelationCorrected", "masked": "rlnFourierShellCorrelationMaskedMaps",
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
}  # fmt: skip
WEAK_A = 15.0  # a map of less detail than this has no secondary structure to be recognised by


def write_report(state: State, facts: Facts, steps: Sequence[Step]) -> Path:
    """Write the page into the project; matplotlib is imported only here."""
    from vitreous.report.auto import AutoRun, auto_report

    records = state.steps
    final = records.get("postprocess")
    frequencies, fsc = fsc_curves(final) if final is not None and final.done else (None, {})
    named = {step.name: step for step in steps}
    page = AutoRun(
        title=f"Automatic run: {Path().absolute().name}",
        facts=headline(facts),
        steps=[row(name, record, named.get(name)) for name, record in records.items()],
        averages={name: averages(record) for name, record in records.items() if is_2d_selection(name, record)},
        volume=read_mrc(facts["final_map"])[0] if "final_map" in facts else None,
        resolution_inv_A=frequencies,
        fsc=fsc,
        warnings=warnings_of(facts),
    )
    path = Path(REPORT)
    with atomic_write(path) as file:
        file.write(auto_report(page).encode())
    return path


def headline(facts: Facts) -> list[tuple[str, Any]]:
    """The large numbers: (what, value)."""
    found = [
        ("resolution, Å", "final_A"), ("point group", "symmetry"), ("particles", "n_particles"), ("diameter, Å", "diameter_A"),
        ("micrographs", "n_micrographs"),
    ]  # fmt: skip
    return [(name, facts[key]) for name, key in found if key in facts]


def warnings_of(facts: Facts) -> list[str]:
    """What a user should know before looking at the map."""
    found = []
    if facts.get("final_A", 0.0) > WEAK_A:
        found.append(
            f"The map has no detail finer than {facts['final_A']:.1f} Å: look at the classes that were chosen and at the first map, "
            "and give --sym and --particle_diameter where they are known."
        )
    if not facts["has_ctf"]:
        found.append("The particles have no CTF: the map is not corrected for it.")
    return found


def row(name: str, record: Record, step: Step | None) -> Any:
    """A step as the page shows it."""
    from vitreous.report.auto import StepRow

    flags = {} if step is None else {field: flag for flag, field in step.options.flags().items()}
    choices = [(flags.get(key, key), shown(record.options.get(key)), why) for key, why in record.reasons.items()]
    report = f"{record.folder}/{REPORT}"
    return StepRow(name, record.folder, record.said, record.seconds, choices, report if Path(report).exists() else "")


def is_2d_selection(name: str, record: Record) -> bool:
    return record.done and (Path(record.folder) / "class_averages.mrcs").exists()


def averages(record: Record) -> np.ndarray:
    """(n, box, box) class averages that a selection chose."""
    return read_mrc(f"{record.folder}/class_averages.mrcs")[0]


def fsc_curves(final: Record) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frequencies in 1/A and the curves of the post-processing."""
    block = read_star(f"{final.folder}/postprocess.star")["fsc"]
    return np.asarray(block["rlnResolution"], float), {
        name: np.asarray(block[label], float) for name, label in CURVES.items() if label in block
    }
