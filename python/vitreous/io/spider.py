"""SPIDER images of one section, in which RELION keeps its maps of figures of merit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write

# Positions of the header's float32 words.
N_SLICE, N_ROW, FORM, KNOWN, MAX, MIN, MEAN, SD, N_COLUMN, N_RECORD, N_BYTES, RECORD_BYTES = (
    0,
    1,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    21,
    22,
)


def write_spider(path, image: np.ndarray, maximum: float | None = None) -> None:
    """Write an image.

    Parameters
    ----------
    image : (ny, nx) real
    maximum : to stand in the header in place of the image's, where a program keeps another number there
    """
    image = np.ascontiguousarray(image, "<f4")
    ny, nx = image.shape
    n_record = -(-1024 // (4 * nx))
    header = np.zeros(n_record * nx, "<f4")
    header[[N_SLICE, N_ROW, FORM, KNOWN, N_COLUMN]] = 1, ny, 1, 1, nx
    header[[MAX, MIN]] = image.max() if maximum is None else maximum, image.min()
    header[[MEAN, SD]] = image.mean(dtype=np.float64), image.std(dtype=np.float64)
    header[[N_RECORD, N_BYTES, RECORD_BYTES]] = n_record, header.nbytes, 4 * nx
    with atomic_write(path) as file:
        file.write(header.tobytes())
        file.write(image)


def read_spider(path) -> tuple[np.ndarray, float]:
    """(ny, nx) float32 image and the header's maximum.

    Raises  InputError: no such file, no SPIDER image, or one that was cut short.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}), expected a SPIDER image; check the name"
        ) from None
    for order in "<>":
        head = np.frombuffer(data[:1024], f"{order}f4") if len(data) >= 1024 else np.zeros(256)
        ny, nx, n_bytes = head[N_ROW], head[N_COLUMN], head[N_BYTES]
        if all(0 < v < 1e9 and v == int(v) for v in (ny, nx, n_bytes)):
            break
    else:
        raise InputError(f"{path}: has no SPIDER header, expected an image; make the file again")
    ny, nx, n_bytes = int(ny), int(nx), int(n_bytes)
    if len(data) < n_bytes + 4 * nx * ny:
        raise InputError(
            f"{path}: has {len(data)} bytes, expected {n_bytes + 4 * nx * ny}; its writing was cut short: make it again"
        )
    image = np.frombuffer(data, f"{order}f4", nx * ny, n_bytes).reshape(ny, nx).astype(np.float32)
    return image, float(head[MAX])
