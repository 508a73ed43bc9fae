"""What two half maps are worth, and the sharpened map that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vitreous.engine import filters, fsc, sharpen

# A randomised FSC above this at the resolution says that the mask, not the molecule, makes the maps agree.
TIGHT_MASK_FSC = 0.1


@dataclass(frozen=True, eq=False)
class Assessment:
    """FSC curves of two half maps over the shells 0 to n//2, and the resolution.

    Attributes
    ----------
    n : longest side of the maps, px
    pixel_size_A : A
    unmasked, masked, randomised, corrected : (n//2 + 1,) float64; those that need a mask are None without one
    used : the curve that gives resolution and weights: corrected, or unmasked
    first_random : shell from which phases were randomised
    part_mask, part_mass : part-volume FSC from the mask and from the mass, or None
    factor_mask, factor_mass : their factors
    mask_refused : the masked maps agree less far than the unmasked ones, so the unmasked curve is used
    mask_too_tight : the mask alone makes the maps correlate at the resolution
    """

    n: int
    pixel_size_A: float
    unmasked: np.ndarray
    masked: np.ndarray | None = None
    randomised: np.ndarray | None = None
    corrected: np.ndarray | None = None
    first_random: int | None = None
    part_mask: np.ndarray | None = None
    part_mass: np.ndarray | None = None
    factor_mask: float | None = None
    factor_mass: float | None = None
    mask_refused: bool = False
    mask_too_tight: bool = False

    @property
    def used(self) -> np.ndarray:
        return self.unmasked if self.corrected is None else self.corrected

    @property
    def shell(self) -> int:
        """Last shell at or above 0.143 before the first fall."""
        return fsc.resolution_shell(self.used)

    @property
    def resolution_A(self) -> float:
        """Of that shell; infinite where there is no signal."""
        return self.shell_A(self.shell)

    @property
    def interpolated_A(self) -> float:
        """Where the line between two shells crosses 0.143."""
        return self.shell_A(fsc.crossing_shell(self.used))

    def shell_A(self, shell: float) -> float:
        return float(fsc.shell_resolution_A(shell, self.n, self.pixel_size_A))


def assess(
    halves: tuple[np.ndarray, np.ndarray],
    unmasked: np.ndarray,
    pixel_size_A: float,
    mask: np.ndarray | None = None,
    first_random: int = 1,
    *,
    seed: int = 0,
    force_mask: bool = False,
    mass_kDa: float | None = None,
    equal_pairs: bool = False,
) -> Assessment:
    """FSC of two half maps, corrected for what a mask adds.

    Parameters
    ----------
    halves : two (nz, ny, nx) float32, neither masked nor filtered
    unmasked : (n//2 + 1,) their FSC, of ``fsc.fourier_shell_correlation``
    mask : like the halves, values in [0, 1]
    first_random : shell from which phases are randomised
    seed : of the random phases
    force_mask : use the corrected curve where it falls before the unmasked one, too
    mass_kDa : of the ordered protein, for its part-volume FSC
    equal_pairs : see ``filters.pair_weights``

    Source: docs/equations.md#fsc     Cost: 8 transforms of the box
    """
    n, n_voxels = max(halves[0].shape), halves[0].size
    found: dict = {"n": n, "pixel_size_A": pixel_size_A, "unmasked": unmasked}
    if mass_kDa is not None:
        found["factor_mass"] = fsc.factor_of_mass(mass_kDa, n_voxels, pixel_size_A)
        found["part_mass"] = fsc.part_volume(unmasked, found["factor_mass"])
    if mask is None:
        return Assessment(**found)

    def masked(volume):
        return volume * mask

    found["factor_mask"] = fsc.factor_of_mask(mask)
    found["part_mask"] = fsc.part_volume(unmasked, found["factor_mask"])
    found["first_random"] = first_random
    found["masked"] = fsc.masked_correlation(halves, masked, equal_pairs)
    random = fsc.randomised_halves(halves, first_random, seed)
    found["randomised"] = fsc.masked_correlation(random, masked, equal_pairs)
    corrected = fsc.correct_for_mask(found["masked"], found["randomised"], first_random)
    shell = fsc.resolution_shell(corrected)
    found["mask_refused"] = fsc.resolution_shell(unmasked) > shell and not force_mask
    found["mask_too_tight"] = not found["mask_refused"] and bool(found["randomised"][shell] > TIGHT_MASK_FSC)
    found["corrected"] = unmasked.copy() if found["mask_refused"] else corrected
    return Assessment(**found)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a map is sharpened; ``None`` leaves a step out.

    Parameters
    ----------
    mtf : (frequency in cycles per pixel of the map, value)
    weights : (n//2 + 1,) per shell, of ``sharpen.fsc_weights``
    b_factor_A2 : given; 0 does nothing
    fit_A : coarsest and finest resolution of a Guinier fit that gives the B-factor instead
    low_pass_shell, edge_shells : of the last filter
    equal_pairs : see ``filters.pair_weights``
    """

    mtf: tuple[np.ndarray, np.ndarray] | None = None
    weights: np.ndarray | None = None
    b_factor_A2: float = 0.0
    fit_A: tuple[float, float] | None = None
    low_pass_shell: float | None = None
    edge_shells: float = 2
    equal_pairs: bool = False


@dataclass(frozen=True, eq=False)
class Sharpened:
    """A sharpened map, the log amplitudes after each step, and the fit that gave the B-factor."""

    volume: np.ndarray
    b_factor_A2: float
    log_amplitudes: dict[str, np.ndarray] = field(default_factory=dict)
    fit: sharpen.GuinierFit | None = None


def sharpened(volume: np.ndarray, pixel_size_A: float, recipe: Recipe) -> Sharpened:
    """Detector, FSC weights, B-factor and low-pass, in this order.

    Parameters
    ----------
    volume : (nz, ny, nx) float32

    Raises  ValueError: fewer than two shells lie in the range of the fit.
    Source: docs/equations.md#guinier
    """
    shape, n = volume.shape, max(volume.shape)
    ft = filters.forward(volume)
    logs = {"original": sharpen.log_amplitudes(ft, shape, recipe.equal_pairs)}
    if recipe.mtf is not None:
        sharpen.divide_by_mtf(ft, shape, *recipe.mtf)
        logs["mtf"] = sharpen.log_amplitudes(ft, shape, recipe.equal_pairs)
    if recipe.weights is not None:
        sharpen.weight_shells(ft, shape, recipe.weights)
        logs["weighted"] = sharpen.log_amplitudes(ft, shape, recipe.equal_pairs)
    fit, b_A2 = None, recipe.b_factor_A2
    if recipe.fit_A is not None:
        fit = sharpen.fit_guinier(list(logs.values())[-1], n, pixel_size_A, *recipe.fit_A)
        b_A2 = fit.b_factor_A2
    if b_A2:
        sharpen.apply_b_factor(ft, shape, b_A2, pixel_size_A)
        logs["sharpened"] = sharpen.log_amplitudes(ft, shape, recipe.equal_pairs)
    if recipe.low_pass_shell is not None:
        filters.scale_frequencies(ft, shape, filters.low_pass(recipe.low_pass_shell, n, recipe.edge_shells))
    return Sharpened(filters.inverse(ft, shape).astype(volume.dtype), b_A2, logs, fit)
