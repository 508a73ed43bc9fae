"""Tables of extracted particles: one per micrograph, joined in the end, and the refined particles of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.coordinates import post_path
from vitreous.io.labels import label_type
from vitreous.io.micrographs import CTF_LABELS, Micrographs
from vitreous.io.optics_star import OLD_ROW_LABELS, group_indices, old_optics, read_optics
from vitreous.io.star import Block, read_star, write_star
from vitreous.io.table import Table
from vitreous.model.optics import OpticsGroup

Columns = dict[str, np.ndarray]
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
# What RELION writes for every particle that has a CTF at all.
CTF_DEFAULTS = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnPhaseShift": 0.0}
# Of the micrograph, no columns of a particle.
DROPPED = ("rlnParticleSelectionType",)


@dataclass(frozen=True, eq=False)
class Refined:
    """Particles of a refinement that are to be extracted again.

    Attributes
    ----------
    table : data_particles
    optics : label -> column of data_optics
    groups : OpticsGroup of each of its rows, with the pixel size of the particle images
    group : (n,) int32               row of each particle's group
    """

    path: str
    table: Table
    optics: Columns
    groups: list[OpticsGroup]
    group: np.ndarray

    def origins_A(self, rows: np.ndarray) -> np.ndarray:
        """(n, 2) float64 rlnOriginX/YAngst of some rows; those of RELION 3.0 are in px."""
        out = []
        for angstrom, pixels in zip(ORIGINS[:2], ORIGINS_PX):
            if angstrom in self.table or pixels not in self.table:
                out.append(self.table.numbers(angstrom, 0.0)[rows])
            else:
                size = np.array([group.pixel_size_A for group in self.groups])[self.group[rows]]
                out.append(self.table.numbers(pixels)[rows] * size)
        return np.column_stack(out)


def read_refined(path: str) -> Refined:
    """Read a particle STAR file whose particles are to be extracted again.

    Raises  InputError: no coordinates, micrographs or pixel size in it.
    """
    star = read_star(path)
    block = star.first("particles", "images", "")
    table = Table(path, block)
    todo = "give the _data.star of a refinement or classification of particles that were extracted from micrographs"
    table.require("rlnMicrographName", "the micrograph of every particle", todo)
    for label in ("rlnCoordinateX", "rlnCoordinateY"):
        table.require(label, "the position of every particle in its micrograph", todo)
    if "optics" in star:
        optics = dict(star["optics"].columns)
        found = Table(path, star["optics"])
        return Refined(path, table, optics, read_optics(found, need_ctf=False), group_indices(table, found))
    optics, group, _ = old_optics(table)
    block.columns = {k: v for k, v in block.columns.items() if k not in OLD_ROW_LABELS} | {"rlnOpticsGroup": group + 1}
    groups = read_optics(Table(path, Block("optics", columns=optics)), need_ctf=False)
    return Refined(path, Table(path, block), optics, groups, group)


def rows_by_micrograph(refined: Refined, names: Sequence[str]) -> tuple[list[np.ndarray], int, list[str]]:
    """Which particles belong to each micrograph: the names are equal behind the job's folder.

    Where none is, a particle goes to the micrograph whose name its own contains, as in RELION.

    Returns
    -------
    one array of rows per micrograph; number of particles without a micrograph; names that were found by containing
    """
    mine = refined.table.strings("rlnMicrographName")
    posts = [post_path(name) for name in names]
    index = {post: i for i, post in enumerate(posts)}
    at: dict[str, int] = {}
    loose: list[str] = []
    for name in dict.fromkeys(mine):
        i = index.get(post_path(name), -1)
        if i < 0:
            inside = [k for k, post in enumerate(posts) if post in name]
            if len(inside) == 1:
                i = inside[0]
                loose.append(name)
        at[name] = i
    which = np.fromiter((at[name] for name in mine), np.int64, len(mine))
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(names) + 1))
    return [order[a:b] for a, b in pairwise(bounds)], int((which < 0).sum()), loose


def group_for(refined: Refined, micrographs: Micrographs) -> list[OpticsGroup | None]:
    """The micrographs' optics group of the same name for each of the particles' groups; None where there is none."""
    by_name = {group.name: group for group in micrographs.groups}
    if len(by_name) == 1 and len(refined.groups) == 1:  # files of RELION 3.0 have no names
        return [micrographs.groups[0]]
    return [by_name.get(group.name) for group in refined.groups]


def picked_columns(
    positions: Columns, rows: np.ndarray, images: list[str], micrographs: Micrographs, i: int
) -> Columns:
    """The rows of new particles: the picks' columns, then image, micrograph, optics and CTF."""
    n = len(rows)
    out = {label: column[rows] for label, column in positions.items() if label not in DROPPED}
    out["rlnImageName"] = np.array(images, object)
    out["rlnMicrographName"] = np.full(n, micrographs.names[i], object)
    out["rlnOpticsGroup"] = np.full(n, int(micrographs.group[i]) + 1)
    if "rlnBeamTiltClass" in micrographs.table:
        out["rlnBeamTiltClass"] = np.repeat(micrographs.table.raw("rlnBeamTiltClass")[i], n)
    return out | ctf_columns(micrographs, i, n)


