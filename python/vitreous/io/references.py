"""First references from a file: an image, a stack, or a STAR file with rlnReferenceImage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import StackReader
from vitreous.io.star import read_star
from vitreous.io.table import Table, beside, exists, factorise

PIXEL_TOLERANCE = 0.01  # relative; a stretch of 1% moves the edge of a 200 px particle by one pixel
IMAGE_SUFFIXES = (".mrc", ".mrcs", ".map", ".mrc.gz", ".mrcs.gz")


def read_references(path, box: int, pixel_size_A: float, ref_angpix: float | None = None) -> np.ndarray:
    """2D references on the grid of the particles.

    Parameters
    ----------
    path : .mrc or .mrcs, every section one reference; or a STAR file (a class selection or a model.star)
    box, pixel_size_A : of the particles
    ref_angpix : pixel size of the references where their header does not tell the truth

    Returns
    -------
    (K, box, box) float32

    Raises  InputError: no reference in the file, box or pixel size differ from the particles', or a pixel is no number.
    """
    path = Path(path)
    if not exists(path):
        raise InputError(f"{path}: is not there, expected first references (an .mrcs stack or a .star); check --ref")
    names = [str(path)] if path.name.lower().endswith(IMAGE_SUFFIXES) else _names_in_star(path)
    images, pixels_A = _read(names)
    pixels_A = [ref_angpix] * len(images) if ref_angpix else pixels_A
    if images.shape[1:] != (box, box):
        found = f"{images.shape[2]} x {images.shape[1]} px"
        raise InputError(
            f"{path}: references are {found}, expected {box} x {box} as the particles; rescale them, e.g. "
            f"relion_image_handler --i {path} --o ref.mrcs --rescale_angpix {pixel_size_A:g} --new_box {box}"
        )
    for found in pixels_A:
        # 0 and 1 are what programs write that do not know.
        if found not in (0.0, 1.0) and abs(found - pixel_size_A) > PIXEL_TOLERANCE * pixel_size_A:
            raise InputError(
                f"{path}: the pixel size is {found:g} A, expected {pixel_size_A:g} A as of the particles; rescale the "
                f"references, or pass --ref_angpix {pixel_size_A:g} where the header is wrong"
            )
    return images


def _names_in_star(path: Path) -> list[str]:
    star = read_star(path)
    for name, block in star.items():
        if "rlnReferenceImage" in block.columns:
            names = Table(path, star[name]).strings("rlnReferenceImage")
            return [beside(path, reference) for reference in names]
    found = ", ".join(f"data_{name}" for name in star)
    raise InputError(
        f"{path}: found {found} without a column rlnReferenceImage, expected one line per reference; "
        "give a class_averages.star, a run_itNNN_model.star or an .mrcs stack"
    )


def read_images(names: list[str]) -> np.ndarray:
    """Images by name: ``000012@stack.mrcs`` is one section, a name without @ all of a file.

    Returns
    -------
    (n, box, box) float32, in the order of the names

    Raises  InputError: a file or section is missing, sizes differ, or a pixel is no number.
    """
    return _read(names)[0]


def _read(names: list[str]) -> tuple[np.ndarray, list[float]]:
    """The images and the pixel size, A, in each one's header."""
    parts = [name.rpartition("@") for name in names]
    files, file_of = factorise([file for _, _, file in parts])
    images: list[np.ndarray] = []
    pixels_A: list[float] = []
    places: list[int] = []
    for i_file, file in enumerate(files):
        mine = np.flatnonzero(file_of == i_file)
        with _opened(file) as reader:
            sections = [_sections(names[i], parts[i][0], reader.n_sections) for i in mine]
            flat = np.concatenate(sections)
            images.append(reader.read(flat))
            pixels_A += [reader.pixel_size_A] * len(flat)
            places += [int(i) for i, own in zip(mine, sections) for _ in own]
    shapes = {stack.shape[1:] for stack in images}
    if len(shapes) > 1:
        raise InputError(f"{files[0]} and others: images have sizes {sorted(shapes)}, expected one size; rescale them")
    order = np.argsort(places, kind="stable")
    stack = np.concatenate(images)[order]
    if not np.isfinite(stack).all():
        bad = int(np.flatnonzero(~np.isfinite(stack).all(axis=(1, 2)))[0])
        raise InputError(
            f"{names[min(bad, len(names) - 1)]}: holds NaN or infinity, expected numbers; leave this image out"
        )
    return np.ascontiguousarray(stack, np.float32), [pixels_A[i] for i in order]


def _opened(file: str) -> StackReader:
    if not exists(file):
        raise InputError(f"{file}: is not there, expected a stack of references; run where the name starts from")
    return StackReader(file)


def _sections(name: str, section: str, n: int) -> np.ndarray:
    """1-based sections that a name means."""
    if not section:
        return 1 + np.arange(n)
    if not section.isdigit() or not 1 <= int(section) <= n:
        raise InputError(f"{name}: found section {section}, expected 1 to {n}; correct the name or restore the stack")
    return np.array([int(section)])
