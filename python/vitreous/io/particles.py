"""Particle STAR files of RELION 3.0 to 5 from and to a Dataset.

What is read is kept whole: columns and blocks that mean nothing here are written back in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import read_header
from vitreous.io.optics_star import group_indices, old_optics, optics_columns, read_optics
from vitreous.io.star import Block, read_star, round_as_written, write_star
from vitreous.io.table import Table, exists, factorise
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup

QUARANTINE = "vitreous_quarantine"
PIXEL_ORIGINS = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
ANGSTROM_ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
EULER = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
# label -> field of CtfColumns, and the value that RELION assumes where there is none (None: another column's)
CTF = {
    "rlnDefocusU": ("defocus_u_A", None),
    "rlnDefocusV": ("defocus_v_A", None),
    "rlnDefocusAngle": ("defocus_angle_deg", 0.0),
    "rlnCtfBfactor": ("b_factor_A2", 0.0),
    "rlnCtfScalefactor": ("ctf_scale", 1.0),
    "rlnPhaseShift": ("phase_shift_deg", 0.0),
}
# A row may carry its own of these, which then overrides the optics group.
CTF_OF_OPTICS = {
    "rlnVoltage": "voltage_kV",
    "rlnSphericalAberration": "Cs_mm",
    "rlnAmplitudeContrast": "amplitude_contrast",
}
MOST_LOOKED_FOR = 20  # image files; a look costs a few ms on a network disk
MAX_BAD_FRACTION = 0.01  # beyond this share of unusable rows the file as a whole is wrong, e.g. a sign or a unit


@dataclass(frozen=True)
class ParticleInput:
    """A particle file as it was read.

    Attributes
    ----------
    path : the file
    blocks : name -> Block of everything but the optics and particle tables, in order of the file
    optics : label -> (n_optics,) array
    particles : label -> (n_rows,) array; Dataset.particles.row indexes these
    notes : remarks that the user should see
    """

    path: str
    blocks: dict[str, Block]
    optics: dict[str, np.ndarray]
    particles: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def read_particles(
    path, *, need_ctf: bool = False, need_box: bool = True, root=None, max_bad_fraction: float = MAX_BAD_FRACTION
) -> Dataset:
    """A Dataset from a STAR file of particles.

    Parameters
    ----------
    path : STAR file of RELION 3.0, 3.1, 4 or 5
    need_ctf : complain where defocus values are missing or cannot be meant
    need_box : read the box from an image where the file does not tell it; False leaves it 0 where no image is found
    root : folder that image names are relative to; None = ``find_root``
    max_bad_fraction : share of rows with values that cannot be used, which are left out, beyond which the file is refused

    Returns
    -------
    Dataset      rows in the order of the file; ``.input`` is a ParticleInput

    Raises  InputError: a column is missing, or its values cannot be meant.
    Cost: about 2 us a row beyond reading the text
    """
    star = read_star(path)
    block = _particle_block(path, star)
    table = Table(path, block)
    notes: list[str] = []
    names, sections = _image_names(table)
    image_files, image_file = factorise(names)
    _note_duplicates(table, image_file, sections, notes)

    optics, index, columns = _optics(path, star, table, need_ctf)
    optics = _with_boxes(path, optics, _first_images(names, index, len(optics)), root, need_box)
    columns["optics"] |= _sizes(optics)
    pixel_A = np.array([group.pixel_size_A for group in optics])[index]
    bad: dict[int, str] = _quarantined_before(star, table)
    ctf = _ctf(table, need_ctf, bad)
    sources, source = factorise(table.strings("rlnMicrographName") if "rlnMicrographName" in table else names)
    group_names, group = _groups(table, sources, source)
    particles = Particles(
        row=np.arange(len(table)),
        source=source,
        optics=index,
        group=group,
        image_file=image_file,
        image_section=sections,
        euler_deg=_finite(table, EULER, np.column_stack([table.numbers(label, 0.0) for label in EULER]), bad),
        shift_A=_finite(table, ANGSTROM_ORIGINS, _shifts(table, pixel_A, _dimensionality(optics)), bad),
        class_number=table.integers("rlnClassNumber", 0).astype(np.int32),
        half=_halves(table),
        norm=_finite(table, ("rlnNormCorrection",), table.numbers("rlnNormCorrection", 1.0), bad),
        log_likelihood=table.numbers("rlnLogLikeliContribution", 0.0),
        p_max=table.numbers("rlnMaxValueProbDistribution", 0.0),
        n_significant=table.integers("rlnNrOfSignificantSamples", 0).astype(np.int32),
        ctf=ctf,
        position_A=_positions(table, columns["optics"], index),
    )
    _refuse_mostly_bad(table, bad, max_bad_fraction)
    exposures = Exposures.single(len(sources), None if ctf is None else ctf.take(_first_rows(source, len(sources))))
    others = {name: other for name, other in star.items() if name not in ("optics", block.name, QUARANTINE)}
    source_file = ParticleInput(str(path), others, columns["optics"], columns["particles"], tuple(notes))
    return Dataset(optics, sources, exposures, particles, image_files, group_names, input=source_file).quarantine(bad)


def _particle_block(path, star) -> Block:
    for name in ("particles", "images", ""):
        if name in star and "rlnImageName" in star[name].columns:
            break
    else:
        holding = [name for name, block in star.items() if "rlnImageName" in block.columns]
        if not holding:
            found = ", ".join(f"data_{name}" for name in star) or "nothing"
            raise InputError(
                f"{path}: found {found}, none with a column rlnImageName, expected a table of particles; "
                "give the particles.star of an Extract or Select job, or a run_itNNN_data.star"
            )
        name = holding[0]
    general = star.get("general")
    if general is not None and "rlnTomoSubTomosAre2DStacks" in general.columns:
        raise InputError(
            f"{path}: the particles are stacks of tilt images (rlnTomoSubTomosAre2DStacks), expected single images; "
            "give single-particle images here"
        )
    if not len(Table(path, star[name])):
        raise InputError(f"{path} (data_{name}): found no row, expected at least one particle; check the selection")
    return star[name]


def _image_names(table: Table) -> tuple[list[str], np.ndarray]:
    """Stack names and 1-based sections of ``000012@stack.mrcs``; a name without a section is a file of one image."""
    parts = [name.partition("@") for name in table.strings("rlnImageName")]
    files = [file if at else section for section, at, file in parts]
    try:
        sections = np.array([int(section) if at else 1 for section, at, _ in parts], np.int32)
    except (ValueError, OverflowError):
        sections = np.array([_section(section) if at else 1 for section, at, _ in parts], np.int32)
    if sections.min() < 1 or not all(files):
        row = next(row for row, file in enumerate(files) if sections[row] < 1 or not file)
        raise table.bad_value("rlnImageName", row, "NNNNNN@stack.mrcs with NNNNNN from 1", "correct the name")
    return files, sections


def _section(text: str) -> int:
    """The number before the @, 0 where it is none that a stack can have."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _note_duplicates(table: Table, image_file, sections, notes: list[str]) -> None:
    keys = image_file.astype(np.int64) << 32 | sections
    order = np.argsort(keys, kind="stable")
    repeats = order[1:][np.diff(keys[order]) == 0]
    if len(repeats):
        row = repeats.min()
        notes.append(
            f"{table.where(row)}: {table.raw('rlnImageName')[row]} occurs again, as do {len(repeats) - 1} further "
            "rows; remove duplicates where this is not meant"
        )


