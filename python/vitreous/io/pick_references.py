"""References for picking: images of a stack or a STAR file, with the pixel size that the first one's header tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import StackReader, read_mrc
from vitreous.io.star import read_star
from vitreous.io.table import Table, beside, exists

LABELS = ("rlnReferenceImage", "rlnImageName")
VOLUME_SUFFIXES = (".mrc", ".map", ".rec")


def is_volume(path: str) -> bool:
    """Whether a reference is a map: a file with several sections that is no stack by its name."""
    if not Path(path).name.lower().endswith(VOLUME_SUFFIXES):
        return False
    with StackReader(path) as reader:
        return reader.n_sections > 1


def read_pick_references(path: str) -> tuple[np.ndarray, float]:
    """Reference images.

    Parameters
    ----------
    path : a stack, or a STAR file with rlnReferenceImage or rlnImageName

    Returns
    -------
    images : (n, b, b) float32
    pixel_size_A : of the first image's header; 0 where it has none

    Raises  InputError: nothing found, images of different size or not square, or a pixel is no number.
    """
    if not exists(path):
        raise InputError(
            f"--ref {path}: is not there, expected references (an .mrcs stack or a .star) or the word gauss; check "
            "the name"
        )
    if not path.endswith(".star"):
        images, pixel_A = read_mrc(path)
        return _checked(path, images), pixel_A
    for block in read_star(path).values():
        label = next((label for label in LABELS if label in block), None)
        if label:
            names = [beside(path, name) for name in Table(path, block).strings(label)]
            return _read(path, names)
    raise InputError(
        f"--ref {path}: found no column {LABELS[0]} or {LABELS[1]}, expected one line per reference; give a "
        "class_averages.star"
    )


def _read(path, names):
    images, pixel_A = [], 0.0
    for name in names:
        section, at, file = name.rpartition("@")
        with StackReader(file) as reader:
            images.append(reader.read([int(section) if at else 1])[0])
            pixel_A = pixel_A or reader.pixel_size_A
    if len({image.shape for image in images}) > 1:
        raise InputError(
            f"--ref {path}: images have sizes {sorted({image.shape for image in images})}, expected one; rescale them"
        )
    return _checked(path, np.stack(images)), pixel_A


def _checked(path, images):
    if images.shape[1] != images.shape[2]:
        raise InputError(
            f"--ref {path}: images are {images.shape[2]} x {images.shape[1]} px, expected squares; crop them"
        )
    bad = np.flatnonzero(~np.isfinite(images).all((1, 2)))
    if len(bad):
        raise InputError(f"--ref {path}: reference {bad[0] + 1} has pixels that are no finite numbers; leave it out")
    flat = np.flatnonzero(np.ptp(images, (1, 2)) == 0)
    if len(flat) and not is_volume(path):  # a map may have empty sections
        raise InputError(
            f"--ref {path}: all pixels of reference {flat[0] + 1} are alike, expected an image; leave it out of the "
            "references"
        )
    return images
