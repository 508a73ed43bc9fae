"""What steers a gradient-driven run: numbers alone, so that options can be read without numpy. Source: docs/equations.md#gradient"""

from __future__ import annotations

from dataclasses import dataclass

# Step of the first phase where it is not plain.
FIRST_STEP = 0.9
# Share of the particles, least and most, of the first and of the last mini-batches (RELION's choices).
FIRST_2D, LAST_2D = (0.005, 200, 10_000), (0.05, 1_000, 100_000)
FIRST_DENOVO, LAST_DENOVO = (0.005, 200, 5_000), (0.1, 1_000, 50_000)
FIRST_3D, LAST_3D = (0.1, 200, 100_000), (0.1, 1_000, 100_000)


@dataclass(frozen=True)
class GradientOptions:
    """What steers a gradient-driven run.

    Attributes
    ----------
    n_iterations : of the whole run
    first_fraction, last_fraction : shares of the iterations with mini-batches of the first and of the last size
    first_subset, last_subset : particles in them; 0 = by the number of particles, ``first_size`` and ``last_size``
    first_size, last_size : (share, least, most)
    step : relative length of a step along the gradient, towards the end
    step_scheme, tau2_scheme : value at the beginning, 0 = that of the end
    tau2_fudge : weight of the data against the prior, towards the end
    first_limit_A, last_limit_A : finest detail that the first and the last phase compare; 0 = no limit
    momentum, curvature : shares of the first and second moments that one iteration leaves
    mu : share of the noise spectra, class weights, ... that one iteration leaves
    em_iterations : at the end, by expectation-maximisation with all particles
    inactivity : classes with less than this part of an even share start again as copies of the best; 0 = none does
    """

    n_iterations: int = 200
    first_fraction: float = 0.3
    last_fraction: float = 0.2
    first_subset: int = 0
    last_subset: int = 0
    first_size: tuple = FIRST_DENOVO
    last_size: tuple = LAST_DENOVO
    step: float = 0.5
    step_scheme: float = FIRST_STEP
    tau2_fudge: float = 4.0
    tau2_scheme: float = 1.0
    first_limit_A: float = 0.0
    last_limit_A: float = 0.0
    momentum: float = 0.9
    curvature: float = 0.999
    mu: float = 0.9
    em_iterations: int = 0
    inactivity: float = 0.0
