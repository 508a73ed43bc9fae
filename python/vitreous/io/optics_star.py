"""Optics groups from and to STAR tables, including the times before there were any (RELION 3.0 and older)."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from vitreous.errors import InputError
from vitreous.io.table import Table
from vitreous.model.optics import OpticsGroup

# What RELION 3.0 kept in every row and 3.1 keeps per group.
OLD_ROW_LABELS = (
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnBeamTiltX",
    "rlnBeamTiltY",
    "rlnDetectorPixelSize",
    "rlnMagnification",
    "rlnImagePixelSize",
    "rlnPixelSize",
)
MAGNIFICATION_LABELS = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")


def parse_vector(text) -> tuple[float, ...]:
    """``[1.5,-2]`` -> (1.5, -2.0); an empty vector or string gives ().

    Raises  ValueError: not numbers.
    """
    inner = str(text).strip().strip("[]").strip()
    return tuple(float(word) for word in inner.split(",")) if inner else ()


# Needed for a CTF: label -> what it is, and the value that RELION assumes where it is in no table.
NEEDED_FOR_CTF = {
    "rlnVoltage": ("the acceleration voltage in kV", 200.0),
    "rlnSphericalAberration": ("the spherical aberration in mm", 0.0),
    "rlnAmplitudeContrast": ("the fraction of amplitude contrast", 0.0),
}


def read_optics(table: Table, need_ctf: bool, in_rows: Container[str] = ()) -> list[OpticsGroup]:
    """The optics groups of a table, in its order, numbered 1..n.

    The box is 0 where the table has no rlnImageSize: the caller reads it from an image.

    Parameters
    ----------
    table : data_optics
    need_ctf : voltage, spherical aberration and amplitude contrast must be there
    in_rows : labels of those three that every particle has itself, which will do

    Raises  InputError: a column is missing, a value cannot be meant, two groups have one name.
    """
    for label, (meaning, _) in NEEDED_FOR_CTF.items():
        if need_ctf and label not in in_rows:
            table.require(label, meaning, "add the column to data_optics, or run without --ctf")
    table.require(
        "rlnImagePixelSize",
        "the pixel size of the particle images in A",
        "add it to data_optics (equal to rlnMicrographPixelSize where particles were not rescaled)",
    )
    _check_numbers(table)
    groups = [_group(table, i) for i in range(len(table))]
    names = [group.name for group in groups]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise table.bad_value("rlnOpticsGroupName", i, "another name for every group", "rename one of the two")
    return groups


def _check_numbers(table: Table) -> None:
    """Refuse values that cannot be meant: they are in another unit more often than not."""
    limits = [
        ("rlnVoltage", 10.0, 2000.0, "kV", "divide by 1000 where it is in V"),
        ("rlnSphericalAberration", 0.0, 20.0, "mm", "give it in mm"),
        ("rlnAmplitudeContrast", 0.0, 1.0, "a fraction", "divide by 100 where it is in percent"),
        ("rlnImagePixelSize", 0.05, 1000.0, "A", "give the pixel size of the images in A"),
    ]
    for label, low, high, unit, to_do in limits:
        values = table.numbers(label) if label in table else np.zeros(0)
        wrong = np.flatnonzero(~((values >= low) & (values <= high)))
        if len(wrong):
            raise table.bad_value(label, wrong[0], f"{low:g} to {high:g} ({unit})", to_do)


def _group(table: Table, i: int) -> OpticsGroup:
    def number(label, default=0.0):
        return float(table.numbers(label, default)[i])

    def text(label, default=""):
        value = table.strings(label)[i] if label in table else default
        return default if value in ("", "None", '""') else value

    def vector(label):
        try:
            return parse_vector(text(label))
        except ValueError:
            raise table.bad_value(label, i, "numbers as [a,b,c]", "correct the vector") from None

    m = [number(label, default) for label, default in zip(MAGNIFICATION_LABELS, (1.0, 0.0, 0.0, 1.0))]
    return OpticsGroup(
        name=text("rlnOpticsGroupName", f"opticsGroup{i + 1}"),
        number=i + 1,
        voltage_kV=number("rlnVoltage", NEEDED_FOR_CTF["rlnVoltage"][1]),
        Cs_mm=number("rlnSphericalAberration"),
        amplitude_contrast=number("rlnAmplitudeContrast"),
        pixel_size_A=number("rlnImagePixelSize"),
        box=int(number("rlnImageSize")),
        dimensionality=int(number("rlnImageDimensionality", 2)),
        beam_tilt_mrad=(number("rlnBeamTiltX"), number("rlnBeamTiltY")),
        odd_zernike=vector("rlnOddZernike"),
        even_zernike=vector("rlnEvenZernike"),
        magnification=((m[0], m[1]), (m[2], m[3])),
        premultiplied=bool(number("rlnCtfDataAreCtfPremultiplied")),
        phase_flipped=bool(number("rlnCtfDataArePhaseFlipped")),
        ctf_corrected=bool(number("rlnCtfDataAreCtfCorrected")),
        mtf_file=text("rlnMtfFileName"),
        original_pixel_size_A=number("rlnMicrographOriginalPixelSize"),
    )


def group_indices(table: Table, optics: Table) -> np.ndarray:
    """For each row of ``table`` the row of its group in ``optics``.

    Returns
    -------
    (n,) int32

    Raises  InputError: a group has no row in data_optics, or two.
    """
    numbers = optics.integers("rlnOpticsGroup") if "rlnOpticsGroup" in optics else 1 + np.arange(len(optics))
    order = np.argsort(numbers, kind="stable")
    repeated = order[1:][np.diff(numbers[order]) == 0]
    if len(repeated):
        raise optics.bad_value("rlnOpticsGroup", repeated[0], "another number for every group", "renumber the groups")
    if "rlnOpticsGroup" not in table:
        if len(numbers) == 1:
            return np.zeros(len(table), np.int32)
        table.require("rlnOpticsGroup", f"one of the {len(numbers)} groups of data_optics", "add the column")
    wanted = table.integers("rlnOpticsGroup")
    found = order[np.searchsorted(numbers[order], wanted).clip(0, len(order) - 1)]
    wrong = np.flatnonzero(numbers[found] != wanted)
    if len(wrong):
        known = ", ".join(str(n) for n in sorted(numbers)[:10])
        raise table.bad_value("rlnOpticsGroup", wrong[0], f"a group of data_optics ({known})", "add that group there")
    return found.astype(np.int32)


def old_optics(table: Table) -> tuple[dict[str, np.ndarray], np.ndarray, set[str]]:
    """Optics groups of a table that has none: one for each distinct set of optical parameters in its rows.

    Returns
    -------
    columns : label -> (n_groups,) array, a data_optics table
    index : (n,) int32      row of that table for each particle
    moved : labels of the particle table that now live in data_optics
    """
    present = [label for label in OLD_ROW_LABELS if label in table]
    values = np.column_stack([table.numbers(label) for label in present] or [np.zeros(len(table))])
    # Rows of one micrograph follow each other, so runs are compared first and only their heads are sorted.
    heads = np.r_[True, (values[1:] != values[:-1]).any(axis=1)]
    distinct, inverse = np.unique(values[heads], axis=0, return_inverse=True)
    inverse = inverse.ravel()
    # number the groups by first appearance
    order = np.argsort(np.unique(inverse, return_index=True)[1], kind="stable")
    rank = np.argsort(order)
    index = rank[inverse][np.cumsum(heads) - 1].astype(np.int32)
    found = dict(zip(present, distinct[order].T))
    n = len(distinct)
    columns: dict[str, np.ndarray] = {
        "rlnOpticsGroup": 1 + np.arange(n),
        "rlnOpticsGroupName": np.array([f"opticsGroup{i + 1}" for i in range(n)], object),
        "rlnImagePixelSize": _old_pixel_size(table, found),
    }
    columns |= {label: found[label] for label in (*NEEDED_FOR_CTF, "rlnBeamTiltX", "rlnBeamTiltY") if label in found}
    return columns, index, set(present)


def _old_pixel_size(table: Table, found: dict[str, np.ndarray]) -> np.ndarray:
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        if label in found:
            return found[label]
    meaning = "the pixel size of the images, as 10000 rlnDetectorPixelSize / rlnMagnification"
    to_do = "add rlnDetectorPixelSize (um) and rlnMagnification, or a data_optics table with rlnImagePixelSize (A)"
    for label in ("rlnDetectorPixelSize", "rlnMagnification"):
        if label not in found:
            raise table.missing(label, meaning, to_do)
        if not (found[label] > 0).all():
            raise InputError(f"{table.where()}: {label} is {found[label].min():g}, expected > 0; {to_do}")
    return 1e4 * found["rlnDetectorPixelSize"] / found["rlnMagnification"]


def optics_columns(groups: list[OpticsGroup]) -> dict[str, np.ndarray]:
    """A data_optics table of made-up groups; aberrations are written where any group has them."""

    def column(values, kind=None):
        return np.array(list(values), kind)

    columns = {
        "rlnOpticsGroup": 1 + np.arange(len(groups)),
        "rlnOpticsGroupName": column((g.name for g in groups), object),
        "rlnVoltage": column((g.voltage_kV for g in groups), float),
        "rlnSphericalAberration": column((g.Cs_mm for g in groups), float),
        "rlnAmplitudeContrast": column((g.amplitude_contrast for g in groups), float),
        "rlnImagePixelSize": column((g.pixel_size_A for g in groups), float),
        "rlnImageSize": column(g.box for g in groups),
        "rlnImageDimensionality": column(g.dimensionality for g in groups),
        "rlnCtfDataAreCtfPremultiplied": column(int(g.premultiplied) for g in groups),
    }
    if any(any(g.beam_tilt_mrad) for g in groups):
        columns["rlnBeamTiltX"] = column((g.beam_tilt_mrad[0] for g in groups), float)
        columns["rlnBeamTiltY"] = column((g.beam_tilt_mrad[1] for g in groups), float)
    for label, name in (("rlnOddZernike", "odd_zernike"), ("rlnEvenZernike", "even_zernike")):
        vectors = [getattr(g, name) for g in groups]
        if any(vectors):
            columns[label] = column(("[" + ",".join(f"{v:.12g}" for v in vector) + "]" for vector in vectors), object)
    if len({g.magnification for g in groups} | {((1.0, 0.0), (0.0, 1.0))}) > 1:
        flat = np.array([g.magnification for g in groups]).reshape(-1, 4)
        columns |= dict(zip(MAGNIFICATION_LABELS, flat.T))
    for label, name in (("rlnCtfDataArePhaseFlipped", "phase_flipped"), ("rlnCtfDataAreCtfCorrected", "ctf_corrected")):
        if any(getattr(g, name) for g in groups):
            columns[label] = column(int(getattr(g, name)) for g in groups)
    if any(g.mtf_file for g in groups):
        columns["rlnMtfFileName"] = column((g.mtf_file for g in groups), object)
    if any(g.original_pixel_size_A for g in groups):
        columns["rlnMicrographOriginalPixelSize"] = column((g.original_pixel_size_A for g in groups), float)
    return columns
