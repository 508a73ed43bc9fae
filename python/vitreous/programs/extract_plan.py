"""What is to be extracted from each micrograph: positions, table rows and CTF, from picks or from refined particles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import extract as engine
from vitreous.errors import InputError
from vitreous.io import extracted
from vitreous.io.coordinates import post_path
from vitreous.io.extracted import Columns, Refined
from vitreous.io.micrographs import (
    Micrographs,
    coordinate_files,
    ctf_parameters,
    listed_coordinate_files,
    read_micrographs,
    read_positions,
)
from vitreous.io.table import Table, exists
from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import euler_to_matrix
from vitreous.programs.extract_options import Options


@dataclass(frozen=True, eq=False)
class Task:
    """One micrograph.

    Attributes
    ----------
    i : row in the table of micrographs
    name : of the micrograph
    stem : path of the outputs without ``.mrcs`` and ``_extract.star``
    source : coordinate file; empty for refined particles
    rows : rows of the refined particles
    """

    i: int
    name: str
    stem: Path
    source: str = ""
    rows: np.ndarray | None = None

    @property
    def stack(self) -> Path:
        return Path(f"{self.stem}.mrcs")

    @property
    def star(self) -> Path:
        return Path(f"{self.stem}_extract.star")


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the boxes of a micrograph are, and how to make their table.

    Attributes
    ----------
    centre_px : (n, 2) int64
    columns : function of the rows that were kept and their image names
    ctf : (1 or n, 9) float64, optics : where boxes are multiplied by their CTF
    psi_deg : (n,) prior of helical segments
    notes : what the user should know
    """

    centre_px: np.ndarray
    columns: Callable[[np.ndarray, list[str]], Columns]
    ctf: np.ndarray | None = None
    optics: OpticsGroup | None = None
    psi_deg: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """The whole run: its tasks, and the micrographs left out before the start with the reason."""

    options: Options
    micrographs: Micrographs
    tasks: list[Task]
    left_out: list[tuple[str, str]]
    refined: Refined | None = None
    groups: tuple[OpticsGroup | None, ...] = ()  # of the micrographs, for each group of the refined particles
    notes: tuple[str, ...] = ()

    def micrograph_pixel_A(self, task: Task) -> float:
        """Pixel size of the micrograph of a task."""
        if self.refined is None or task.rows is None or not len(task.rows):
            return self.micrographs.pixel_size_A(task.i)
        found = self.groups[int(self.refined.group[task.rows[0]])]
        return found.pixel_size_A if found is not None else self.micrographs.pixel_size_A(task.i)

    def positions(self, task: Task, shape: tuple[int, int]) -> Positions:
        """Boxes of a micrograph of that shape; raises InputError where its coordinates cannot be used."""
        if self.refined is not None:
            return refined_positions(self, task)
        return picked_positions(self, task, shape)


def make_plan(options: Options) -> Plan:
    """Read the tables that a run begins with."""
    need_ctf = bool(options.recipe().multiply) and not (
        options.reextract_data_star and not options.keep_ctfs_micrographs
    )
    micrographs = read_micrographs(options.micrographs, options.set_angpix, need_ctf)
    stems = [Path(options.output) / Path(post_path(name)).with_suffix("") for name in micrographs.names]
    _refuse_one_output(micrographs, stems)
    if options.reextract_data_star:
        return _refined_plan(options, micrographs, stems)
    if options.coord_list:
        files = listed_coordinate_files(micrographs.names, options.coord_list)
    else:
        files = coordinate_files(micrographs.names, options.coord_suffix, options.coord_dir)
    tasks, left_out = [], []
    for i, (name, stem, file) in enumerate(zip(micrographs.names, stems, files)):
        if file is not None and exists(file):
            tasks.append(Task(i, name, stem, file))
        else:
            left_out.append((name, f"no coordinates ({file or options.coord_list})"))
    if not tasks:
        first = files[0] or f"a row for it in {options.coord_list}"
        raise InputError(
            f"{options.micrographs}: none of {len(micrographs)} micrographs has coordinates, expected "
            f"e.g. {first}; "
            "check --coord_dir and --coord_suffix, or --coord_list"
        )
    return Plan(options, micrographs, tasks, left_out)


