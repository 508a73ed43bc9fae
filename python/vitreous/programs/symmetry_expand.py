"""Particles once per equivalent orientation of a point group or helix."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import model_validator

from vitreous.errors import InputError
from vitreous.io.particles import ANGSTROM_ORIGINS, EULER, PIXEL_ORIGINS
from vitreous.io.star import Block, StarFile, read_star, write_star
from vitreous.io.table import Table
from vitreous.job.progress import Progress
from vitreous.model.rotation import euler_to_matrix, wrap_deg
from vitreous.model.symmetry import Symmetry
from vitreous.programs.options import Common, ProgramOptions, again, option

BYTES_PER_VALUE = 12  # of the text that is written


class Options(ProgramOptions):
    """Symmetry expansion."""

    PROGRAM: ClassVar[str] = "symmetry-expand"
    SUMMARY: ClassVar[str] = "every particle once per equivalent orientation of a point group or helix"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous symmetry-expand --i run_data.star --o expanded.star --sym D7",
        "vitreous symmetry-expand --i run_data.star --o expanded.star --helix --twist -1.2 --rise 4.75 --asu 5",
    )

    particles: str | None = option(
        None, "particles with orientations", group="input", flag="i", metavar="STAR", unset="required"
    )
    output: str = option("expanded.star", "the expanded particles", group="output", flag="o", metavar="STAR")
    verb: int = again(Common, "verb")
    sym: str = option("C1", "point group: Cn, Dn, T, O, I1 to I4", group="basic")
    helix: bool = option(False, "expand along a helix", group="basic")
    twist: float = option(0.0, "rotation from one subunit to the next", group="basic", unit="deg")
    rise: float = option(0.0, "distance from one subunit to the next along the axis", group="basic", unit="A")
    asu: int = option(1, "subunits along the helix", group="basic", ge=1)
    frac_sampling: int = option(1, "samples within one rise, in place of --asu", group="basic", ge=1)
    frac_range: float = option(
        0.5, "part of the rise that --frac_sampling covers to either side", group="basic", gt=0, le=0.5
    )
    angpix: float = option(1.0, "pixel size, where origins are in pixels (RELION 3.0)", group="expert", unit="A", gt=0)
    ignore_optics: bool = option(False, "write the particles alone, as RELION 3.0 has them", group="expert")

    @model_validator(mode="after")
    def _check_together(self) -> Options:
        if not self.particles:
            raise ValueError("--i: found nothing, expected a STAR file of particles; give --i run_data.star")
        if self.helix and self.sym.upper() != "C1":
            raise ValueError("--helix: found together with --sym, expected one of them; expand twice, first by --helix")
        if self.asu > 1 and self.frac_sampling > 1:
            raise ValueError("--asu: found together with --frac_sampling, expected one of them; leave one out")
        for flag in ("asu", "frac_sampling"):
            if getattr(self, flag) > 1 and not self.helix:
                raise ValueError(
                    f"--{flag}: found without --helix, expected with it; add --helix, or leave --{flag} out"
                )
        return self


@dataclass(frozen=True)
class Result:
    """What was written."""

    path: Path
    n_particles: int
    n_copies: int


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Read, expand, write; ``be`` and ``comm`` are those of every program and not needed here."""
    star = read_star(options.particles)
    block = particle_block(options.particles, star)
    table = Table(options.particles, block)
    euler_deg = np.column_stack([table.numbers(label, 0.0) for label in EULER])
    if not np.isfinite(euler_deg).all():
        row, column = np.argwhere(~np.isfinite(euler_deg))[0]
        raise table.bad_value(EULER[column], int(row), "a number", "remove this particle")
    if options.helix:
        changed, n_copies = helical(options, table, euler_deg)
    else:
        symmetry = Symmetry.parse(options.sym)
        n_copies = symmetry.order
        changed = dict(zip(EULER, symmetry.expand(euler_deg).reshape(-1, 3).T))
    n = block.n_rows
    check_size(options, n, n_copies, len(block.columns))
    columns = {label: changed.get(label, np.repeat(column, n_copies)) for label, column in block.columns.items()}
    columns |= {label: column for label, column in changed.items() if label not in columns}
    blocks = [replace(block, columns=columns) if other is block else other for other in star.values()]
    if options.ignore_optics:
        blocks = [replace(block, columns=columns, name="", version=None)]
    path = Path(options.output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--o {path}: its folder cannot be made ({error.strerror}); give another --o") from None
    write_star(path, blocks, allow_nan=True)
    Progress(options.verb).line(f" {path}: {n} particles times {n_copies} are {n * n_copies}")
    return Result(path, n, n_copies)


def particle_block(path: str, star: StarFile) -> Block:
    """The table with orientations."""
    for block in star.values():
        if block.kind == "loop" and any(label in block for label in EULER) and "rlnImageName" in block:
            return block
    raise InputError(
        f"{path}: found no table with rlnImageName and rlnAngleRot, Tilt or Psi, expected particles with "
        "orientations; give the data.star of a 3D refinement"
    )


def heights(options: Options) -> np.ndarray:
    """(m,) steps along the helix, in rises."""
    if options.frac_sampling > 1:
        n = math.ceil(2 * options.frac_range * options.frac_sampling - 1e-9)
        return -options.frac_range + np.arange(n) / options.frac_sampling
    return np.arange(options.asu) - (options.asu - 1) // 2.0


def helical(options: Options, table: Table, euler_deg) -> tuple[dict[str, np.ndarray], int]:
    """Columns that change along a helix, and the number of copies.

    The subunit at height h stands h rises along the axis, turned by h twists: it is centred by moving the origin
    against the projection of the axis.
    """
    steps = heights(options)
    in_pixels = PIXEL_ORIGINS[0] in table and ANGSTROM_ORIGINS[0] not in table
    labels, unit_A = (PIXEL_ORIGINS, options.angpix) if in_pixels else (ANGSTROM_ORIGINS, 1.0)
    n_axes = 3 if labels[2] in table else 2
    origin = np.column_stack([table.numbers(label, 0.0) for label in labels[:n_axes]])
    axis = euler_to_matrix(euler_deg)[:, :n_axes, 2]
    moved = origin[:, None] - (options.rise / unit_A) * steps[:, None] * axis[:, None]
    rot_deg = wrap_deg(euler_deg[:, :1] - options.twist * steps)
    changed = dict(zip(labels, moved.reshape(-1, n_axes).T))
    changed |= {EULER[0]: rot_deg.ravel()} | {
        label: np.repeat(euler_deg[:, i], len(steps)) for i, label in enumerate(EULER) if i
    }
    return changed, len(steps)


def check_size(options: Options, n: int, n_copies: int, n_columns: int) -> None:
    """Refuse what would take more memory than there is."""
    from vitreous.job.memory import check_memory

    n_bytes = n * n_copies * n_columns * 8 + 20_000 * n_columns * BYTES_PER_VALUE
    check_memory({"expanded particles": n_bytes}, "select fewer particles first")