def _optics(path, star, table: Table, need_ctf: bool):
    """Optics groups, the group of each row, and the optics and particle columns in today's dialect."""
    particles = dict(table.columns)
    if "optics" in star and len(Table(path, star["optics"])):
        optics_table = Table(path, star["optics"])
        columns, index = dict(star["optics"].columns), group_indices(table, optics_table)
    else:
        columns, index, moved = old_optics(table)
        optics_table = Table(path, Block("optics", "loop", columns))
        particles = {label: column for label, column in particles.items() if label not in moved}
    optics = read_optics(optics_table, need_ctf, CTF_OF_OPTICS.keys() & table.columns.keys())
    columns["rlnOpticsGroup"] = 1 + np.arange(len(optics))
    columns.setdefault("rlnOpticsGroupName", np.array([group.name for group in optics], object))
    particles["rlnOpticsGroup"] = index + 1
    return optics, index, {"optics": columns, "particles": particles}


def _first_images(names: list[str], index, n_groups: int) -> list[str | None]:
    """An image file of each optics group, None for a group without particles."""
    used = np.bincount(index, minlength=n_groups) > 0
    return [names[row] if used[i] else None for i, row in enumerate(_first_rows(index, n_groups))]


def _with_boxes(path, optics: list[OpticsGroup], images, root, need_box: bool) -> list[OpticsGroup]:
    """The groups with the boxes that the table did not tell, from the headers of their first images."""
    groups = []
    for group, image in zip(optics, images):
        if group.box == 0 and image is not None:
            try:
                folder = find_root(path, [image]) if root is None else Path(root)
                group = replace(group, box=_box_of_file(folder / image))
            except InputError:
                if need_box:
                    raise
        groups.append(group)
    return groups


