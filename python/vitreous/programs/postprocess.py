"""From two half maps to a resolution and a sharpened map."""

from __future__ import annotations

import secrets
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

from vitreous import __version__
from vitreous.engine import filters, fsc, masks3d, postprocess, sharpen
from vitreous.engine.postprocess import Assessment, Recipe, Sharpened
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.mrc import write_mrc
from vitreous.io.postprocess_files import read_mtf, write_fsc_dat, write_fsc_xml, write_postprocess_star
from vitreous.job.job import Job, command_line
from vitreous.programs.launch import made_with
from vitreous.programs.local_resolution import LocalResult, run_local
from vitreous.programs.map_files import open_map_job, read_map, same_grid
from vitreous.programs.postprocess_options import Options
from vitreous.report.postprocess import local_report, postprocess_report, warnings_of

PIXEL_TOLERANCE = 0.01  # relative; more would move the resolution by a shell of a box of 200 px


@dataclass(frozen=True, eq=False)
class Result:
    """What was found, the map, and the table with all curves."""

    star: Path
    assessment: Assessment
    sharpened: Sharpened
    mask: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Input:
    """The half maps and what goes with them."""

    names: tuple[str, str]
    halves: tuple[np.ndarray, np.ndarray]
    pixel_size_A: float
    mtf: tuple[np.ndarray, np.ndarray] | None

    @property
    def n(self) -> int:
        return max(self.halves[0].shape)


def run(options: Options, be: Any = None, comm: Any = None) -> Result | LocalResult:
    """Assess and sharpen, or find the local resolution; ``be`` gives the number of threads, ``comm`` is not needed."""
    began = time.monotonic()
    check(options)
    threads = fft.set_workers(be.n_threads) if be is not None else nullcontext()
    with open_map_job(options, options.output) as job, threads:
        given = read_input(options, job)
        seed = options.random_seed if options.random_seed >= 0 else secrets.randbelow(2**31)
        result, page = (local if options.locres else whole)(options, given, seed, job, began)
        with atomic_write(job.dir.report) as file:
            file.write(page.encode())
        if not options.locres:
            job.progress.line(_line("FINAL RESOLUTION", f"{result.assessment.resolution_A:g}"))
    return result


def whole(options: Options, given: Input, seed: int, job: Job, began: float) -> tuple[Result, str]:
    """One resolution and one map; returns what was found, and the report."""
    average = (given.halves[0] + given.halves[1]) / np.float32(2)
    mask, mask_name = find_mask(options, given, average, job)
    found = assess(options, given, mask, seed, job)
    recipe = make_recipe(options, given, found)
    made = sharpen_average(given, average, recipe, job)
    fixed = replace(recipe, b_factor_A2=made.b_factor_A2, fit_A=None)
    write(options, given, made, fixed, found, mask, mask_name, job)
    tell(options, found, made, job)
    rows = report_rows(options, seed, began)
    page = postprocess_report(given.names, found, made, average, mask, mask_name, rows)
    return Result(Path(f"{job.dir.root}.star"), found, made, mask), page


def local(options: Options, given: Input, seed: int, job: Job, began: float) -> tuple[LocalResult, str]:
    """The local resolution; a mask serves the histogram alone, as in RELION."""
    if options.auto_bfac:
        raise InputError("--locres: found --auto_bfac beside it, expected a B-factor that is known; give --adhoc_bfac")
    average = (given.halves[0] + given.halves[1]) / np.float32(2)
    mask, mask_name = find_mask(options, given, average, job)
    found = run_local(options, given.halves, given.pixel_size_A, given.mtf, seed, job)
    inside = (found.resolution_A > 0) & (mask > 0.5 if mask is not None else True)
    values = found.resolution_A[inside]
    if values.size:
        spread = np.percentile(values, [5, 50, 95])
        job.progress.line(_line("local resolution, 5, 50, 95 %", " ".join(f"{value:.2f}" for value in spread)))
    rows = report_rows(options, seed, began)
    return found, local_report(given.names, found.resolution_A, found.filtered, values, mask_name, rows)


def report_rows(options: Options, seed: int, began: float) -> list[tuple[str, Any, str, str]]:
    """Options, version, seed and time, for the end of a report."""
    return made_with(options, time.monotonic() - began, ("seed of the phases", seed, "", ""))


