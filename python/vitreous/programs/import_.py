"""A project from a folder of micrographs, with the CTF that another program found."""

from __future__ import annotations

import glob
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vitreous.errors import InputError
from vitreous.io.ctf_tables import CtfTable, join_tables, match, read_ctf_table
from vitreous.io.mrc import read_header
from vitreous.io.star import Block, read_star, write_star
from vitreous.job.job import Job
from vitreous.programs.launch import made_with, open_job
from vitreous.programs.options import Common, ProgramOptions, again, option
from vitreous.report.imported import report_html

NO_PIXEL = "it is no micrograph's header: give --angpix"
USUAL = {"rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}
FLAGS = {
    "rlnVoltage": "kV",
    "rlnSphericalAberration": "Cs",
    "rlnAmplitudeContrast": "Q0",
    "rlnMicrographPixelSize": "angpix",
}
NEAR = 0.01  # relative difference of pixel sizes that is worth a word


class Options(ProgramOptions):
    """Micrographs and coordinates into a project."""

    PROGRAM: ClassVar[str] = "import"
    SUMMARY: ClassVar[str] = (
        "micrographs of a folder into micrographs.star, with a CTF table of any program; coordinates"
    )
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        'vitreous import --i "Micrographs/*.mrc" --odir Import/job001/ --kV 300 --Cs 2.7 --Q0 0.1 --angpix 0.885',
        'vitreous import --i Micrographs/ --odir Import/job001/ --ctf "ctffind/*.txt"',
        "vitreous import --i Micrographs/ --odir Import/job001/ --ctf J5_passthrough_exposures.cs",
        'vitreous import --do_coordinates --i "Picks/*.box" --micrographs Import/job001/micrographs.star --odir '
        "Import/job002/",
    )
    REFUSED: ClassVar[Mapping[str, str]] = {
        "do_movies": "vitreous begins with micrographs: correct the movies' motion first, and import the sums",
        "do_halfmaps": "give the half maps themselves to vitreous postprocess",
        "do_particles": "give the particle STAR file itself to vitreous class2d",
        "particles_optics_group_name": "rename the group in the particle STAR file",
        "do_other": "copy the file",
    }

    files: str | None = option(
        None, "micrographs, or with --do_coordinates coordinate files: a folder, or a pattern in quotes", group="input",
        flag="i", metavar="FILES", unset="required",
    )  # fmt: skip
    ctf: str | None = option(
        None, "CTF of the micrographs: a STAR file of RELION, CTFFIND's text output (a pattern: one file each), or a "
              ".cs file "
        "of cryoSPARC", group="input", metavar="FILES", unset="none",
    )  # fmt: skip
    micrographs: str | None = option(
        None, "STAR file of the micrographs that coordinates belong to", group="input", metavar="FILE",
        unset="required with --do_coordinates",
    )  # fmt: skip
    output: str = option("Import/", "folder for the results", group="output", flag="odir", metavar="FOLDER")
    ofile: str | None = option(None, "name of the table", group="output", metavar="NAME", unset="micrographs.star")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    do_micrographs: bool = option(False, "import micrographs", group="basic", no_effect="it is what is done without "
                                  "--do_coordinates")  # fmt: skip
    do_coordinates: bool = option(False, "import coordinates", group="basic")
    angpix: float | None = option(None, "pixel size of the micrographs", group="basic", unit="A",
                                  unset="from --ctf, or the files' headers", gt=0.05, le=1000)  # fmt: skip
    kV: float | None = option(
        None, "acceleration voltage", group="basic", unit="kV", unset="from --ctf, or 300", gt=10, le=2000
    )
    Cs: float | None = option(
        None, "spherical aberration", group="basic", unit="mm", unset="from --ctf, or 2.7", ge=0, le=20
    )
    Q0: float | None = option(
        None, "fraction of amplitude contrast", group="basic", unset="from --ctf, or 0.1", ge=0, lt=1
    )
    optics_group_name: str = option("opticsGroup1", "name of the optics group", group="basic")
    optics_group_mtf: str | None = option(
        None, "STAR file with the detector's MTF", group="expert", metavar="FILE", unset="none"
    )
    beamtilt_x: float = option(0.0, "beam tilt", group="expert", unit="mrad")
    beamtilt_y: float = option(0.0, "beam tilt", group="expert", unit="mrad")
    pickname: str = option("import", "last part of the names of the coordinate files", group="expert", metavar="NAME")
    continued_: bool = option(False, "add micrographs that are new to the table of an earlier import in "
                                     "--odir", group="expert",
                              flag="continue")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result:
    """What was written.

    Attributes
    ----------
    star : micrographs.star; star_ctf : micrographs_ctf.star, where a CTF table was given
    names : micrographs in them
    left_out : (file, why)
    """

    star: Path
    star_ctf: Path | None
    names: list[str]
    left_out: list[tuple[str, str]]


