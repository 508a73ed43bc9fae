"""The axes of a point group in a map, brought to RELION's places; or which group a map has."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine import align_symmetry, symmetry_detection
from vitreous.engine.align_symmetry import LEAST_AGREEMENT, STANDS_OUT_SD, Alignment
from vitreous.engine.symmetry_detection import Detection
from vitreous.engine.turn_map import turned
from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.star import write_star
from vitreous.job.job import Job
from vitreous.model.rotation import matrix_to_euler
from vitreous.model.symmetry import Symmetry
from vitreous.programs.align_symmetry_options import Options
from vitreous.programs.map_files import maps_of_star, open_map_job, output_name, read_map
from vitreous.programs.option_text import value_rows

__all__ = ["Options", "Result", "run"]

SHOWN = 12  # groups of a detection that are printed; the files have all


@dataclass(frozen=True, eq=False)
class Result:
    """What was found and written; alignment is None for C1, detection without --detect."""

    path: Path
    volume: np.ndarray
    pixel_size_A: float
    source: str
    symmetry: str
    alignment: Alignment | None
    detection: Detection | None


def run(options: Options, be: Any, comm: Any = None) -> Result:
    """Find the axes, turn the map, write it with its table and report."""
    began = time.monotonic()
    path = Path(output_name(options.output))
    with open_map_job(options, str(path.with_suffix(""))) as job:
        names = input_maps(options)
        if len(names) > 1 and (options.detect or options.sym == "C1"):
            raise InputError(
                f"--i {options.input}: found {len(names)} maps, expected one to {'look at' if options.detect else 'copy'}; "
                "give --select_largest_class or --select_highest_resol, or one map"
            )
        maps = [read_cube(options, name, job) for name in names]
        detection = look_for_group(options, *maps[0], job) if options.detect else None
        symmetry = detection.symmetry if detection else options.sym
        found = [search(options, volume, pixel_A, symmetry, job, name) for name, (volume, pixel_A) in zip(names, maps)]
        best = max(range(len(found)), key=lambda i: found[i].score) if symmetry != "C1" else 0
        volume, pixel_size_A = maps[best]
        alignment, made = None, volume
        if symmetry != "C1":
            alignment = found[best]
            group = Symmetry(symmetry) if options.apply_sym else None
            made = turned(volume, alignment.rotation, alignment.shift_A / pixel_size_A, group, 0 if options.NN else 3,
                          be.n_threads)  # fmt: skip
            if len(names) > 1:
                job.progress.line(f" Best of {len(names)} maps: {names[best]}")
        result = Result(path, made, pixel_size_A, names[best], symmetry, alignment, detection)
        write(options, job, result, volume, time.monotonic() - began)
    return result


# ---- what goes in ----------------------------------------------------------------------------------------------------


def input_maps(options: Options) -> list[str]:
    """Files of the maps to try: the one of --i, or those of a model.star."""
    if not options.input.endswith(".star"):
        return [options.input]
    table, names = maps_of_star(options.input, "i")
    if options.select_largest_class:
        table.require("rlnClassDistribution", "the share of each class", "leave --select_largest_class out")
        return [names[int(np.argmax(table.numbers("rlnClassDistribution")))]]
    if options.select_highest_resol:
        table.require("rlnEstimatedResolution", "the resolution of each class", "leave --select_highest_resol out")
        return [names[int(np.argmin(table.numbers("rlnEstimatedResolution")))]]
    return names


def read_cube(options: Options, name: str, job: Job) -> tuple[np.ndarray, float]:
    """A map with equal sides and a pixel size, A."""
    volume, pixel_size_A = read_map(name, "i", options.angpix)
    if len(set(volume.shape)) > 1 or len(volume) < 16:
        sides = " x ".join(map(str, volume.shape[::-1]))
        raise InputError(
            f"--i {name}: is {sides} px, expected a cube of 16 px or more; bring it there with vitreous "
            "image-handler --new_box"
        )
    if not volume.max() > volume.min():
        raise InputError(f"--i {name}: all voxels are alike, expected a molecule on darker solvent; give another map")
    if not pixel_size_A > 0:
        job.warning(f"{name}: the header has no pixel size: 1 A is assumed; give --angpix")
        pixel_size_A = 1.0
    return volume, pixel_size_A


# ---- the work --------------------------------------------------------------------------------------------------------


def look_for_group(options: Options, volume: np.ndarray, pixel_size_A: float, job: Job) -> Detection:
    """The map's point group, with a table of all that were tried."""
    job.progress.line(f" Looking for axes up to {options.most_fold}-fold")
    detection = symmetry_detection.detect(
        volume, pixel_size_A, box_size=options.box_size, limit_A=options.maxres, keep_centre=options.keep_centre,
        most_fold=options.most_fold,
    )  # fmt: skip
    job.progress.line(f"   {'group':<6} {'weakest copy':>12} {'score':>7} {'random':>15}   supported")
    for row in detection.candidates[:SHOWN]:
        a = row.alignment
        random = f"{a.random_mean:.2f} +- {a.random_sd:.2f}"
        job.progress.line(f"   {row.name:<6} {a.weakest:12.2f} {a.score:7.2f} {random:>15}   "
                          f"{'yes' if row.supported else 'no'}")  # fmt: skip
    job.progress.line(f" {verdict(detection)}")
    job.log.event("detection", symmetry=detection.symmetry,
                  groups={c.name: round(c.alignment.weakest, 4) for c in detection.candidates})  # fmt: skip
    return detection