def _sizes(optics: list[OpticsGroup]) -> dict[str, np.ndarray]:
    if not all(group.box for group in optics):
        return {}
    dimensionality = np.array([group.dimensionality for group in optics])
    return {"rlnImageSize": np.array([group.box for group in optics]), "rlnImageDimensionality": dimensionality}


def _box_of_file(path: Path) -> int:
    header = read_header(path)
    if header.nx != header.ny:
        raise InputError(f"{path}: images are {header.nx} x {header.ny} px, expected square ones; extract them again")
    return header.nx


def find_root(path, image_files: Iterable[str]) -> Path:
    """The folder that the image names of a STAR file are relative to.

    RELION's names start at the project folder, which is usually the working directory, else a folder above the file.

    Raises  InputError: none of the first images is in one of them.
    """
    names = list(islice(image_files, MOST_LOOKED_FOR))
    places = [Path(), *Path(path).absolute().parents]
    for name in names:  # the first may be one of a few that are lost, which is no reason to stop
        for place in places:
            if exists(place / name):
                return place
    raise InputError(
        f"{path}: its first image file is {names[0]}, which is neither in the working directory {Path().absolute()} "
        f"nor below any folder above the STAR file; run in the project folder that the names start from"
    )


def _dimensionality(optics: list[OpticsGroup]) -> int:
    return max(group.dimensionality for group in optics)


