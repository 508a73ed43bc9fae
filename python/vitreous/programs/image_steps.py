"""The operations of image-handler as a list of steps, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitreous.engine import filters, fsc, image_ops
from vitreous.errors import InputError
from vitreous.io.references import read_images
from vitreous.model.symmetry import Symmetry
from vitreous.programs.image_handler_options import Options

Step = Callable[[np.ndarray, int], np.ndarray]  # image and its number, from 0 -> image
NEED_PIXEL = ("bfactor", "lowpass", "highpass", "LoG", "rescale_angpix", "phase_randomise", "optimise_bfactor_subtract")
MOVES = ("flipX", "flipY", "flipZ", "invert_hand", "flipXY", "flipmXY", "shift_com", "shift_x", "shift_y", "shift_z")


@dataclass
class Pipeline:
    """Steps for images of one shape and pixel size.

    Attributes
    ----------
    steps : what to do to each image
    shape, pixel_size_A : of the images that come out
    """

    shape: tuple[int, ...]
    pixel_size_A: float
    steps: list[Step] = field(default_factory=list)

    def add(self, function: Callable[..., np.ndarray], *arguments: Any) -> None:
        """A step that looks at the image alone."""
        self.steps.append(lambda image, i: function(image, *arguments))

    def __call__(self, image: np.ndarray, i_image: int) -> np.ndarray:
        for step in self.steps:
            image = step(image, i_image)
        return np.ascontiguousarray(image, np.float32)


def build(options: Options, shape: tuple[int, ...], pixel_size_A: float) -> Pipeline:
    """The steps that the options ask for.

    Parameters
    ----------
    shape : (ny, nx) or (nz, ny, nx) of the images
    pixel_size_A : 0 where nobody knows

    Raises  InputError: a step that images of this shape do not have, or one that needs a pixel size.
    """
    _check(options, shape, pixel_size_A)
    line = Pipeline(shape, pixel_size_A)
    if options.add_edge:
        line.add(image_ops.edges_repeated, options.edge_x0, options.edge_y0, options.edge_xF, options.edge_yF)
    if options.flipXY:
        line.add(image_ops.transposed)
    if options.flipmXY:
        line.add(image_ops.antitransposed)
    if options.flipXY != options.flipmXY:
        line.shape = (*shape[:-2], shape[-1], shape[-2])
    if options.remove_nan:
        line.add(lambda image: np.where(np.isfinite(image), image, np.float32(options.replace_nan)))
    if options.phase_randomise is not None:
        line.steps.append(_phase_randomiser(options, line))
    _arithmetic(options, line)
    _filters(options, line)
    _geometry(options, line)
    if options.threshold_above is not None:
        line.add(np.minimum, np.float32(options.threshold_above))
    if options.threshold_below is not None:
        line.add(np.maximum, np.float32(options.threshold_below))
    return line


def _check(options: Options, shape: tuple[int, ...], pixel_size_A: float) -> None:
    needing = [name for name in NEED_PIXEL if getattr(options, name)]
    if needing and not pixel_size_A > 0:
        raise InputError(f"--{needing[0]}: the image has no pixel size in its header, expected one; give --angpix")
    for flags, n_axes, what in ((("flipXY", "flipmXY", "add_edge"), 2, "an image"), (("flipZ", "sym"), 3, "a map")):
        for flag in flags:
            if getattr(options, flag) and len(shape) != n_axes:
                raise InputError(f"--{flag}: found {len(shape)} axes, expected {what}; leave it out, or give {what} "
                                 "(.mrcs is a stack of images, .mrc with several sections a map)")  # fmt: skip
    if options.shift_z and len(shape) == 2:
        raise InputError("--shift_z: found images, expected a map; leave it out")
    if options.directional is not None and options.directional.upper() not in ("X", "Y", "Z")[: len(shape)]:
        raise InputError(
            f"--directional: found {options.directional!r}, expected X, Y or, for maps, Z; give one of them"
        )
    if options.directional is not None and options.lowpass is None:
        raise InputError("--directional: found no --lowpass, expected one to give a direction to; give it")
    if options.optimise_bfactor_subtract and not options.optimise_scale_subtract:
        raise InputError("--optimise_bfactor_subtract: expected --optimise_scale_subtract beside it; give that too")
    if options.optimise_scale_subtract and not options.subtract:
        raise InputError("--optimise_scale_subtract: found no --subtract, expected the image to scale; give it")
    if options.divide_constant == 0:
        raise InputError("--divide_constant: found 0, expected another number; give one")
    if options.invert_hand and options.flipX:
        raise InputError("--invert_hand: found --flipX beside it, expected one of the two mirrors; leave one out")
    if options.shift_com and (options.shift_x or options.shift_y or options.shift_z):
        raise InputError("--shift_com: found --shift_x, y or z beside it, expected one way to shift; leave one out")


def _phase_randomiser(options: Options, line: Pipeline) -> Step:
    shape = line.shape
    first = int(max(shape) * line.pixel_size_A / options.phase_randomise)

    def step(image, i_image):
        ft = filters.forward(image)
        return filters.inverse(fsc.randomise_phases(ft, shape, first, options.random_seed, i_image), shape)

    return step


def operand(path: str, flag: str, shape: tuple[int, ...]) -> np.ndarray:
    """The image of an option, of the same shape as the images.

    Raises  InputError: not one image of that size.
    """
    found = read_images([path])
    found = found[0] if len(shape) == 2 and len(found) == 1 else found
    if found.shape != tuple(shape):
        words = [" x ".join(map(str, s[::-1])) for s in (found.shape, shape)]
        todo = f"name one section, as 000001@{path}" if found.shape[1:] == tuple(shape) else "resample it"
        raise InputError(f"--{flag} {path}: is {words[0]} px, expected {words[1]} as the input; {todo}")
    return found


def _arithmetic(options: Options, line: Pipeline) -> None:
    for value, function in (
        (options.multiply_constant, np.multiply), (options.divide_constant, np.divide),
    ):  # fmt: skip
        if value != 1:
            line.add(function, np.float32(value))
    for value, function in ((options.add_constant, np.add), (options.subtract_constant, np.subtract)):
        if value != 0:
            line.add(function, np.float32(value))
    for flag, function in (("multiply", np.multiply), ("divide", image_ops.divided), ("add", np.add)):
        if getattr(options, flag):
            line.add(function, operand(getattr(options, flag), flag, line.shape))
    if options.subtract:
        line.add(_subtraction(options, line))
    if options.adjust_power:
        line.add(image_ops.with_power_of, operand(options.adjust_power, "adjust_power", line.shape))
    if options.fourier_filter:
        line.add(_times_filter, half_filter(options.fourier_filter, "fourier_filter", line.shape))
    if options.correct_avg_ampl:
        amplitude = half_filter(options.correct_avg_ampl, "correct_avg_ampl", line.shape)
        line.add(image_ops.with_even_amplitudes, amplitude, options.minr_ampl_corr)


def _subtraction(options: Options, line: Pipeline) -> Callable[[np.ndarray], np.ndarray]:
    other = operand(options.subtract, "subtract", line.shape)
    if not options.optimise_scale_subtract:
        return lambda image: image - other
    mask = None
    if options.mask_optimise_subtract:
        mask = operand(options.mask_optimise_subtract, "mask_optimise_subtract", line.shape)
    b_range_A2, pixel_size_A = options.optimise_bfactor_subtract, line.pixel_size_A
    return lambda image: image - image_ops.best_match(image, other, pixel_size_A, b_range_A2, mask)[0]


def half_filter(path: str, flag: str, shape: tuple[int, ...]) -> np.ndarray:
    """A real filter on the half transform of images of ``shape``.

    The file holds either the half transform's size, as ``--avg_ampl`` writes it, or the image's size with the origin of
    frequencies in the centre.
    """
    found = read_images([path])
    found = found[0] if len(shape) == 2 and len(found) == 1 else found
    half = (*shape[:-1], shape[-1] // 2 + 1)
    if found.shape == half:
        return found
    if found.shape == tuple(shape):
        return np.fft.ifftshift(found)[..., : half[-1]]
    words = [" x ".join(map(str, s[::-1])) for s in (found.shape, half, shape)]
    raise InputError(f"--{flag} {path}: is {words[0]} px, expected {words[1]} (half transform) or {words[2]} "
                     "(centred); make it for images of this size")  # fmt: skip


def _times_filter(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return filters.inverse(filters.forward(image) * gain, image.shape).astype(np.float32)


def _filters(options: Options, line: Pipeline) -> None:
    n, pixel_size_A, edge = max(line.shape), line.pixel_size_A, options.filter_edge_width
    if options.bfactor:
        line.add(filters.filtered, filters.b_factor(options.bfactor, pixel_size_A))
    if options.LoG is not None:
        line.add(filters.filtered, filters.blob_detector(options.LoG, pixel_size_A))
    if options.lowpass is not None:
        gain = filters.low_pass(filters.cutoff_shell(n, pixel_size_A, options.lowpass), n, edge)
        line.add(filters.filtered, gain, options.directional.upper() if options.directional else None)
    if options.highpass is not None:
        gain = filters.high_pass(filters.cutoff_shell(n, pixel_size_A, options.highpass), n, edge)
        line.add(filters.filtered, gain)


def _geometry(options: Options, line: Pipeline) -> None:
    for axis in "XYZ":
        if getattr(options, f"flip{axis}"):
            line.add(image_ops.mirrored, axis)
    if options.invert_hand:
        line.add(image_ops.other_hand)
    if options.shift_com:
        line.add(lambda image: image_ops.shifted(image, -image_ops.centre_of_mass(image)))
    shift_px = (options.shift_x, options.shift_y, options.shift_z)[: len(line.shape)]
    if any(shift_px):
        line.add(image_ops.shifted, shift_px)
    if options.rescale_angpix is not None:
        scale = line.pixel_size_A / options.rescale_angpix
        shape = tuple(image_ops.even_size(n, scale) for n in line.shape)
        line.pixel_size_A *= line.shape[-1] / shape[-1]
        line.shape = shape
        line.add(image_ops.resized, shape)
    if options.new_box is not None:
        line.shape = (options.new_box,) * len(line.shape)
        line.add(image_ops.in_box, options.new_box)
    if options.sym:
        line.add(image_ops.symmetrised, Symmetry.parse(options.sym).rotations)