def verdict(detection: Detection) -> str:
    """What a detection says, in one sentence."""
    if detection.symmetry == "C1":
        return (
            f"No symmetry is supported: no group's weakest copy agrees to {LEAST_AGREEMENT}; the map is C1, or noisy at this "
            "detail: see what a coarser --maxres says."
        )
    others = [row.name for row in detection.candidates if row.supported and row.name != detection.symmetry]
    parts = f"; {', '.join(others)} {'is' if len(others) == 1 else 'are'} part of it or less supported" if others else ""
    return f"Best supported: {detection.symmetry}, weakest copy {detection.candidates[0].alignment.weakest:.2f}{parts}."


def search(
    options: Options, volume: np.ndarray, pixel_size_A: float, symmetry: str, job: Job, name: str
) -> Alignment | None:
    """The group's axes in one map, and what is to be said of them."""
    if symmetry == "C1":
        return None
    job.check_abort()
    working = align_symmetry.prepare(volume, pixel_size_A, options.box_size, options.maxres, options.keep_centre)
    found = align_symmetry.find(working, Symmetry(symmetry), options.keep_centre, options.only_rot)
    rot, tilt, psi = matrix_to_euler(found.rotation)
    x, y, z = found.shift_A
    line = job.progress.line
    line(f" {name}: {symmetry} compared to {found.limit_A:.3g} A within {found.radius_A:.3g} A of the centre")
    line(f"  + {'rot, tilt, psi:':<30} {rot:.2f} {tilt:.2f} {psi:.2f} deg")
    line(f"  + {'shift x, y, z:':<30} {x:.2f} {y:.2f} {z:.2f} A")
    line(f"  + {'score:':<30} {found.score:.3f}, any orientation {found.random_mean:.3f} +- {found.random_sd:.3f}, "
         f"best elsewhere {found.rival:.3f}")  # fmt: skip
    line(f"  + {'weakest copy:':<30} {found.weakest:.3f}")
    if not found.is_shown and not options.presumed:
        job.warning(
            f"{name}: the map does not show {symmetry}: its weakest copy agrees to {found.weakest:.2f}, expected at least "
            f"{LEAST_AGREEMENT}; nor does its score stand out: {found.score:.2f} is {found.significance:.1f} deviations above that "
            f"of any orientation, expected more than {STANDS_OUT_SD:g}, and more than twice the best elsewhere, {found.rival:.2f}; "
            "see what --detect says"
        )
    job.log.event("alignment", map=name, symmetry=symmetry, rotation=found.rotation.tolist(),
                  shift_A=found.shift_A.tolist(), score=found.score, weakest=found.weakest)  # fmt: skip
    return replace(found, volume=None)


# ---- what comes out --------------------------------------------------------------------------------------------------


def write(options: Options, job: Job, result: Result, before: np.ndarray, seconds: float) -> None:
    """The map, its STAR file and report.html; matplotlib is imported only here."""
    from vitreous.report.align_symmetry import align_symmetry_report

    write_mrc(result.path, result.volume, result.pixel_size_A, stack=False)
    star = result.path.with_suffix(".star")
    write_star(star, star_blocks(result))
    rows = [(f"--{flag}", value, unit, origin) for _, flag, value, unit, origin in value_rows(options)]
    rows += [("vitreous", __version__, "", ""), ("time", round(seconds, 2), "s", "")]
    said = verdict(result.detection) if result.detection else ""
    job.write_report(
        align_symmetry_report(str(result.path), before, result.volume, result.pixel_size_A, result.symmetry,
                              result.alignment, result.detection, said, options.apply_sym, rows)
    )  # fmt: skip
    job.progress.line(f" Written: {result.path} ({result.symmetry}), {star}, {job.dir.report}")


def star_blocks(result: Result) -> dict[str, dict[str, Any]]:
    """What was found, as data_align_symmetry, and data_symmetry_groups with all groups of a detection."""
    a = result.alignment
    blocks: dict[str, dict[str, Any]] = {
        "align_symmetry": {"rlnReferenceImage": result.source, "rlnSymmetryGroup": result.symmetry}
    }
    if a is not None:
        blocks["align_symmetry"] |= {
            **dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), map(float, matrix_to_euler(a.rotation)))),
            **dict(zip(("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"), map(float, a.shift_A))),
            "vitreousSymmetryScore": a.score,
            "vitreousSymmetryWeakestCopy": a.weakest,
            "vitreousSymmetryRandomMean": a.random_mean,
            "vitreousSymmetryRandomSd": a.random_sd,
        }
    if result.detection is not None:
        rows = result.detection.candidates
        blocks["symmetry_groups"] = {
            "rlnSymmetryGroup": np.array([row.name for row in rows], object),
            "vitreousSymmetrySupported": np.array([int(row.supported) for row in rows]),
            "vitreousSymmetryWeakestCopy": np.array([row.alignment.weakest for row in rows]),
            "vitreousSymmetryScore": np.array([row.alignment.score for row in rows]),
            "vitreousSymmetryRandomMean": np.array([row.alignment.random_mean for row in rows]),
            "vitreousSymmetryRandomSd": np.array([row.alignment.random_sd for row in rows]),
        }
    return blocks