def _refuse_one_output(micrographs: Micrographs, stems: list[Path]) -> None:
    seen: dict[Path, int] = {}
    for i, stem in enumerate(stems):
        k = seen.setdefault(stem, i)
        if k != i:
            where = micrographs.table.where(i)
            raise InputError(
                f"{where}: {micrographs.names[i]} and {micrographs.names[k]} would both be written to "
                f"{stem}.mrcs, "
                "expected different names behind the job's folder; extract them in two runs"
            )


def _refined_plan(options: Options, micrographs: Micrographs, stems: list[Path]) -> Plan:
    refined = extracted.read_refined(options.reextract_data_star)
    groups = extracted.group_for(refined, micrographs)
    used = np.unique(refined.group)
    missing = [refined.groups[k].name for k in used if groups[k] is None]
    if missing:
        names = ", ".join(group.name for group in micrographs.groups)
        raise InputError(
            f"{refined.path}: its optics group {missing[0]} is not in {micrographs.path}, expected one "
            f"of {names}; "
            "give the micrographs that these particles came from"
        )
    rows, n_lost, loose = extracted.rows_by_micrograph(refined, micrographs.names)
    notes = []
    if n_lost:
        notes.append(
            f"{refined.path}: {n_lost} of {len(refined.table)} particles are on none of the micrographs of "
            f"{micrographs.path} and are left out"
        )
    if loose:
        notes.append(
            f"{refined.path}: {len(loose)} names, such as {loose[0]}, were matched to a micrograph that they contain"
        )
    tasks = [
        Task(i, name, stem, rows=r) for i, (name, stem, r) in enumerate(zip(micrographs.names, stems, rows)) if len(r)
    ]
    if not tasks:
        raise InputError(
            f"{refined.path}: none of its micrographs is in {micrographs.path}, expected the same names "
            "behind the "
            f"job's folder, e.g. {post_path(refined.table.strings('rlnMicrographName')[0])}; give those "
            "micrographs"
        )
    left_out = [(name, "no refined particles") for name, r in zip(micrographs.names, rows) if not len(r)]
    return Plan(options, micrographs, tasks, left_out, refined, tuple(groups), tuple(notes))


def picked_positions(plan: Plan, task: Task, shape: tuple[int, int]) -> Positions:
    """Boxes at the picks of a coordinate file."""
    options, micrographs = plan.options, plan.micrographs
    columns = read_positions(task.source)
    pixel_A = micrographs.pixel_size_A(task.i)
    if options.helix and options.helical_tubes:
        columns = _tube_columns(options, columns, shape, pixel_A, task.source)
    xy = np.column_stack([columns["rlnCoordinateX"], columns["rlnCoordinateY"]])
    chosen = np.isfinite(xy).all(axis=1)
    notes = (
        [] if chosen.all() else [f"{task.source}: {int((~chosen).sum())} coordinates are no numbers and are left out"]
    )
    table = Table(task.source, _block(columns))
    if options.minimum_pick_fom > -998:
        table.require("rlnAutopickFigureOfMerit", "the score of every pick", "leave --minimum_pick_fom out")
        chosen &= table.numbers("rlnAutopickFigureOfMerit") > options.minimum_pick_fom
    if options.selection_type > 0:
        table.require("rlnParticleSelectionType", "the colour of every pick", "leave --selection_type out")
        chosen &= table.integers("rlnParticleSelectionType") == options.selection_type
    columns = {label: column[chosen] for label, column in columns.items()}
    centre = engine.whole_pixels(xy[chosen], (options.extract_bias_x, options.extract_bias_y))
    multiply = bool(options.recipe().multiply)
    return Positions(
        centre,
        lambda rows, images: extracted.picked_columns(columns, rows, images, micrographs, task.i),
        micrographs.ctf_parameters(task.i) if multiply else None,
        micrographs.groups[int(micrographs.group[task.i])] if multiply else None,
        _psi_prior(options, columns, task.source),
        tuple(notes),
    )


def _block(columns: Columns) -> Any:
    from vitreous.io.star import Block

    return Block("", columns=columns)


def _psi_prior(options: Options, columns: Columns, source: str) -> np.ndarray | None:
    if not (options.helix and options.norm):
        return None
    label = next((name for name in ("rlnAnglePsiPrior", "rlnAnglePsi") if name in columns), None)
    if label is None:
        raise InputError(
            f"{source}: there is no column rlnAnglePsiPrior, expected the direction of each tube because "
            "of --helix; "
            "give helical picks, or --helical_tubes with starts and ends"
        )
    return np.asarray(columns[label], float)


