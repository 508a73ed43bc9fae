"""Atoms of a molecule as electrons see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Atoms:
    """Positions and electron scattering factors.

    The factor of an atom is sum_t amplitude[t] exp(-(width[t] + B) f^2 / 4) at frequency f; its transform is the
    atom's electrostatic potential but for a constant.

    Attributes
    ----------
    position_A : (n, 3) float64      x, y, z
    kind : (n,) int                  row of ``amplitude_A`` and ``width_A2``
    b_factor_A2 : (n,) float64       isotropic, 0 or more
    occupancy : (n,) float64
    amplitude_A : (n_kinds, n_terms) float64
    width_A2 : (n_kinds, n_terms) float64
    """

    position_A: np.ndarray
    kind: np.ndarray
    b_factor_A2: np.ndarray
    occupancy: np.ndarray
    amplitude_A: np.ndarray
    width_A2: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def centre_A(self) -> np.ndarray:
        """(3,) mean of the positions, weighted by how strongly the atoms scatter."""
        weight = self.occupancy * self.amplitude_A.sum(axis=1)[self.kind]
        return weight @ self.position_A / weight.sum()
