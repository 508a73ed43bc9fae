"""Which point group a map has: the axes of all groups are looked for, and what their copies agree in is compared.

A map with a group has all its subgroups, and of its supergroups some copies agree. So a group counts where its weakest
copy agrees about as well as those of its subgroups do, and the largest such group is the map's.
Source: docs/equations.md#align-symmetry
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vitreous.engine.align_symmetry import (
    LEAST_AGREEMENT,
    Alignment,
    AngularPower,
    WorkingMap,
    candidates,
    describe,
    find,
    nearest_to_input,
    prepare,
)
from vitreous.model.symmetry import Symmetry

# Axes whose weakest copy agrees less than this before they are refined are given up, and groups that need them.
LEAST_PROMISE = 0.2
# How much more a copy may disagree than those of a subgroup: twice, as there are more copies to take the least of, and
# this much, the spread of the least among equals in maps with noise.
MORE_LOSS, SPREAD = 2.0, 0.05
# Cyclic groups whose axes a polyhedral group needs.
NEEDS = {"T": ("C2", "C3"), "O": ("C3", "C4"), "I2": ("C3", "C5")}
POLYHEDRAL_PARTS = {
    "T": {"C2", "C3", "D2"},
    "O": {"C2", "C3", "C4", "D2", "D3", "D4", "T"},
    "I2": {"C2", "C3", "C5", "D2", "D3", "D5", "T"},
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A group that was looked for; ``supported``: its copies agree as well as those of its subgroups do."""

    alignment: Alignment
    supported: bool

    @property
    def name(self) -> str:
        return self.alignment.symmetry


@dataclass(frozen=True, eq=False)
class Detection:
    """All groups that were looked for, the best first; ``symmetry`` is the map's, C1 where none is supported."""

    symmetry: str
    candidates: tuple[Candidate, ...]


def detect(
    volume: np.ndarray,
    pixel_size_A: float,
    *,
    box_size: int = 64,
    limit_A: float | None = None,
    keep_centre: bool = False,
    most_fold: int = 12,
) -> Detection:
    """The point group of a map.

    Parameters
    ----------
    volume, pixel_size_A, box_size, limit_A, keep_centre : as of ``align_symmetry.align``
    most_fold : axes of a higher order are not looked for

    Raises  ValueError: the map is no cube, or constant.
    """
    working = prepare(volume, pixel_size_A, box_size, limit_A, keep_centre)
    cyclic = [Symmetry(f"C{n}") for n in range(2, most_fold + 1)]
    # the best axis of all gives the centre, by which the others are then found
    power = AngularPower(working)
    promise = {group.name: promise_of(power, group) for group in cyclic}
    first = find(working, Symmetry(max(promise, key=promise.get)), keep_centre)
    if first.weakest > LEAST_AGREEMENT:
        working = replace(working, centre_px=-first.shift_A / working.pixel_size_A)
    found = {group.name: look_for(working, group, keep_centre) for group in cyclic}
    axes = {name for name, alignment in found.items() if alignment.weakest > LEAST_PROMISE}
    groups = [Symmetry(f"D{n}") for n in range(2, most_fold + 1) if {"C2", f"C{n}"} <= axes]
    groups += [Symmetry(name) for name, needed in NEEDS.items() if set(needed) <= axes]
    found |= {group.name: look_for(working, group, keep_centre) for group in groups}
    return judged(found)


def promise_of(power: AngularPower, group: Symmetry) -> float:
    """Agreement of the weakest copy in the best orientation of a search."""
    return power.weakest(group, candidates(power, group, False)[0])


def look_for(working: WorkingMap, group: Symmetry, keep_centre: bool) -> Alignment:
    """A group's best orientation, refined where that may help."""
    power = AngularPower(working)
    start = candidates(power, group, False)[0]
    if power.weakest(group, start) < LEAST_PROMISE:
        return describe(working, group, nearest_to_input(group, start))
    return find(working, group, keep_centre)


def judged(found: dict[str, Alignment]) -> Detection:
    """Of groups with their alignments, those that the map supports, and the largest of them."""
    supported = {name for name in found if is_supported(name, found)}
    rows = [Candidate(alignment, name in supported) for name, alignment in found.items()]
    rows.sort(key=lambda row: (not row.supported, -Symmetry(row.name).order * row.supported, -row.alignment.weakest))
    return Detection(rows[0].name if supported else "C1", tuple(rows))


def is_supported(name: str, found: dict[str, Alignment]) -> bool:
    """Whether a group's weakest copy agrees, and not much less than those of every subgroup."""
    weakest = found[name].weakest
    loss_of_parts = min((1 - found[part].weakest for part in found if is_part(part, name)), default=1.0)
    return weakest >= LEAST_AGREEMENT and 1 - weakest <= MORE_LOSS * loss_of_parts + SPREAD


def is_part(part: str, whole: str) -> bool:
    """Whether a group is a proper subgroup of another, C1 apart."""
    if part == whole or (whole[0] == "C" and part[0] != "C"):
        return False
    if whole in POLYHEDRAL_PARTS:
        return part in POLYHEDRAL_PARTS[whole]
    if part in POLYHEDRAL_PARTS:
        return False
    n_part, n_whole = int(part[1:]), int(whole[1:])
    return n_whole % n_part == 0 or (part == "C2" and whole[0] == "D")