def _first_rows(codes, n: int) -> np.ndarray:
    first = np.zeros(n, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first


def _groups(table: Table, sources, source):
    """Intensity-scale groups: rlnGroupName, else the micrograph, else one for all.

    They are numbered as RELION does, which sorts the particles by micrograph first.
    """
    if "rlnMicrographName" not in table and "rlnGroupName" not in table:
        return ["all"], np.zeros(len(table), np.int32)
    names = sources if "rlnMicrographName" in table else [""]
    place = np.argsort(np.array(sorted(range(len(names)), key=names.__getitem__)))  # of each source when sorted
    order = place[source] if "rlnMicrographName" in table else np.zeros(len(table), int)
    if "rlnGroupName" in table:
        groups, group = factorise(table.strings("rlnGroupName"))
        first = np.full(len(groups), np.iinfo(np.int64).max)
        np.minimum.at(first, group, order * len(table) + np.arange(len(table)))
        rank = np.argsort(np.argsort(first))
    else:
        groups, group, rank = [_without_job(name) for name in sources], source, place
        if len(set(groups)) < len(groups):
            groups = list(sources)
    ordered = [groups[i] for i in np.argsort(rank)]
    return ordered, rank[group].astype(np.int32)


def _without_job(name: str) -> str:
    """``MotionCorr/job002/Movies/a.mrc`` -> ``Movies/a.mrc``, which is how RELION names groups."""
    parts = name.split("/")
    if len(parts) > 2 and len(parts[1]) >= 6 and parts[1].startswith("job") and parts[1][3:].isdigit():
        return "/".join(parts[2:])
    return name


def _shifts(table: Table, pixel_A, n_shifts: int) -> np.ndarray:
    """Origins in A; those of RELION 3.0 are in px."""
    columns = []
    for angstrom, pixels in list(zip(ANGSTROM_ORIGINS, PIXEL_ORIGINS))[:n_shifts]:
        if angstrom in table or pixels not in table:
            columns.append(table.numbers(angstrom, 0.0))
        else:
            columns.append(table.numbers(pixels) * pixel_A)
    return np.column_stack(columns)


def _halves(table: Table) -> np.ndarray:
    half = table.integers("rlnRandomSubset", 0)
    wrong = np.flatnonzero((half < 0) | (half > 2))
    if len(wrong):
        to_do = "remove the column, and halves are assigned anew"
        raise table.bad_value("rlnRandomSubset", wrong[0], "1 or 2 (0 = not assigned)", to_do)
    return half.astype(np.int32)


def _positions(table: Table, optics: dict, index) -> np.ndarray | None:
    """Coordinates in A, where the pixel size of the micrographs is known."""
    pixel = optics.get("rlnMicrographPixelSize", optics.get("rlnMicrographOriginalPixelSize"))
    if pixel is None or "rlnCoordinateX" not in table or "rlnCoordinateY" not in table:
        return None
    labels = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
    return np.column_stack([table.numbers(label, 0.0) for label in labels]) * pixel[index][:, None]


def _finite(table: Table, labels, values, bad: dict[int, str]) -> np.ndarray:
    """The values with those that are not numbers set to 0 and their rows added to ``bad``."""
    if np.isfinite(values).all():
        return values
    by_row = np.isfinite(values.reshape(len(values), -1))
    for row, column in np.argwhere(~by_row).tolist():
        bad.setdefault(row, f"{table.where(row)}: {labels[column]} is not a number")
    return np.where(np.isfinite(values), values, 0.0)


def _ctf(table: Table, need_ctf: bool, bad: dict[int, str]) -> CtfColumns | None:
    if "rlnDefocusU" not in table:
        if need_ctf:
            to_do = "estimate the CTF and extract again, or run without --ctf"
            raise table.missing("rlnDefocusU", "the defocus of every particle in A, because of --ctf", to_do)
        return None
    columns = {name: table.numbers(label, default) for label, (name, default) in CTF.items() if default is not None}
    columns["defocus_u_A"] = table.numbers("rlnDefocusU")
    columns["defocus_v_A"] = table.numbers("rlnDefocusV" if "rlnDefocusV" in table else "rlnDefocusU")
    if need_ctf:
        _check_defocus(table, columns["defocus_u_A"], "rlnDefocusU", bad)
        _check_defocus(table, columns["defocus_v_A"], "rlnDefocusV", bad)
    for label, (name, _) in CTF.items():
        columns[name] = _finite(table, (label,), columns[name], bad)
    columns |= {name: table.numbers(label) for label, name in CTF_OF_OPTICS.items() if _is_own(table, label)}
    return CtfColumns(**columns)


def _is_own(table: Table, label: str) -> bool:
    """A row's own value counts where the file has optics groups; before, the groups were made from it."""
    return label in table and "rlnOpticsGroup" in table


def _check_defocus(table: Table, values, label: str, bad: dict[int, str]) -> None:
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    if 0 < middle < 50:
        row = int(np.argmax(values > 0))
        raise table.bad_value(label, row, "A (1000 to 50000 is usual)", "multiply by 10000 where it is in um")
    if middle > 1e6:
        raise table.bad_value(label, int(np.argmax(values)), "A (1000 to 50000 is usual)", "give it in A")
    for row in np.flatnonzero(~(values > 0)).tolist():
        bad.setdefault(row, f"{table.where(row)}: {label} is {values[row]:g} A, expected > 0 (underfocus is positive)")


def _quarantined_before(star, table: Table) -> dict[int, str]:
    """Row -> cause of particles that an earlier iteration of this run left out."""
    if QUARANTINE not in star:
        return {}
    listed = Table(table.path, star[QUARANTINE])
    return dict(zip((listed.integers("vitreousRow") - 1).tolist(), listed.strings("vitreousCause")))


def _refuse_mostly_bad(table: Table, bad: dict[int, str], max_fraction: float) -> None:
    fresh = {row: cause for row, cause in bad.items() if cause.startswith(table.path)}
    # One row that cannot be used is no reason to stop where there are some more, unless none is allowed.
    if len(fresh) > max(max_fraction * len(table), 1 if max_fraction > 0 and len(table) >= 10 else 0):
        first = fresh[min(fresh)]
        raise InputError(
            f"{first}; so it is for {len(fresh)} of {len(table)} particles: correct the column "
            "(its sign or unit, where all are alike), remove these particles, or raise --max_bad_fraction"
        )


def quantise(dataset: Dataset) -> Dataset:
    """The same data with every number as a STAR file holds it.

    A file keeps six decimals, so a run that went on with more could not be continued from its files to the same answer.
    What is written is what is used: apply this after reading and to every update. Applying it twice changes nothing.
    """
    p = dataset.particles
    names = ("euler_deg", "shift_A", "norm", "log_likelihood", "p_max")
    columns = {name: round_as_written(getattr(p, name)) for name in names}
    if p.ctf is not None:
        columns["ctf"] = replace(p.ctf, **{name: round_as_written(column) for name, column in p.ctf.columns().items()})
    return dataset.with_particles(**columns)


def write_particles(path, dataset: Dataset, *, results: bool = True, comments: Iterable[str] = ()) -> None:
    """Write a particle STAR file that RELION 3.1 and later read; it appears whole or not at all.

    All columns of the input are kept, in order, with the values that the dataset now has. Numbers have RELION's six
    decimals, so the dataset must be one that ``quantise`` made where a run is to continue from the file.

    Parameters
    ----------
    path : STAR file
    results : write the poses, classes and statistics of the dataset; False leaves those columns as they were read
    comments : lines for the head of the file

    Cost: about 3 s for a million rows of 25 columns
    """
    source = dataset.input if dataset.input is not None else _made_up_input(dataset)
    row = dataset.particles.row
    whole = len(row) == _n_rows(source.particles) and bool((row == np.arange(len(row))).all())
    columns = {label: column if whole else column[row] for label, column in source.particles.items()}
    if any(label in columns for label in PIXEL_ORIGINS):
        results_origin = dict(zip(ANGSTROM_ORIGINS, dataset.particles.shift_A.T))
        columns = {label: column for label, column in columns.items() if label not in PIXEL_ORIGINS} | results_origin
    if results:
        columns |= _results(dataset)
    blocks = [Block("optics", "loop", source.optics, precise=True), Block("particles", "loop", columns)]
    blocks = [block for block in source.blocks.values() if block.kind == "list"] + blocks
    blocks += [block for block in source.blocks.values() if block.kind != "list"] + _quarantine_blocks(dataset)
    write_star(path, blocks, comments=tuple(comments), allow_nan=True)


def _n_rows(columns: dict[str, np.ndarray]) -> int:
    return len(next(iter(columns.values()), ()))


def _results(dataset: Dataset) -> dict[str, np.ndarray]:
    """label -> column of everything that a classification or refinement finds out."""
    p = dataset.particles
    columns = {"rlnGroupNumber": p.group + 1, "rlnClassNumber": p.class_number}
    columns |= dict(zip(EULER, p.euler_deg.T)) | dict(zip(ANGSTROM_ORIGINS, p.shift_A.T))
    columns |= {
        "rlnNormCorrection": p.norm,
        "rlnLogLikeliContribution": p.log_likelihood,
        "rlnMaxValueProbDistribution": p.p_max,
        "rlnNrOfSignificantSamples": p.n_significant,
    }
    return columns | ({"rlnRandomSubset": p.half} if p.half.any() else {})


def _quarantine_blocks(dataset: Dataset) -> list[Block]:
    """The particles left out, so that a run that continues leaves them out from its start."""
    rows = dataset.particles.row
    left_out = np.flatnonzero(~dataset.usable).tolist()
    if not left_out:
        return []
    columns = {
        "vitreousRow": np.array(left_out) + 1,
        "rlnImageName": np.array([dataset.image_name(i) for i in left_out], object),
        "vitreousCause": np.array([dataset.quarantined[int(rows[i])] for i in left_out], object),
    }
    return [Block(QUARANTINE, "loop", columns)]


def _made_up_input(dataset: Dataset) -> ParticleInput:
    """Tables for data that came from no file."""
    p = dataset.particles
    n = int(p.row.max(initial=-1)) + 1

    def text(names: list[str], codes):
        return np.array(names, object)[codes]

    images = [f"{section:06d}@" for section in p.image_section.tolist()]
    particles = {
        "rlnImageName": np.array(images, object) + text(dataset.image_files, p.image_file),
        "rlnMicrographName": text(dataset.sources, p.source),
        "rlnOpticsGroup": p.optics + 1,
    }
    if p.ctf is not None:
        particles |= {label: getattr(p.ctf, name) for label, (name, _) in CTF.items()}
        own = {label: getattr(p.ctf, name) for label, name in CTF_OF_OPTICS.items()}
        particles |= {label: column for label, column in own.items() if column is not None}
    if dataset.group_names != dataset.sources:
        particles["rlnGroupName"] = text(dataset.group_names, p.group)
    placed = {label: np.zeros(n, column.dtype) for label, column in particles.items()}
    for label, column in particles.items():
        placed[label][p.row] = column
    return ParticleInput("", {}, optics_columns(dataset.optics), placed)