def check(options: Options) -> None:
    """Refuse options that contradict each other."""
    if options.half1 is None:
        raise InputError("--i: found no half map, expected one, e.g. run_half1_class001_unfil.mrc; give it")
    if options.auto_mask and options.mask:
        raise InputError("--auto_mask: found --mask beside it, expected one of the two; leave one out")
    if options.auto_bfac and options.adhoc_bfac:
        raise InputError("--auto_bfac: found --adhoc_bfac beside it, expected one of the two; leave one out")
    if options.auto_bfac and options.autob_highres >= options.autob_lowres:
        raise InputError(f"--autob_highres: found {options.autob_highres:g} A, expected less than --autob_lowres "
                         f"{options.autob_lowres:g} A; give a smaller one")  # fmt: skip


def other_half(name: str) -> str:
    """The name of the other half map: half2 for half1 in the file's own name, or the other way round."""
    path = Path(name)
    for here, there in (("half1", "half2"), ("half2", "half1")):
        if here in path.name:
            return str(path.with_name(there.join(path.name.rsplit(here, 1))))
    raise InputError(f"--i {name}: found no half1 in the name, expected it so that the other half is known; give --i2")


def read_input(options: Options, job: Job) -> Input:
    """Both half maps, their pixel size and the detector's curve."""
    names = (options.half1, options.half2 or other_half(options.half1))
    if Path(names[1]).exists() and Path(names[0]).exists() and Path(names[0]).samefile(names[1]):
        raise InputError(f"--i2 {names[1]}: is the same file as --i, expected the other half map; give that")
    job.progress.line("== Reading input half-reconstructions:")
    halves, pixels_A = [], []
    for i, (name, flag) in enumerate(zip(names, ("i", "i2")), 1):
        volume, header_A = read_map(name, flag)
        job.progress.line(_line(f"half{i}-map", name))
        halves.append(volume)
        pixels_A.append(header_A)
    same_grid(names[1], "i2", halves[1], halves[0].shape, names[0])
    pixel_size_A = _pixel_size(options, names, pixels_A, job)
    if not (np.ptp(halves[0]) > 0 and np.ptp(halves[1]) > 0):
        raise InputError(f"--i {names[0]}: all voxels of a half map are alike, expected a molecule; give other maps")
    if np.array_equal(*halves):
        raise InputError(f"--i2 {names[1]}: has the same voxels as --i, expected an independent half map; give that")
    mtf = None
    if options.mtf:
        frequency, values = read_mtf(options.mtf)
        mtf = (frequency * pixel_size_A / (options.mtf_angpix or pixel_size_A), values)
        job.progress.line(_line("mtf STAR-file", options.mtf))
    return Input(names, tuple(halves), pixel_size_A, mtf)


def _pixel_size(options, names, pixels_A, job) -> float:
    known = [a for a in pixels_A if a > 0]
    if len(known) == 2 and abs(known[0] - known[1]) > PIXEL_TOLERANCE * known[0]:
        raise InputError(f"--i2 {names[1]}: the pixel size is {known[1]:g} A, expected {known[0]:g} A as of "
                         f"{names[0]}; give maps of one refinement")  # fmt: skip
    if options.angpix is None and not known:
        raise InputError(f"--i {names[0]}: the header has no pixel size, expected one; give --angpix")
    pixel_size_A = options.angpix or known[0]
    if known and abs(known[0] - pixel_size_A) > PIXEL_TOLERANCE * pixel_size_A:
        job.warning(
            f"{names[0]}: the header says {known[0]:g} A per pixel; {pixel_size_A:g} A is used, as --angpix says"
        )
    job.progress.line(_line("pixel size (A)", f"{pixel_size_A:g}"))
    return float(pixel_size_A)


