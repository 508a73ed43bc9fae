"""Particles from a micrograph: boxes, CTF multiplication, rescaling, a flat background, contrast; and new centres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from vitreous.errors import InputError
from vitreous.kernels_extract import extract_boxes, extract_normalise
from vitreous.kernels_image import ctf_image
from vitreous.model.ctf import even_phase, frequencies

BATCH_BYTES = 16 << 20  # of boxes before rescaling, which stay near the caches; memory does not grow with their number
# Columns of the kernel's statistics.
BACKGROUND_MEAN, BACKGROUND_STD, SLOPE_X, SLOPE_Y, N_DUST, LEAST, LARGEST, SUM, SQUARES = range(9)


@dataclass(frozen=True)
class Recipe:
    """What is done to every box, in this order: cut, CTF, rescale, re-window, normalise, invert.

    Parameters
    ----------
    box : side of the cut boxes, px of the micrograph; even
    scale, window : sides after rescaling and re-windowing, px; None = not done
    normalise, ramp, bg_radius_px : flat background outside of a circle; its radius in px of the final image
    white_dust, black_dust : thresholds in standard deviations; 0 = off
    invert : dark particles become bright
    multiply : "", "ctf" (premultiply) or "sign" (flip phases); intact_first_peak leaves low frequencies alone
    multiply_box : side of the boxes for that, px; None = box
    tube_radius_px : background of segments is farther than this from the axis, px of the final image; None = circle
    seed : of the noise that replaces dust
    """

    box: int
    scale: int | None = None
    window: int | None = None
    normalise: bool = False
    ramp: bool = True
    bg_radius_px: float = 0.0
    white_dust: float = 0.0
    black_dust: float = 0.0
    invert: bool = False
    multiply: str = ""
    intact_first_peak: bool = False
    multiply_box: int | None = None
    tube_radius_px: float | None = None
    seed: int = 0

    @property
    def rescaled(self) -> int:
        return self.scale or self.box

    @property
    def changes_grid(self) -> bool:
        """Whether pixels are mixed, so that a large mean would cost digits."""
        return bool(self.multiply) or self.rescaled != self.box

    @property
    def final(self) -> int:
        """Side of the images that come out, px."""
        return self.window or self.rescaled


@dataclass(frozen=True, eq=False)
class Boxes:
    """Particles of one batch.

    Attributes
    ----------
    rows : (n,) int                  which of the given positions
    images : (n, b, b) float32
    stats : (n, 9) float64           see ``kernels_extract.extract_normalise``
    """

    rows: np.ndarray
    images: np.ndarray
    stats: np.ndarray


@dataclass
class Tables:
    """What all micrographs share; made once by ``prepare``."""

    shrink: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    background: np.ndarray
    frequencies: dict = field(default_factory=dict)


def shrink_tables(box: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables by which ``extract_boxes`` leaves out all frequencies beyond ``side`` / 2: an image on a coarser grid.

    Returns
    -------
    cosine, sine : (side, box) float32; edge : (box,) float32

    Source: docs/equations.md#extract
    """
    x, from_x = np.arange(side)[:, None] / side, np.arange(box)[None] / box
    k = np.arange(1, side // 2)
    waves = 2 * np.exp(2j * np.pi * x * k) @ np.exp(-2j * np.pi * from_x.T * k).T  # e^{2 pi i k (x - x')}, summed over k
    cosine = 1 + np.cos(np.pi * side * (x - from_x)) + waves.real
    sine = np.sin(np.pi * side * (x - from_x)) + waves.imag
    edge = -np.sin(np.pi * side * from_x[0]) / box
    return tuple(np.ascontiguousarray(t, np.float32) for t in (cosine / box, sine / box, edge))


def resize(images: np.ndarray, side: int, workers: int = 1) -> np.ndarray:
    """Images on another grid of the same extent: high frequencies left out or zeros added; grey values stay.

    Parameters
    ----------
    images : (n, b, b) float32
    side : px; where it is more than b, only frequencies up to b/2 in every direction are kept

    Returns
    -------
    (n, side, side) float32
    """
    box = images.shape[-1]
    if side == box:
        return images
    from scipy import fft  # takes longer to import than many runs to extract

    ft = fft.rfft2(images, norm="forward", workers=workers)
    n = min(side, box)
    out = np.zeros((len(images), side, side // 2 + 1), ft.dtype)
    ky = np.arange(-((n - 1) // 2), n // 2 + 1)  # the unpaired frequency is +n/2
    out[:, ky[:, None], np.arange(n // 2 + 1)] = ft[:, ky[:, None], np.arange(n // 2 + 1)]
    if side > box:
        inside = np.hypot(ky[:, None], np.arange(n // 2 + 1)) <= box / 2
        out[:, ky[:, None], np.arange(n // 2 + 1)] *= inside
    return fft.irfft2(out, (side, side), norm="forward", workers=workers).astype(np.float32, copy=False)


def rewindow(images: np.ndarray, side: int, fill: float = 0.0) -> np.ndarray:
    """The central part of images, or ``fill`` around them; pixel b//2 becomes pixel side//2."""
    box = images.shape[-1]
    if side == box:
        return images
    if side < box:
        first = box // 2 - side // 2
        return np.ascontiguousarray(images[:, first : first + side, first : first + side])
    out = np.full((len(images), side, side), fill, np.float32)
    first = side // 2 - box // 2
    out[:, first : first + box, first : first + box] = images
    return out


def outside_circle(box: int, radius_px: float) -> np.ndarray:
    """(1, box, box) uint8, 1 where the distance from pixel box//2 is more than ``radius_px``."""
    x = np.arange(box) - box // 2
    return (x[:, None] ** 2 + x[None] ** 2 > radius_px**2).astype(np.uint8)[None]


def outside_tube(box: int, radius_px: float, psi_deg: np.ndarray) -> np.ndarray:
    """(n, box, box) uint8, 1 where the distance from the axis of a tube with that rlnAnglePsiPrior is larger."""
    x = np.arange(box) - box // 2
    psi = np.deg2rad(np.asarray(psi_deg, float))[:, None, None]
    # The axis runs along (cos psi, -sin psi), as psi is minus the angle of the track.
    across = x[None, None, :] * np.sin(psi) + x[None, :, None] * np.cos(psi)
    return (np.abs(across) > radius_px).astype(np.uint8)


def prepare(recipe: Recipe) -> Tables:
    """Tables for ``extract``."""
    smaller = not recipe.multiply and recipe.rescaled < recipe.box
    shrink = shrink_tables(recipe.box, recipe.rescaled) if smaller else None
    background = outside_circle(recipe.final, recipe.bg_radius_px if recipe.normalise else 0.0)
    return Tables(shrink, background)


def touches(shape: tuple[int, int], centre_px: np.ndarray, box: int) -> np.ndarray:
    """Which boxes have at least one pixel inside a micrograph.

    Parameters
    ----------
    shape : (ny, nx)
    centre_px : (n, 2) int           x, y

    Returns
    -------
    (n,) bool
    """
    first = np.asarray(centre_px) - box // 2
    return ((first + box > 0) & (first < np.array(shape[::-1]))).all(axis=1)


def extract(
    be,
    micrograph,
    centre_px,
    recipe: Recipe,
    tables: Tables,
    *,
    ctf=None,
    optics=None,
    psi_deg=None,
    first_id: int = 0,
    take: Callable[[tuple[int, int, int]], np.ndarray] | None = None,
) -> Iterator[Boxes]:
    """Particles of a micrograph, a batch at a time; the arrays of a batch are the caller's to keep.

    Parameters
    ----------
    micrograph : (ny, nx) float32
    centre_px : (n, 2) int64         x, y of the pixels that become the centres
    tables : of ``prepare`` for this recipe
    ctf : (1 or n, 9) float64        parameters of ``kernels_image.ctf_image``; needed where the recipe multiplies
    optics : OpticsGroup             of the micrograph, with its pixel size; needed as ctf
    psi_deg : (n,) float             rlnAnglePsiPrior, needed for a tube
    first_id : number of the first particle, for the noise that replaces dust
    take : gives memory (float32, C-contiguous) for images of a shape; fresh memory where None
    """
    n_pixels = max(recipe.box, recipe.multiply_box or 0) ** 2
    at_once = max(1, BATCH_BYTES // (4 * n_pixels))
    # A share of the pixels tells the mean well enough: it only keeps numbers small.
    offset = _mean(micrograph[::8, ::8]) if recipe.changes_grid else 0.0
    fill = _mean(micrograph) if recipe.multiply else 0.0
    for first in range(0, len(centre_px), at_once):
        rows = np.arange(first, min(first + at_once, len(centre_px)))
        centres = np.ascontiguousarray(centre_px[rows], np.int64)
        if recipe.multiply:
            parameters = ctf if len(ctf) == 1 else ctf[rows]
            images = _multiplied(be, micrograph, centres, recipe, tables, parameters, optics, fill, offset)
        else:
            side = recipe.box if tables.shrink is None else recipe.rescaled
            out = None if take is None else take((len(rows), side, side))
            images = extract_boxes(be, micrograph, centres, recipe.box, tables.shrink, offset=offset, out=out)
        images = resize(images, recipe.rescaled, be.n_threads)
        if not recipe.normalise and offset:
            images += np.float32(offset)
        images = rewindow(images, recipe.final, -offset if recipe.normalise else 0.0)
        background = tables.background
        if recipe.tube_radius_px is not None:
            background = outside_tube(recipe.final, recipe.tube_radius_px, psi_deg[rows])
        stats = normalise(be, images, background, recipe, (first_id + rows).astype(np.uint64))
        yield Boxes(rows, images, stats)


def normalise(be, images, background, recipe: Recipe, ids) -> np.ndarray:
    """The recipe's last steps on images, in place; returns the kernel's statistics."""
    return extract_normalise(
        be, images, background, normalise=recipe.normalise, ramp=recipe.ramp, white_dust=recipe.white_dust,
        black_dust=recipe.black_dust, invert=recipe.invert, seed=recipe.seed, ids=ids,
    )  # fmt: skip


def _multiplied(be, micrograph, centres, recipe, tables, parameters, optics, fill, offset):
    """Boxes multiplied by their CTF in a larger window, for that filled with the micrograph's mean outside."""
    side = recipe.multiply_box or recipe.box
    images = extract_boxes(be, micrograph, centres, side, fill=fill, offset=offset)
    if optics not in tables.frequencies:
        kx, ky = np.meshgrid(np.arange(side // 2 + 1), np.fft.fftfreq(side, 1 / side))
        ky[side // 2] = np.abs(ky[side // 2])  # the unpaired frequency is positive
        fx, fy = frequencies(kx.ravel(), ky.ravel(), side, optics.pixel_size_A, optics.magnification)
        tables.frequencies[optics] = fx, fy, even_phase(optics, fx, fy)
    fx, fy, even = tables.frequencies[optics]
    factor = ctf_image(
        be,
        fx,
        fy,
        parameters,
        even,
        intact_first_peak=recipe.intact_first_peak,
        only_flip_phases=recipe.multiply == "sign",
    )
    from scipy import fft

    ft = fft.rfft2(images.astype(np.float64), workers=be.n_threads)  # pixels over the edge make large steps
    ft *= factor.reshape(-1, side, side // 2 + 1)
    out = fft.irfft2(ft, (side, side), workers=be.n_threads).astype(np.float32, copy=False)
    out += (factor[:, 0, None, None] - 1) * np.float32(offset)  # what the CTF does to the constant that was left out
    return _clamped(rewindow(out, recipe.box), centres, micrograph.shape)


def _mean(image: np.ndarray) -> float:
    """Mean of the pixels that are numbers."""
    mean = float(image.mean(dtype=np.float64))
    if not np.isfinite(mean):
        good = image[np.isfinite(image)]
        mean = float(good.mean(dtype=np.float64)) if good.size else 0.0
    return mean


def _clamped(images: np.ndarray, centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels outside of the micrograph get the value of the nearest one inside, in place: as RELION after the CTF."""
    box = images.shape[-1]
    first = centres - box // 2
    for i in np.flatnonzero(((first < 0) | (first + box > np.array(shape[::-1]))).any(axis=1)):
        x, y = (np.clip(np.arange(box) + first[i, a], 0, shape[1 - a] - 1) - first[i, a] for a in (0, 1))
        images[i] = images[i][np.clip(y, 0, box - 1)[:, None], np.clip(x, 0, box - 1)]
    return images


def recentred(coordinate_px, shift_A, rotation, pixel_ratio: float, micrograph_pixel_A: float, centre_px=None):
    """New positions and offsets of refined particles whose point ``centre_px`` of the reference shall be the centre.

    Parameters
    ----------
    coordinate_px : (n, d) float     position in the micrograph, px; d = 2 or 3
    shift_A : (n, d) float           rlnOrigin*Angst: what has to be added to the image to centre it
    rotation : (n, 3, 3) float       A(rot, tilt, psi): reference to image coordinates
    pixel_ratio : pixel of the reference over that of the micrograph
    micrograph_pixel_A : A
    centre_px : (3,) float           from the box centre, px of the reference; None = the centre itself

    Returns
    -------
    coordinate_px : (n, d) float64   moved by whole pixels
    shift_A : (n, d) float64         what is left
    """
    coordinate_px = np.asarray(coordinate_px, float)
    d = coordinate_px.shape[1]
    offset_px = np.asarray(shift_A, float) / micrograph_pixel_A
    if centre_px is not None:
        offset_px = offset_px - (rotation @ np.asarray(centre_px, float))[:, :d] * pixel_ratio
    whole = np.trunc(offset_px + np.copysign(0.5, offset_px))  # half away from zero, as RELION rounds
    return coordinate_px - whole, (offset_px - whole) * micrograph_pixel_A


def whole_pixels(coordinates_px, bias_px=(0, 0)) -> np.ndarray:
    """(n, 2) int64 pixels that become box centres: the fraction is cut off, as in RELION, not rounded."""
    return np.trunc(np.asarray(coordinates_px, float)[:, :2] + np.asarray(bias_px)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of helical tubes, one row each."""

    coordinate_px: np.ndarray  # (n, 2)
    tube: np.ndarray  # (n,) from 1
    psi_deg: np.ndarray  # (n,)
    track_A: np.ndarray  # (n,) distance from the tube's first segment


def cut_tubes(ends_px, shape, box: int, step_px: float | None, pixel_size_A: float) -> Segments:
    """Segments along straight tubes given by their two ends.

    Parameters
    ----------
    ends_px : (2 n_tubes, 2) float   x, y; start and end of each tube in turn
    shape : (ny, nx) of the micrograph; segments whose box would leave it are left out
    step_px : distance of segments; None = one segment at the middle of each tube
    pixel_size_A : of the micrograph

    Raises  InputError: an odd number of ends.
    """
    ends = np.asarray(ends_px, float)
    if len(ends) % 2:
        raise InputError(f"found {len(ends)} ends of tubes, expected a start and an end of each; remove or add one")
    found = []
    for i, (start, stop) in enumerate(ends.reshape(-1, 2, 2), 1):
        delta = stop - start
        length = float(np.hypot(*delta))
        if length == 0:
            continue
        psi = -np.rad2deg(np.arctan2(delta[1], delta[0]))
        along = np.array([length / 2]) if step_px is None else np.arange(0.01 * step_px, length, step_px)
        at = start + along[:, None] * delta / length
        inside = ((at >= box / 2) & (at <= np.array(shape[::-1]) - box / 2)).all(axis=1)
        found += [(*p, i, psi, (t - along[0]) * pixel_size_A) for p, t in zip(at[inside], along[inside])]
    rows = np.array(found, float).reshape(-1, 5)
    return Segments(rows[:, :2], rows[:, 2].astype(np.int64), rows[:, 3], rows[:, 4])