def ctf_columns(micrographs: Micrographs, i: int, n: int) -> Columns:
    """The CTF of a micrograph for each of its ``n`` particles; nothing where it has none."""
    if not micrographs.has_ctf:
        return {}
    out = {label: np.full(n, micrographs.table.numbers(label)[i]) for label in CTF_LABELS if label in micrographs.table}
    for label, default in CTF_DEFAULTS.items():
        out[label] = np.full(n, micrographs.table.numbers(label, default)[i])
    return out


def refined_columns(
    refined: Refined, rows: np.ndarray, images: list[str], coordinate_px: np.ndarray, origin_A: np.ndarray
) -> Columns:
    """The rows of particles extracted again: all their columns, with new images, positions and origins."""
    columns = {label: column[rows] for label, column in refined.table.columns.items()}
    for pixels, angstrom in zip(ORIGINS_PX, ORIGINS):
        if pixels in columns:
            columns = {angstrom if label == pixels else label: column for label, column in columns.items()}
    columns["rlnCoordinateX"], columns["rlnCoordinateY"] = coordinate_px.T
    columns["rlnImageName"] = np.array(images, object)
    columns[ORIGINS[0]], columns[ORIGINS[1]] = origin_A.T
    return columns


def optics_of_particles(
    optics: Columns, pixel_A: np.ndarray, scale: float, box: int, *, premultiplied: bool, flipped: bool
) -> Columns:
    """data_optics of extracted particles, from that of the micrographs or of the earlier particles.

    Parameters
    ----------
    pixel_A : (n_groups,) pixel size of the micrographs
    scale : pixel of the particles over that of the micrographs
    box : side of the particles, px
    """
    out = {k: v for k, v in optics.items() if k not in ("rlnMicrographPixelSize", "rlnImagePixelSize", "rlnImageSize",
                                                       "rlnImageDimensionality")}  # fmt: skip
    n = len(pixel_A)
    out.setdefault("rlnOpticsGroupName", np.array([f"opticsGroup{i + 1}" for i in range(n)], object))
    out["rlnOpticsGroup"] = 1 + np.arange(n)
    out.setdefault("rlnMicrographOriginalPixelSize", np.asarray(pixel_A, float))
    out["rlnImagePixelSize"] = np.asarray(pixel_A, float) * scale
    out["rlnImageSize"] = np.full(n, box)
    out["rlnImageDimensionality"] = np.full(n, 2)
    if premultiplied or "rlnCtfDataAreCtfPremultiplied" in out:
        out["rlnCtfDataAreCtfPremultiplied"] = np.full(n, int(premultiplied))
    if flipped or "rlnCtfDataArePhaseFlipped" in out:
        out["rlnCtfDataArePhaseFlipped"] = np.full(n, int(flipped))
    return out


def drop_unused_groups(optics: Columns, particles: Columns) -> tuple[Columns, Columns]:
    """Optics groups that no particle uses left out, and the others numbered from 1."""
    used, new = np.unique(particles["rlnOpticsGroup"], return_inverse=True)
    optics = {label: column[used - 1] for label, column in optics.items()}
    optics["rlnOpticsGroup"] = 1 + np.arange(len(used))
    return optics, {**particles, "rlnOpticsGroup": new.reshape(-1) + 1}


def join(parts: Iterable[Columns]) -> Columns:
    """Rows of several tables in one: columns that some lack are filled with 0 or None."""
    parts = [part for part in parts if len(next(iter(part.values()), ()))]
    labels = list(dict.fromkeys(label for part in parts for label in part))
    lengths = [len(next(iter(part.values()))) for part in parts]
    return {label: np.concatenate([_filled(part, label, n) for part, n in zip(parts, lengths)]) for label in labels}


def _filled(part: Columns, label: str, n: int) -> np.ndarray:
    if label in part:
        return part[label]
    text = label_type(label) not in ("double", "int", "bool")
    return np.full(n, "None", object) if text else np.zeros(n, float if label_type(label) == "double" else int)


def write_extract_star(path, columns: Columns) -> None:
    """The table of one micrograph's particles; its being there says that the micrograph is done."""
    write_star(path, [Block("images", columns=columns)], allow_nan=True)


def read_extract_star(path) -> Columns:
    """The columns that ``write_extract_star`` wrote; none where the micrograph had no particles."""
    if not Path(path).stat().st_size:
        return {}
    star = read_star(path)
    return dict(star.first("images", "").columns)


def write_particle_star(path, optics: Columns, particles: Columns) -> None:
    """particles.star: data_optics and data_particles.

    Raises  InputError: no particles.
    """
    if not particles or not len(particles["rlnImageName"]):
        raise InputError(f"{path}: there are no particles, expected some; see the warnings above")
    blocks = [Block("optics", columns=optics, precise=True), Block("particles", columns=particles)]
    write_star(path, blocks, allow_nan=True)
