"""A soft mask from a map, or a ball or shell without one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vitreous.engine import fsc, masks3d
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.mrc import write_mrc
from vitreous.job.job import Job
from vitreous.programs.launch import made_with
from vitreous.programs.map_files import open_map_job, output_name, read_map, same_grid
from vitreous.programs.options import Common, ProgramOptions, again, option
from vitreous.report.maps import mask_report

COMBINATIONS = ("and", "or", "and_not", "or_not")


class Options(ProgramOptions):
    """A soft mask."""

    PROGRAM: ClassVar[str] = "mask-create"
    SUMMARY: ClassVar[str] = "a soft mask from a map by a threshold, or a ball or shell de novo"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous mask-create --i run_class001.mrc --o mask.mrc --extend_inimask 3 --width_soft_edge 6",
        "vitreous mask-create --i run_class001.mrc --o mask.mrc --lowpass 15 --ini_threshold 0.02 --extend_inimask 3 "
        "--width_soft_edge 6",
        "vitreous mask-create --denovo --box_size 200 --outer_radius 60 --width_soft_edge 5 --o ball.mrc",
    )

    map: str | None = option(
        None,
        "map to threshold, white on dark",
        group="input",
        flag="i",
        metavar="FILE",
        unset="required without --denovo",
    )
    and_map: str | None = option(
        None, "inside is where the input and this map reach the threshold", group="input", flag="and", metavar="FILE",
        unset="none",
    )  # fmt: skip
    or_map: str | None = option(
        None, "inside is where the input or this map reaches the threshold", group="input", flag="or", metavar="FILE",
        unset="none",
    )  # fmt: skip
    and_not: str | None = option(
        None, "inside is where the input reaches the threshold and this map does not", group="input", metavar="FILE",
        unset="none",
    )  # fmt: skip
    or_not: str | None = option(
        None, "inside is where the input reaches the threshold or this map does not", group="input", metavar="FILE",
        unset="none",
    )  # fmt: skip
    output: str = option("mask.mrc", "the mask", group="output", flag="o", metavar="FILE")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    ini_threshold: float | None = option(
        None, "grey value from which a voxel is inside; without it one is chosen, and printed", group="basic"
    )
    lowpass: float | None = option(
        None, "low-pass the input before the threshold", group="basic", unit="A", unset="off", gt=0
    )
    angpix: float | None = option(None, "pixel size", group="basic", unit="A", unset="from the header", gt=0)
    extend_inimask: float = option(
        0.0, "grow the binary mask by this much, shrink it where negative", group="basic", unit="px"
    )
    width_soft_edge: float = option(
        0.0, "width of the raised cosine outside of the binary mask", group="basic", unit="px", ge=0
    )
    invert: bool = option(False, "write one minus the mask", group="basic")
    helix: bool = option(False, "keep the central part of the z axis only", group="expert")
    z_percentage: float = option(0.3, "share of the z axis that --helix keeps", group="expert", gt=0, le=1)
    denovo: bool = option(False, "a ball or shell in place of a map", group="expert")
    box_size: int | None = option(
        None, "side of the cube of --denovo", group="expert", unit="px", unset="required with --denovo", ge=2, le=4096
    )
    inner_radius: float = option(0.0, "inner radius of --denovo", group="expert", unit="px", ge=0)
    outer_radius: float = option(99999.0, "outer radius of --denovo", group="expert", unit="px", gt=0)
    center_x: float = option(0.0, "centre of --denovo from the box centre", group="expert", unit="px")
    center_y: float = option(0.0, "centre of --denovo from the box centre", group="expert", unit="px")
    center_z: float = option(0.0, "centre of --denovo from the box centre", group="expert", unit="px")
    j: int = option(
        1, "threads", group="compute", ge=0, no_effect="the distances are exact and found in one pass by one thread"
    )


@dataclass(frozen=True, eq=False)
class Result:
    """The mask, what it was made with, and where it is."""

    path: Path
    mask: np.ndarray
    pixel_size_A: float
    threshold: float | None


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Make the mask and write it; ``be`` and ``comm`` are those of every program and not needed here."""
    began = time.monotonic()
    combination = check(options)
    path = Path(output_name(options.output))
    with open_map_job(options, str(path.with_suffix(""))) as job:
        volume, pixel_size_A, threshold = None, options.angpix or 1.0, None
        if options.denovo:
            mask = denovo(options)
        else:
            volume, pixel_size_A = read_map(options.map, "i", options.angpix)
            if not pixel_size_A > 0:
                if options.lowpass:
                    raise InputError(
                        f"--i {options.map}: the header has no pixel size, expected one for --lowpass; give --angpix"
                    )
                job.warning(f"{options.map}: the header has no pixel size: 1 A is assumed and written")
                pixel_size_A = 1.0
            mask, threshold = from_map(options, volume, pixel_size_A, combination, job)
        if options.helix:
            mask *= masks3d.central_part(len(mask), options.z_percentage, options.width_soft_edge).astype(np.float32)
        if options.invert:
            mask = 1 - mask
        write_mrc(path, mask, pixel_size_A, stack=False)
        facts = tell(job, mask, pixel_size_A, threshold, path)
        rows = made_with(options, time.monotonic() - began)
        page = mask_report(str(path), mask, volume, pixel_size_A, facts, rows)
        with atomic_write(job.dir.report) as file:
            file.write(page.encode())
    return Result(path, mask, pixel_size_A, threshold)


