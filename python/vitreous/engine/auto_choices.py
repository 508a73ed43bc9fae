"""What a run without a user has to decide, each as a value with its reason: sizes, numbers of classes, whether to go on.

The numbers are those of a first run by hand; docs/decisions/0095 says which were measured and on what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitreous.engine.symmetry_detection import is_part

# Box and mask in diameters of the particle: room for what the CTF spreads, and for centres that are off.
BOX_DIAMETERS, MASK_DIAMETERS = 1.7, 1.2
# Detail that tells classes and first maps apart; two pixels of it, so that images are as small as they may be.
CLASS_DETAIL_A, MAP_DETAIL_PER_DIAMETER = 9.0, 1 / 12
FEWEST_CLASSES, MOST_CLASSES = 4, 100
# A refinement has used its pixels up when it reaches this share of the detail that they can hold.
USED_UP = 0.8
# The next pixel holds detail this much finer than what was reached: an e-fold in the number of shells would be 2.7.
ROOM_FOR_DETAIL = 1.6
FIRST_LOW_PASS_PER_DIAMETER, FINEST_LOW_PASS_A, COARSEST_LOW_PASS_A = 1 / 5, 20.0, 60.0
# With fewer particles than this a first map is kept from detail that they cannot tell from noise.
MANY_PARTICLES = 1000
# Class scores: of templates, and of particles that go on.
TEMPLATE_SCORE, PARTICLE_SCORE = 0.5, 0.25
# Images that are left out: beyond these many standard deviations of all, or figures of merit over the median.
MOST_SIGMA, FOM_UPPER = 3.0, 4.0
# A larger point group is tried when its copies agree so much on average, and taken when the resolution is this part or less.
TRIAL_SCORE, TRIAL_GAIN = 0.4, 0.9
# Templates that pick this many times what the blobs' good classes hold have found mostly junk; fewer blobs than that show no map.
MOST_PICKS, ENOUGH_BLOBS = 2.0, 100
# A map of detail finer than this part of the diameter is a better template than class averages. It picks enough where there
# are so many times more picks than particles, and so many particles left of them in the end, as those before may be half junk.
# Where these are clearly more, the half-sets may lose so many shells, else none.
MAP_TEMPLATE_PER_DIAMETER, MORE_PARTICLES, ENOUGH_LEFT, SHELLS_LOST = 1 / 8, 1.1, 0.9, 1.5
# Where the amplitudes fall off along a line, and how many shells a line is fitted to.
GUINIER_FROM_A, GUINIER_SHELLS = 10.0, 3
FAST_PRIMES = (2, 3, 5, 7)
# Blobs that are picked, in diameters of the particle; templates' figure of merit, distance in diameters, and noise.
BLOB_MIN, BLOB_MAX, BLOB_UPPER = 0.9, 1.1, 1.8
PICK_THRESHOLD, PICK_DISTANCE, PICK_NOISE = 0.5, 0.7, 1.2
MAP_THRESHOLD = 0.2  # of views of a map, which match better than averages: particles have 0.3 and more


@dataclass(frozen=True)
class Choice:
    """A value and why it was taken."""

    value: Any
    reason: str


def is_fast(n: int) -> bool:
    """Whether transforms of this size are quick: its prime factors are small."""
    for prime in FAST_PRIMES:
        while n % prime == 0:
            n //= prime
    return n == 1


def fast_even(n: float) -> int:
    """The least even size from n on whose transforms are quick."""
    size = max(2 * int(np.ceil(n / 2)), 16)
    while not is_fast(size):
        size += 2
    return size


def box_A(diameter_A: float) -> float:
    """Side of the boxes, A."""
    return BOX_DIAMETERS * diameter_A


def extraction(diameter_A: float, pixel_size_A: float, wanted_pixel_A: float) -> tuple[Choice, Choice | None]:
    """Side of the boxes in the micrograph and after rescaling, px.

    Parameters
    ----------
    pixel_size_A : of the micrographs
    wanted_pixel_A : of the images; they are not enlarged

    Returns
    -------
    Choice                           side in the micrograph, even
    Choice | None                    side after rescaling, even; None where it is the same
    """
    side_A = box_A(diameter_A)
    size = fast_even(side_A / pixel_size_A)
    why = f"{BOX_DIAMETERS:g} diameters of {diameter_A:.0f} A, a size with fast transforms"
    scaled = fast_even(side_A / wanted_pixel_A)
    if scaled >= size:
        return Choice(size, why), None
    size = 2 * round(scaled * wanted_pixel_A / pixel_size_A / 2)
    pixel_A = pixel_size_A * size / scaled
    return Choice(size, why), Choice(scaled, f"pixels of {pixel_A:.3g} A hold detail of {2 * pixel_A:.3g} A")


def mask_diameter(diameter_A: float, box_size_A: float) -> Choice:
    """Diameter of the circular mask, A; it stays inside the box with room for its edge."""
    wanted, most = MASK_DIAMETERS * diameter_A, 0.92 * box_size_A
    if wanted > most:
        return Choice(round(most), f"92 % of the box of {box_size_A:.0f} A")
    return Choice(round(wanted), f"{MASK_DIAMETERS:g} diameters of {diameter_A:.0f} A")


def n_classes(n_particles: int) -> Choice:
    """Number of 2D classes."""
    n = int(np.clip(round(np.sqrt(n_particles / 2)), FEWEST_CLASSES, MOST_CLASSES))
    return Choice(n, f"the root of half of {n_particles} particles, {FEWEST_CLASSES} to {MOST_CLASSES}")


def details_of_first_map(diameter_A: float, n_particles: int) -> tuple[Choice, Choice]:
    """Finest detail of the first and of the last iterations of an initial model, A."""
    few = max(1.0, (MANY_PARTICLES / max(n_particles, 1)) ** (1 / 3))
    why = f"a tenth of the diameter of {diameter_A:.0f} A"
    why += f", times {few:.2g} as there are only {n_particles} particles" if few > 1 else ""
    last = few * diameter_A / 10
    return Choice(round(2 * last, 1), "twice that of the last iterations"), Choice(round(last, 1), why)


def n_iterations_of_first_map(n_particles: int) -> Choice:
    """Iterations of an initial model."""
    if n_particles < MANY_PARTICLES:
        return Choice(100, f"each one uses most of {n_particles} particles")
    return Choice(200, "as RELION's interface has it")


def first_low_pass(diameter_A: float) -> Choice:
    """Resolution to which the first map is filtered before it is refined, A."""
    value = float(np.clip(FIRST_LOW_PASS_PER_DIAMETER * diameter_A, FINEST_LOW_PASS_A, COARSEST_LOW_PASS_A))
    return Choice(round(value), f"a fifth of the diameter, {FINEST_LOW_PASS_A:g} to {COARSEST_LOW_PASS_A:g} A: coarser than "
                  "what the first map shows, so that the halves have no detail in common")  # fmt: skip


def larger_group(found: str, groups: Sequence[tuple[str, float, float]]) -> Choice:
    """A point group that holds the one found and may be the right one; None where the map suggests none.

    Parameters
    ----------
    found : the group that the map shows
    groups : (name, mean agreement of its copies, that of the weakest copy)
    """
    larger = [(score, name) for name, score, _ in groups if name != found and (found == "C1" or is_part(found, name))]
    score, name = max(larger, default=(0.0, ""))
    if score < TRIAL_SCORE:
        return Choice(None, f"no larger group's copies agree to {TRIAL_SCORE:g}")
    return Choice(name, f"its copies agree to {score:.2f}, though not every one does")


def trust_templates(n_picks: int, n_blobs: int) -> Choice:
    """Whether the particles that templates picked make the first map, or the blobs of the good classes do.

    Parameters
    ----------
    n_blobs : particles in the good classes of the blobs
    """
    if n_blobs >= ENOUGH_BLOBS and n_picks > MOST_PICKS * n_blobs:
        return Choice(False, f"{n_picks} picks are mostly junk where the blobs' good classes hold {n_blobs}; these make the first map")
    return Choice(True, f"{n_picks} picks, {n_blobs} blobs in good classes")


def shows_more_than_averages(resolution_A: float, diameter_A: float) -> Choice:
    """Whether a map is worth picking with."""
    finest_A = MAP_TEMPLATE_PER_DIAMETER * diameter_A
    told = f"the map shows {resolution_A:.1f} A, an eighth of the diameter is {finest_A:.1f} A"
    return Choice(resolution_A <= finest_A, told)


def clearly_more(n_picks: int, n_before: int) -> Choice:
    """Whether there are more picks than particles by enough to look at them."""
    return Choice(n_picks >= MORE_PARTICLES * n_before, f"{n_picks} picks where there were {n_before} particles")


def enough_left(n: int, n_before: int) -> Choice:
    """Whether so many of the picks are particles that it pays to refine them in place of those before."""
    return Choice(n >= ENOUGH_LEFT * n_before, f"{n} particles where there were {n_before}")


def no_worse(n: int, n_before: int, resolution_A: float, before_A: float, box_size_A: float) -> bool:
    """Whether new particles are kept: the half-sets agree as far as before, or to a shell less where there are clearly more."""
    lost = SHELLS_LOST if n >= MORE_PARTICLES * n_before else 0.0
    return box_size_A / resolution_A >= box_size_A / before_A - lost


def fits_b_factor(resolution_A: float, box_size_A: float) -> Choice:
    """Whether a B-factor can be fitted to the fall-off of the amplitudes beyond 10 A."""
    n_shells = int(box_size_A / resolution_A) - int(box_size_A / GUINIER_FROM_A)
    return Choice(n_shells >= GUINIER_SHELLS, f"{max(n_shells, 0)} shells lie between {GUINIER_FROM_A:g} A and {resolution_A:.2f} A")


def class_pixel_A(pixel_size_A: float) -> float:
    """Pixel of the images for 2D classes, A."""
    return max(pixel_size_A, CLASS_DETAIL_A / 2)


def map_pixel_A(pixel_size_A: float, diameter_A: float) -> float:
    """Pixel of the images for a first map, A."""
    return max(pixel_size_A, CLASS_DETAIL_A / 2, MAP_DETAIL_PER_DIAMETER * diameter_A / 2)


def finer_pixels(resolution_A: float, pixel_size_A: float, micrograph_pixel_A: float | None) -> Choice:
    """The pixel of the next extraction, A; None where another one would not pay.

    Parameters
    ----------
    resolution_A : that a refinement has reached
    pixel_size_A : of its images
    micrograph_pixel_A : None where there are no micrographs
    """
    holds_A = 2 * pixel_size_A
    if resolution_A > holds_A / USED_UP:
        return Choice(None, f"{resolution_A:.2f} A is far from the {holds_A:.2f} A that pixels of {pixel_size_A:.3g} A can hold")
    if micrograph_pixel_A is None:
        return Choice(None, "there are no micrographs to extract finer images from")
    if pixel_size_A < 1.05 * micrograph_pixel_A:
        return Choice(None, f"the pixels of {pixel_size_A:.3g} A are those of the micrographs")
    wanted_A = max(micrograph_pixel_A, resolution_A / 2 / ROOM_FOR_DETAIL)
    return Choice(wanted_A, f"{resolution_A:.2f} A is near the {holds_A:.2f} A that pixels of {pixel_size_A:.3g} A can hold")