def run(options: Options, be: Any = None, comm: Any = None) -> Any:
    """Import, and write the tables and the report."""
    if options.files is None:
        raise InputError(
            "--i: found none, expected micrographs, such as --i 'Micrographs/*.mrc'; give a folder or a pattern"
        )
    if options.do_coordinates:
        return import_coordinates(options, be, comm)
    began = time.monotonic()
    folder = options.output if options.output.endswith("/") else options.output + "/"
    options = options.replaced({"output": folder}, options.origin("output"))
    with open_job(options, comm) as job:
        names = find_files(options.files)
        good, headers_A, left_out = check_files(job, names)
        table = read_tables(options.ctf) if options.ctf else None
        for note in table.notes if table else ():
            job.warning(note)
        rows = match(good, table.names) if table else np.full(len(good), -1)
        optics, group = settle_optics(job, options, good, headers_A, table, rows)
        result = write_tables(job, options, good, optics, group, table, rows, left_out)
        facts = Facts(options, table, rows, optics, group, good, time.monotonic() - began)
        job.write_report(report_html(result, facts, facts.rows()))
    return result


@dataclass(frozen=True, eq=False)
class Facts:
    """What the report shows."""

    options: Options
    table: CtfTable | None
    matched: np.ndarray
    optics: dict[str, np.ndarray]
    group: np.ndarray
    names: list[str]
    seconds: float

    def rows(self) -> list[tuple]:
        return made_with(self.options, self.seconds)


def import_coordinates(options: Options, be: Any, comm: Any) -> Any:
    """Coordinates of any viewer: the work of manual-pick."""
    from vitreous.programs import manual_pick

    if options.micrographs is None:
        raise InputError(
            "--micrographs: found none, expected the STAR file of the micrographs that the coordinates belong to; "
            "give micrographs.star"
        )
    given = manual_pick.Options.from_keywords(
        **{"i": options.micrographs, "import": options.files, "odir": options.output, "pickname": options.pickname,
           "verb": options.verb, "pipeline_control": options.pipeline_control}
    )  # fmt: skip
    return manual_pick.run(given, be, comm)


def find_files(pattern: str) -> list[str]:
    """The micrographs of a folder or pattern, sorted; raises InputError where there are none."""
    path = Path(pattern)
    if path.suffix == ".star" and path.is_file():
        raise InputError(
            f"--i {pattern}: is a STAR file, expected micrographs; give it to the programs as it is, or its CTF with "
            "--ctf"
        )
    names = sorted(glob.glob(str(path / "*.mrc")) if path.is_dir() else glob.glob(pattern))
    if not names:
        raise InputError(
            f"--i {pattern}: found no files, expected micrographs (.mrc); check the pattern, and put it in quotes"
        )
    return names


def check_files(job: Job, names: Sequence[str]) -> tuple[list[str], np.ndarray, list[tuple[str, str]]]:
    """Micrographs that can be read, the pixel sizes of their headers (A, 0 where they have none), and the others."""
    good, sizes, shapes, left_out = [], [], [], []
    for name in names:
        try:
            header = read_header(name)
        except InputError as error:
            left_out.append((name, str(error)))
            continue
        if header.nz != 1:
            left_out.append((name, f"{name}: has {header.nz} sections, expected one: movies are not imported"))
            continue
        n_bytes = Path(name).stat().st_size
        if n_bytes < header.offset + header.section_bytes and not name.endswith((".gz", ".bz2", ".xz")):
            left_out.append((name, f"{name}: was cut short ({n_bytes} bytes)"))
            continue
        good.append(name)
        sizes.append(header.pixel_size_A)
        shapes.append((header.nx, header.ny))
    for _, why in left_out[:5]:
        job.warning(why)
    if len(left_out) > 5:
        job.warning(f"and {len(left_out) - 5} more files left out; all are in {job.dir.report}")
    if not good:
        raise InputError(
            f"none of {len(names)} files is a micrograph, expected single images in MRC format; {left_out[0][1]}"
        )
    if len(set(shapes)) > 1:
        found = ", ".join(f"{nx} x {ny}" for nx, ny in sorted(set(shapes))[:4])
        job.warning(
            f"micrographs have several sizes ({found}): RELION's autopick wants one; import them apart if you need it"
        )
    return good, np.array(sizes), left_out