def check(options: Options) -> tuple[str, str] | None:
    """Refuse options that contradict each other; returns the (kind, file) of a second map."""
    files = {"and": options.and_map, "or": options.or_map, "and_not": options.and_not, "or_not": options.or_not}
    given = [(how, file) for how, file in files.items() if file]
    if len(given) > 1:
        flags = " and ".join(f"--{how}" for how, _ in given)
        raise InputError(
            f"{flags}: found several second maps, expected one; run mask-create twice and give the first "
            "mask as --i of the second run with --ini_threshold 0.5"
        )
    if options.denovo and (options.map or given):
        raise InputError("--denovo: found a map beside it, expected none; leave --denovo or the map out")
    if options.denovo and options.box_size is None:
        raise InputError("--box_size: found none with --denovo, expected the side of the mask in px; give it")
    if not options.denovo and options.map is None:
        raise InputError("--i: found no map, expected one to threshold; give it, or --denovo for a ball")
    if options.denovo and options.inner_radius >= options.outer_radius:
        raise InputError(
            f"--inner_radius: found {options.inner_radius:g} px, expected less than --outer_radius "
            f"{options.outer_radius:g}; give a smaller one"
        )
    if options.helix and not options.width_soft_edge > 0:
        raise InputError(
            "--helix: found --width_soft_edge 0, expected more than 0 for a soft cut along z; give e.g. "
            "--width_soft_edge 5"
        )
    return given[0] if given else None


def denovo(options: Options) -> np.ndarray:
    """The ball or shell that the options describe."""
    centre_px = (options.center_x, options.center_y, options.center_z)
    radii = options.inner_radius, options.outer_radius
    return masks3d.shell_mask(options.box_size, *radii, options.width_soft_edge, centre_px)


def from_map(
    options: Options, volume: np.ndarray, pixel_size_A: float, combination: tuple[str, str] | None, job: Job
) -> tuple[np.ndarray, float]:
    """The mask by threshold, extension and edge, and the threshold."""
    inside, threshold = binary(options, volume, pixel_size_A, options.map, "i", options.lowpass)
    if combination is not None:
        how, file = combination
        second, _ = read_map(file, how)
        same_grid(file, how, second, volume.shape, options.map)
        other, _ = binary(options, second, pixel_size_A, file, how, None)
        inside = masks3d.combine(inside, other, how)
    inside = masks3d.extend(inside, options.extend_inimask)
    if not inside.any():
        raise InputError(
            f"--i {options.map}: no voxel is inside the mask, expected some; give a lower --ini_threshold "
            f"than {threshold:g} (the map reaches {volume.max():g})"
            + (", or shrink less with --extend_inimask" if options.extend_inimask < 0 else "")
        )
    if inside.all():
        job.warning(f"every voxel is inside the mask: give a higher --ini_threshold than {threshold:g}")
    return masks3d.soft_edge(inside, options.width_soft_edge), threshold


def binary(options, volume, pixel_size_A, file, flag, lowpass_A) -> tuple[np.ndarray, float]:
    """Voxels of a map at or above the threshold, given or chosen, and the threshold."""
    automatic = options.ini_threshold is None
    if lowpass_A is None and automatic:
        lowpass_A = max(masks3d.AUTO_LOW_PASS_A, 4 * pixel_size_A)
    smooth = masks3d.smoothed(volume, pixel_size_A, lowpass_A) if lowpass_A else volume
    if not automatic:
        return smooth >= options.ini_threshold, options.ini_threshold
    threshold = masks3d.automatic_threshold(smooth)
    if not np.isfinite(threshold):
        raise InputError(
            f"--{flag} {file}: all voxels are alike, expected a molecule on darker solvent; give another map"
        )
    return masks3d.without_dust(smooth >= threshold), threshold


def tell(job: Job, mask: np.ndarray, pixel_size_A: float, threshold: float | None, path: Path) -> list[tuple[str, Any]]:
    """Print and log what the mask is like; returns (what, value) for the report."""
    share = fsc.mask_occupancy(mask)
    sides = [mask[[0, -1]]] if len(mask) > 1 else []
    sides += [mask[:, [0, -1]], mask[..., [0, -1]]]
    facts: list[tuple[str, Any]] = [("inside the mask", f"{100 * share:.1f} %"), ("pixel size", f"{pixel_size_A:g} Å")]
    if threshold is not None:
        facts.insert(0, ("threshold", f"{threshold:.4g}"))
        facts.append(("protein that would fill it", f"{fsc.mass_in_mask_kDa(mask, pixel_size_A):.0f} kDa"))
        touching = max(float(part.max()) for part in sides)
        if touching > 0.5 and not share > 0.99:
            job.warning("the mask reaches the edge of the box: the map may be cut off, or the threshold too low")
    for name, value in facts:
        job.progress.line(f"  + {name + ':':<30} {value}")
    job.progress.line(f" Done creating mask! Written out: {path}")
    job.log.event("mask", file=path, share=share, threshold=threshold, pixel_size_A=pixel_size_A)
    return facts