def _tube_columns(options: Options, columns: Columns, shape: tuple[int, int], pixel_A: float, source: str) -> Columns:
    ends = np.column_stack([columns["rlnCoordinateX"], columns["rlnCoordinateY"]])
    step_px = options.helical_nr_asu * options.helical_rise / pixel_A if options.helical_cut_into_segments else None
    try:
        found = engine.cut_tubes(ends, shape, options.extract_size, step_px, pixel_A)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    n = len(found.tube)
    return {
        "rlnCoordinateX": found.coordinate_px[:, 0],
        "rlnCoordinateY": found.coordinate_px[:, 1],
        "rlnHelicalTubeID": found.tube,
        "rlnAngleTiltPrior": np.full(n, 90.0),
        "rlnAnglePsiPrior": found.psi_deg,
        "rlnHelicalTrackLengthAngst": found.track_A,
        "rlnAnglePsiFlipRatio": np.full(n, 0.5 if options.helical_bimodal_angular_priors else 0.0),
    }


def refined_positions(plan: Plan, task: Task) -> Positions:
    """Boxes of refined particles, moved to their refined centres where asked for."""
    options, refined, rows = plan.options, plan.refined, task.rows
    table = refined.table
    pixel_A = plan.micrograph_pixel_A(task)
    xy = np.column_stack([table.numbers(label)[rows] for label in ("rlnCoordinateX", "rlnCoordinateY")])
    origin_A = refined.origins_A(rows)
    if options.reset_offsets:
        origin_A = np.zeros_like(origin_A)
    elif options.recenter:
        xy, origin_A = _moved(options, refined, rows, xy, origin_A, pixel_A)
    groups = [replace(refined.groups[k], pixel_size_A=pixel_A) for k in refined.group[rows]]

    def columns(kept: np.ndarray, images: list[str]) -> Columns:
        out = extracted.refined_columns(refined, rows[kept], images, xy[kept], origin_A[kept])
        out["rlnOpticsGroup"] = refined.group[rows[kept]].astype(np.int64) + 1
        if options.keep_ctfs_micrographs:
            out["rlnOpticsGroup"] = np.full(len(kept), int(plan.micrographs.group[task.i]) + 1)
            out |= extracted.ctf_columns(plan.micrographs, task.i, len(kept))
        return out

    ctf, optics = None, None
    if options.recipe().multiply:
        if options.keep_ctfs_micrographs:
            ctf, optics = (
                plan.micrographs.ctf_parameters(task.i),
                plan.micrographs.groups[int(plan.micrographs.group[task.i])],
            )
        else:
            part = Table(table.path, replace(table.block, columns={k: v[rows] for k, v in table.columns.items()}))
            ctf, optics = ctf_parameters(part, groups), groups[0]
    psi = _psi_prior(options, {k: v[rows] for k, v in table.columns.items()}, refined.path)
    return Positions(
        engine.whole_pixels(xy, (options.extract_bias_x, options.extract_bias_y)), columns, ctf, optics, psi
    )


def _moved(options: Options, refined: Refined, rows, xy, origin_A, pixel_A: float):
    """New positions and origins, with --recenter_x, y, z in px of the reference."""
    point = (options.recenter_x, options.recenter_y, options.recenter_z)
    euler = np.column_stack([refined.table.numbers(f"rlnAngle{name}", 0.0)[rows] for name in ("Rot", "Tilt", "Psi")])
    if any(point):
        refined.table.require(
            "rlnAnglePsi", "the orientation of every particle", "give refined particles, or no --recenter_x"
        )
    particle_A = np.array([group.pixel_size_A for group in refined.groups])[refined.group[rows]]
    out_xy, out_A = np.empty_like(xy), np.empty_like(origin_A)
    for size in np.unique(particle_A):
        at = particle_A == size
        ratio = (options.ref_angpix or size) / pixel_A
        centre = point if any(point) else None
        out_xy[at], out_A[at] = engine.recentred(
            xy[at], origin_A[at], euler_to_matrix(euler[at]), ratio, pixel_A, centre
        )
    return out_xy, out_A