def find_mask(options: Options, given: Input, average: np.ndarray, job: Job) -> tuple[np.ndarray | None, str | None]:
    """The mask that was given or asked for, with its name; (None, None) without one."""
    if options.auto_mask:
        return auto_mask(options, given, average, job)
    if options.mask is None:
        return None, None
    job.progress.line("== Using a user-provided mask ...")
    job.progress.line(_line("input mask", options.mask))
    mask, _ = read_map(options.mask, "mask")
    same_grid(options.mask, "mask", mask, average.shape, "the half maps")
    low, high = float(mask.min()), float(mask.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise InputError(f"--mask {options.mask}: values go from {low:g} to {high:g}, expected 0 to 1; make a mask "
                         "with vitreous mask-create")  # fmt: skip
    if not high > 0:
        raise InputError(f"--mask {options.mask}: is 0 everywhere, expected 1 in the molecule; make a mask with "
                         "vitreous mask-create")  # fmt: skip
    return mask, options.mask


def auto_mask(options: Options, given: Input, average: np.ndarray, job: Job) -> tuple[np.ndarray, str]:
    """A mask from the average of the half maps, by the means of mask-create; written to <root>_automask.mrc."""
    mask, threshold = masks3d.automatic_mask(
        average, given.pixel_size_A, options.extend_inimask, options.width_mask_edge, options.inimask_threshold
    )
    if np.isnan(threshold):
        raise InputError(f"--auto_mask: the low-passed average of {given.names[0]} and its other half is flat, "
                         "expected a molecule on darker solvent; give other maps, or --mask")  # fmt: skip
    if not mask.max() > 0:
        raise InputError(f"--inimask_threshold: found {threshold:g}, which no voxel of the low-passed map reaches; "
                         "expected a lower one, or none to have it chosen")  # fmt: skip
    path = job.dir.file("automask.mrc")
    write_mrc(path, mask, given.pixel_size_A, stack=False)
    job.progress.line("== Made a mask from the average of the half maps: look at it in report.html")
    job.progress.line(_line("automatic mask", path))
    job.progress.line(_line("threshold", f"{threshold:.4g}"))
    job.log.event("automatic mask", file=path, threshold=threshold)
    return mask, str(path)


def assess(options: Options, given: Input, mask: np.ndarray | None, seed: int, job: Job) -> Assessment:
    """The FSC curves and the resolution."""
    unmasked = fsc.fourier_shell_correlation(*given.halves, options.equal_pairs)
    first = 1
    if mask is not None and options.randomize_at_A is not None:
        first = int(given.n * given.pixel_size_A / options.randomize_at_A)
        if not 1 <= first < len(unmasked):
            finest_A = given.n * given.pixel_size_A / (len(unmasked) - 1)
            raise InputError(f"--randomize_at_A: found {options.randomize_at_A:g} A, expected {finest_A:.3g} to "
                             f"{given.n * given.pixel_size_A:.4g} A; give e.g. 1.5 times the resolution")  # fmt: skip
    elif mask is not None:
        first = fsc.first_below(unmasked, options.randomize_at_fsc)
        if first is None:
            raise InputError(f"--randomize_at_fsc: the unmasked FSC never falls below {options.randomize_at_fsc:g}, "
                             "expected noise at high resolution; are these maps filtered, or not halves? Give "
                             "unfiltered half maps, or --randomize_at_A")  # fmt: skip
    return postprocess.assess(
        given.halves, unmasked, given.pixel_size_A, mask, first,
        seed=seed, force_mask=options.force_mask, mass_kDa=options.molweight, equal_pairs=options.equal_pairs,
    )  # fmt: skip


def make_recipe(options: Options, given: Input, found: Assessment) -> Recipe:
    """How the map is to be sharpened, by the options and the curves."""
    low_pass_A = found.resolution_A if options.low_pass < 0 else options.low_pass
    low_pass_shell = None
    if low_pass_A > 0:
        low_pass_shell = filters.cutoff_shell(given.n, given.pixel_size_A, low_pass_A)
    return Recipe(
        mtf=given.mtf,
        weights=None if options.skip_fsc_weighting else sharpen.fsc_weights(found.used),
        b_factor_A2=options.adhoc_bfac,
        fit_A=(options.autob_lowres, options.autob_highres) if options.auto_bfac else None,
        low_pass_shell=low_pass_shell,
        edge_shells=options.filter_edge_width,
        equal_pairs=options.equal_pairs,
    )


def sharpen_average(given: Input, average: np.ndarray, recipe: Recipe, job: Job) -> Sharpened:
    """The sharpened average of the half maps."""
    if recipe.weights is not None:
        job.progress.line("== Applying sqrt(2*FSC/(FSC+1)) weighting (as in Rosenthal & Henderson, 2003) ...")
    try:
        return postprocess.sharpened(average, given.pixel_size_A, recipe)
    except ValueError as error:
        raise InputError(f"--auto_bfac: {error}; widen the range with --autob_lowres and --autob_highres, give "
                         "--adhoc_bfac, or check that these are the half maps of one refinement: their FSC is too low "
                         "there") from None  # fmt: skip


def write(options, given: Input, made: Sharpened, fixed: Recipe, found: Assessment, mask, mask_name, job: Job) -> None:
    """Every file but the report; ``fixed`` is the recipe with the B-factor of the map, for the half maps."""
    job.progress.line("== Writing output files ...")
    names = write_maps(options, given, made, fixed, mask, job)
    used = found.used
    n, pixel_size_A = given.n, given.pixel_size_A
    title = "masked-corrected" if found.corrected is not None and not found.mask_refused else "unmasked"
    write_fsc_xml(job.dir.file("fsc.xml"), f"RELION {title} FSC", used, n, pixel_size_A)
    write_fsc_dat(job.dir.file("fsc.dat"), used, n, pixel_size_A)
    general = {
        "resolution_A": found.resolution_A,
        "b_factor_A2": made.b_factor_A2,
        "half1": given.names[0],
        "half2": given.names[1],
        **names,
        "mass_kDa": options.molweight,
        "factor_mass": found.factor_mass,
        "factor_mask": found.factor_mask,
        "mask": mask_name,
        "random_from_A": None if found.first_random is None else found.shell_A(found.first_random),
    }
    if made.fit is not None:
        general |= {"slope_A2": made.fit.slope_A2, "intercept": made.fit.intercept}
        general["determination"] = made.fit.determination
    curves = {key: getattr(found, key) for key in ("part_mask", "part_mass", "unmasked", "masked", "randomised")}
    curves["used"] = found.corrected
    comments = (f"RELION postprocess; version vitreous {__version__}", command_line())
    star = f"{job.dir.root}.star"
    write_postprocess_star(star, general, curves, made.log_amplitudes, n, pixel_size_A, comments)
    job.progress.line(_line("Metadata file", star))
    job.log.event("postprocess", **{key: value for key, value in general.items() if value is not None})


def write_maps(options: Options, given: Input, made: Sharpened, fixed: Recipe, mask, job: Job) -> dict[str, str]:
    """Write the map, and the half maps where asked for, each also masked; returns the map's names for the STAR file."""
    names = {"map": f"{job.dir.root}.mrc"}
    pixel_size_A = given.pixel_size_A
    write_mrc(names["map"], made.volume, pixel_size_A, stack=False)
    job.progress.line(_line("Processed map", names["map"]))
    if mask is not None:
        names["masked_map"] = str(job.dir.file("masked.mrc"))
        write_mrc(names["masked_map"], made.volume * mask, pixel_size_A, stack=False)
        job.progress.line(_line("Processed masked map", names["masked_map"]))
    for i, half in enumerate(given.halves if options.half_maps else (), 1):
        volume = postprocess.sharpened(half, pixel_size_A, fixed).volume
        write_mrc(job.dir.file(f"half{i}.mrc"), volume, pixel_size_A, stack=False)
        job.progress.line(_line(f"half{i}", job.dir.file(f"half{i}.mrc")))
        if mask is not None:
            write_mrc(job.dir.file(f"half{i}_masked.mrc"), volume * mask, pixel_size_A, stack=False)
    return names


def tell(options: Options, found: Assessment, made: Sharpened, job: Job) -> None:
    """Print the numbers, and warn of what looks wrong."""
    say = job.progress.line
    if found.factor_mass is not None:
        say(_line("ordered molecular weight (kDa)", f"{options.molweight:g}"))
        say(_line("fraction f (molweight based)", f"{found.factor_mass:g}"))
    if found.factor_mask is not None:
        share = fsc.FILLED_SHARE / found.factor_mask
        mass_kDa = share * (made.volume.size * found.pixel_size_A**3) * fsc.DA_PER_A3 / 1000
        say(_line("fraction f (solvent mask based)", f"{found.factor_mask:g}"))
        say(_line("molecular weight inside protein mask", f"{1000 * mass_kDa:.0f}"))
        say(_line("randomize phases beyond", f"{found.shell_A(found.first_random):g} Angstroms"))
    if made.fit is not None:
        say(_line("slope of fit", f"{made.fit.slope_A2:g}"))
        say(_line("intercept of fit", f"{made.fit.intercept:g}"))
        say(_line("correlation of fit", f"{made.fit.determination:g}"))
    if made.b_factor_A2:
        say(_line("apply b-factor of", f"{made.b_factor_A2:g}"))
    if options.interpolate:
        say(_line("resolution between shells", f"{found.interpolated_A:.4g}"))
    for text in warnings_of(found, made, options.is_given("adhoc_bfac")):
        job.warning(text)


def _line(name: str, value: Any) -> str:
    return f"  + {name + ':':<30} {value}"