def read_tables(pattern: str) -> CtfTable:
    """The CTF table of a file, or of all files of a pattern or folder."""
    path = Path(pattern)
    if path.is_dir():
        names = sorted(
            str(p) for p in path.iterdir() if p.suffix in (".txt", ".star", ".cs") and "_avrot" not in p.name
        )
    else:
        names = [n for n in sorted(glob.glob(pattern)) if "_avrot" not in n or pattern == n]
    if not names:
        raise InputError(
            f"--ctf {pattern}: found no files, expected a CTF table; check the name, and put a pattern in quotes"
        )
    return join_tables([read_ctf_table(name) for name in names])


def settle_optics(
    job: Job, options: Options, names: list[str], headers_A: np.ndarray, table: CtfTable | None, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """data_optics, and each micrograph's group (from 0): what the user says, else the CTF table, else the headers."""
    n = len(names)
    values = {label: np.full(n, usual) for label, usual in USUAL.items()} | {"rlnMicrographPixelSize": headers_A.copy()}
    known = rows >= 0
    for label in values if table else ():
        if label in table.optics:
            values[label][known] = table.optics[label][rows[known]]
    for label, flag in FLAGS.items():
        given = getattr(options, flag)
        if given is None:
            continue
        _warn_of_difference(
            job, label, flag, given, values[label], table is not None and label in table.optics, headers_A
        )
        values[label][:] = given
    missing = np.flatnonzero(~(values["rlnMicrographPixelSize"] > 0))
    if len(missing):
        raise InputError(f"{names[missing[0]]}: its header has no pixel size, expected one in A; give --angpix")
    if options.angpix is None and not (table and "rlnMicrographPixelSize" in table.optics):
        if (values["rlnMicrographPixelSize"] == 1).all():
            raise InputError(
                f"{names[0]}: its header says 1 A per pixel, which programs write that do not know it; expected the "
                "pixel size; give --angpix (--angpix 1 if it is so)"
            )
        job.warning(f"pixel size {values['rlnMicrographPixelSize'][0]:g} A is from the micrographs' headers; give "
                    "--angpix if it "
                    "is calibrated")  # fmt: skip
    return _groups(options, values, table, rows)


def _warn_of_difference(job, label, flag, given, now, from_table, headers_A) -> None:
    """Say where the user's value is not that of the files."""
    if from_table and np.abs(now - given).max() > NEAR * max(abs(given), 0.01):
        job.warning(
            f"--{flag} {given:g} is used, but the CTF table says {now[np.argmax(np.abs(now - given))]:g} for {label}; "
            "a "
            "CTF that was fitted with another value is wrong"
        )
    if label == "rlnMicrographPixelSize":
        other = headers_A[(headers_A > 0) & (headers_A != 1) & (np.abs(headers_A - given) > NEAR * given)]
        if len(other):
            job.warning(f"--{flag} {given:g} A is used, but the headers of {len(other)} micrographs say "
                        f"{other[0]:.5g} A: are they "
                        "binned?")  # fmt: skip


def _groups(options, values, table, rows):
    """One group for each distinct set of optical values and each group of the CTF table."""
    n = len(rows)
    labels = list(values)
    theirs = [table.group_names[r] if r >= 0 else "" for r in rows] if table and table.group_names else [""] * n
    keys = [(theirs[i], *(round(float(values[label][i]), 6) for label in labels)) for i in range(n)]
    distinct = list(dict.fromkeys(keys))
    index = {key: i for i, key in enumerate(distinct)}
    if len(distinct) == 1:
        group_names = [
            distinct[0][0]
            if distinct[0][0] and not options.is_given("optics_group_name")
            else options.optics_group_name
        ]
    else:
        base = options.optics_group_name.rstrip("0123456789")
        group_names = [key[0] or f"{base}{i}" for i, key in enumerate(distinct, 1)]
        if len(set(group_names)) < len(group_names):
            group_names = [f"{base}{i}" for i in range(1, len(distinct) + 1)]
    columns = {
        "rlnOpticsGroupName": np.array(group_names, object),
        "rlnOpticsGroup": 1 + np.arange(len(distinct)),
        "rlnMicrographOriginalPixelSize": np.array(
            [key[1 + labels.index("rlnMicrographPixelSize")] for key in distinct]
        ),
    }
    columns |= {label: np.array([key[1 + labels.index(label)] for key in distinct]) for label in labels}
    if options.optics_group_mtf:
        columns["rlnMtfFileName"] = np.array([options.optics_group_mtf] * len(distinct), object)
    if options.beamtilt_x or options.beamtilt_y:
        columns["rlnBeamTiltX"] = np.full(len(distinct), options.beamtilt_x)
        columns["rlnBeamTiltY"] = np.full(len(distinct), options.beamtilt_y)
    return columns, np.array([index[key] for key in keys])


def write_tables(job, options, names, optics, group, table, rows, left_out) -> Result:
    """micrographs.star and, with a CTF table, micrographs_ctf.star of those that are in it."""
    folder = Path(options.output)
    star = folder / (options.ofile or "micrographs.star")
    columns = {"rlnMicrographName": np.array(names, object), "rlnOpticsGroup": group + 1}
    if options.continued_ and star.is_file():
        optics, columns = add_to(star, optics, columns)
    blocks = [Block("optics", columns=optics, precise=True), Block("micrographs", columns=columns)]
    write_star(star, blocks)
    line = job.progress.line
    line(f" {len(columns['rlnMicrographName'])} micrographs: {star}")
    star_ctf = None
    if table is not None:
        star_ctf = star.with_name(f"{star.stem}_ctf.star")
        left_out = left_out + _write_ctf(job, star_ctf, names, optics, group, table, rows)
        line(f" {int((rows >= 0).sum())} of them with the CTF of {table.path} ({table.kind}): {star_ctf}")
    job.log.event("imported", n=len(names), n_left_out=len(left_out), file=star)
    return Result(star, star_ctf, list(names), left_out)


def add_to(star: Path, optics: dict, columns: dict) -> tuple[dict, dict]:
    """The tables of an earlier import with the micrographs that are new; groups with one name are one.

    Raises  InputError: a group of that name has other values.
    """
    old = read_star(star)
    before, old_optics = old["micrographs"], dict(old["optics"].columns)
    known = set(before["rlnMicrographName"].tolist())
    new = np.array([name not in known for name in columns["rlnMicrographName"]], bool)
    names = old_optics["rlnOpticsGroupName"].tolist()
    number = {}
    for i, name in enumerate(optics["rlnOpticsGroupName"].tolist()):
        if name in names:
            at = names.index(name)
            for label in FLAGS:
                if abs(old_optics[label][at] - optics[label][i]) > 1e-6:
                    raise InputError(
                        f"{star}: group {name} has {label} {old_optics[label][at]:g}, the new micrographs "
                        f"{optics[label][i]:g}, expected one; give another --optics_group_name"
                    )
            number[i + 1] = at + 1
        else:
            old_optics = {k: np.append(v, optics.get(k, v)[i if k in optics else 0]) for k, v in old_optics.items()}
            number[i + 1] = len(old_optics["rlnOpticsGroupName"])
            names.append(name)
    old_optics["rlnOpticsGroup"] = 1 + np.arange(len(names))
    group = np.array([number[g] for g in columns["rlnOpticsGroup"].tolist()])[new]
    return old_optics, {
        "rlnMicrographName": np.concatenate([before["rlnMicrographName"], columns["rlnMicrographName"][new]]),
        "rlnOpticsGroup": np.concatenate([before["rlnOpticsGroup"], group]).astype(np.int64),
    }


def _write_ctf(job, path, names, optics, group, table, rows) -> list[tuple[str, str]]:
    known = np.flatnonzero(rows >= 0)
    unknown = [names[i] for i in np.flatnonzero(rows < 0)]
    if not len(known):
        raise InputError(
            f"{table.path}: none of its micrographs, such as {table.names[0]}, is among those of --i, such as "
            f"{names[0]}, expected names that agree but for folder and ending; rename one of the two"
        )
    if unknown:
        job.warning(
            f"{table.path}: has no CTF of {len(unknown)} micrographs, such as {unknown[0]}, which are left out of "
            f"{path}"
        )
    at = rows[known]
    columns = {"rlnMicrographName": np.array(names, object)[known], "rlnOpticsGroup": group[known] + 1}
    u, v = (table.columns[label][at] for label in ("rlnDefocusU", "rlnDefocusV"))
    columns |= {"rlnDefocusU": u, "rlnDefocusV": v, "rlnCtfAstigmatism": np.abs(u - v)}
    for label in ("rlnDefocusAngle", "rlnPhaseShift", "rlnCtfFigureOfMerit", "rlnCtfMaxResolution"):
        if label in table.columns and (label != "rlnPhaseShift" or table.columns[label].any()):
            columns[label] = np.nan_to_num(table.columns[label][at], nan=0.0, posinf=999.0)
    write_star(path, [Block("optics", columns=optics, precise=True), Block("micrographs", columns=columns)])
    return [(name, f"no CTF in {table.path}") for name in unknown]
