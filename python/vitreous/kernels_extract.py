"""Kernels that cut particles out of micrographs, one thin function per kernel."""

from __future__ import annotations

import numpy as np

from vitreous.kernels import _check

N_STATS = 9
NO_TABLES = (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32), np.zeros(0, np.float32))


def extract_boxes(be, micrograph, centre_px, box, tables=None, *, fill=None, offset=0.0, out=None):
    """Boxes around positions of a micrograph, made smaller by leaving out high frequencies where tables are given.

    Parameters
    ----------
    micrograph : (ny, nx) float32
    centre_px : (n, 2) int64         x, y of the pixel that becomes pixel (box//2, box//2); may lie outside
    box : int                        side of the boxes that are cut, px
    tables : (cosine (m, box), sine (m, box), edge (box,)) float32   of ``engine.extract.shrink_tables``, or None
    fill : value outside of the micrograph; None = that of the nearest pixel of its edge
    offset : subtracted from every pixel, so that a large mean costs no digits

    Returns
    -------
    (n, m, m) float32                m = box without tables

    Raises  ValueError: shapes disagree.
    Source: docs/equations.md#extract     Cost: O(n box^2), with tables O(n box^2 m)
    """
    cosine, sine, edge = NO_TABLES if tables is None else tables
    side = box if tables is None else len(cosine)
    shape = (len(centre_px), side, side)
    out = be.empty(shape, np.float32) if out is None else out
    if box < 1 or 0 in micrograph.shape:
        raise ValueError(
            f"extract_boxes: box {box} and micrograph {micrograph.shape}, expected at least one pixel each"
        )
    table = (0, 0) if tables is None else (side, box)
    _check(
        "extract_boxes",
        micrograph=(micrograph, (None, None)),
        centre_px=(centre_px, (None, 2)),
        cosine=(cosine, table),
        sine=(sine, table),
        edge=(edge, (0,) if tables is None else (box,)),
        out=(out, shape),
    )
    be.lib.extract_boxes(
        micrograph, centre_px, cosine, sine, edge, fill is None, float(fill or 0.0), float(offset), int(box), out
    )
    return out


def extract_normalise(
    be, images, background, *, normalise=True, ramp=True, white_dust=0.0, black_dust=0.0, invert=False, seed=0, ids=None
):
    """Make the background of images flat with mean 0 and standard deviation 1, in place; then turn the contrast.

    Parameters
    ----------
    images : (n, b, b) float32       changed in place
    background : (1 or n, b, b) uint8    not 0 where a pixel is background; of all images, or of each
    normalise : False leaves the values, and only inverts and counts
    ramp : subtract the plane fitted to the background, else only its mean
    white_dust, black_dust : thresholds in standard deviations of the background; pixels beyond become noise; 0 = off
    invert : multiply by -1 in the end
    seed, ids : int, (n,) uint64     the noise is a function of both and the pixel; ids count from 0 where None

    Returns
    -------
    (n, 9) float64                   mean and standard deviation of the background (0: no spread, the image was left as
        it is), slopes of the ramp along x and y per px, pixels replaced; least and largest value, sum and sum of
        squares of the result; NaN where pixels are not numbers

    Raises  ValueError: shapes disagree, or a background without pixels.
    Source: docs/equations.md#normalise     Cost: O(n b^2)
    """
    n, box = len(images), images.shape[-1]
    ids = np.arange(n, dtype=np.uint64) if ids is None else ids
    stats = be.empty((n, N_STATS), np.float64)
    _check(
        "extract_normalise",
        images=(images, (None, box, box)),
        background=(background, (None, box, box)),
        ids=(ids, (n,)),
    )
    if len(background) not in (1, n) or not background.any(axis=(1, 2)).all():
        raise ValueError(
            f"extract_normalise: background has {len(background)} masks for {n} images, expected 1 or {n} "
            "with at least one pixel each"
        )
    be.lib.extract_normalise(
        images,
        background,
        bool(normalise),
        bool(ramp),
        float(white_dust),
        float(black_dust),
        -1.0 if invert else 1.0,
        int(seed),
        ids,
        stats,
    )
    return stats
