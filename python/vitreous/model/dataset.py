"""Sources, exposures and particles: what is measured, as tables of numpy arrays.

A source is one field of view (a micrograph or a tilt series), an exposure is one 2D image of it, a particle is one
molecule in a source. A view, a particle in an exposure, is derived by model/views.py and never stored. Single-particle
data have one exposure per source, at zero tilt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from vitreous.model.optics import OpticsGroup, first_numbers_of_batches


class Columns:
    """Base of the tables: every field is None or an array whose first axis is the row."""

    def __len__(self):
        return next((len(column) for column in self.columns().values()), 0)

    def columns(self) -> dict[str, Any]:
        """Name -> array of every column that is present; a nested table counts as one column."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def take(self, indices):
        """The rows at ``indices`` (an integer or boolean array, or a slice), as a table of the same kind."""
        return replace(self, **{name: _take(column, indices) for name, column in self.columns().items()})

    def check(self, n: int | None = None) -> None:
        n = len(self) if n is None else n
        for name, column in self.columns().items():
            if isinstance(column, Columns):
                column.check(n)
            if len(column) != n:
                raise ValueError(f"{type(self).__name__}: {name} has {len(column)} rows, expected {n}")


def _take(column, indices):
    if isinstance(column, Columns):
        return column.take(indices)
    return column[indices]


@dataclass(frozen=True, eq=False)
class CtfColumns(Columns):
    """Contrast-transfer parameters per row; underfocus is positive.

    The last three are None where the optics group's values hold for every row, which is the rule; a row that has its
    own value overrides the group.
    """

    defocus_u_A: np.ndarray
    defocus_v_A: np.ndarray
    defocus_angle_deg: np.ndarray
    b_factor_A2: np.ndarray
    ctf_scale: np.ndarray
    phase_shift_deg: np.ndarray
    voltage_kV: np.ndarray | None = None
    Cs_mm: np.ndarray | None = None
    amplitude_contrast: np.ndarray | None = None

    @classmethod
    def neutral(cls, n: int) -> CtfColumns:
        """In focus, no envelope, scale 1."""
        return cls(*(np.zeros(n) for _ in range(4)), np.ones(n), np.zeros(n))


@dataclass(frozen=True, eq=False)
class Exposures(Columns):
    """One 2D image of a source; m rows, those of one source together and in acquisition order.

    Attributes
    ----------
    source : (m,) int32             row in Dataset.sources
    tilt_deg : (m, 3) float64       x tilt, y tilt, in-plane rotation of the exposure relative to the source
    shift_A : (m, 2) float64        shift to apply to the image after projection, x, y
    dose_e_A2 : (m,) float64        dose received before this exposure
    ctf : CtfColumns of m rows      at the centre of the source
    """

    source: np.ndarray
    tilt_deg: np.ndarray
    shift_A: np.ndarray
    dose_e_A2: np.ndarray
    ctf: CtfColumns

    @classmethod
    def single(cls, n_sources: int, ctf: CtfColumns | None = None) -> Exposures:
        """One exposure per source, at zero tilt, shift and dose."""
        ctf = CtfColumns.neutral(n_sources) if ctf is None else ctf
        zeros = np.zeros(n_sources)
        return cls(np.arange(n_sources, dtype=np.int32), np.zeros((n_sources, 3)), np.zeros((n_sources, 2)), zeros, ctf)


@dataclass(frozen=True, eq=False)
class Particles(Columns):
    """One molecule per row; n rows.

    Attributes
    ----------
    row : (n,) int64                row of the input table: the particle's identity in every subset and random number
    source, optics, group : (n,) int32  rows in Dataset.sources, .optics, .group_names
    image_file, image_section : (n,) int32  index into Dataset.image_files; section, 1-based
    euler_deg : (n, 3) float64      rot, tilt, psi (ZYZ, docs/conventions.md)
    shift_A : (n, 2 or 3) float64   shift to apply to the image so that it is centred, x, y[, z]
    class_number : (n,) int32       1-based, 0 = none
    half : (n,) int32               1 or 2, 0 = none
    norm : (n,) float64             norm correction, 1 = none
    log_likelihood, p_max : (n,) float64
    n_significant : (n,) int32      significant samples of the coarse pass
    ctf : CtfColumns of n rows, or None where the exposures' values hold
    position_A : (n, 3) float64 or None  place in the source, x, y, z
    """

    row: np.ndarray
    source: np.ndarray
    optics: np.ndarray
    group: np.ndarray
    image_file: np.ndarray
    image_section: np.ndarray
    euler_deg: np.ndarray
    shift_A: np.ndarray
    class_number: np.ndarray
    half: np.ndarray
    norm: np.ndarray
    log_likelihood: np.ndarray
    p_max: np.ndarray
    n_significant: np.ndarray
    ctf: CtfColumns | None = None
    position_A: np.ndarray | None = None

    @classmethod
    def default(cls, n: int, n_shifts: int = 2, **columns) -> Particles:
        """n particles of one source, group and optics group at zero pose; named columns replace the defaults."""
        values = {f.name: np.zeros(n, np.int32) for f in fields(cls)}
        values |= {name: np.zeros(n) for name in ("log_likelihood", "p_max")}
        values |= {"row": np.arange(n), "image_section": np.arange(1, n + 1, dtype=np.int32), "norm": np.ones(n)}
        values |= {"euler_deg": np.zeros((n, 3)), "shift_A": np.zeros((n, n_shifts)), "ctf": None, "position_A": None}
        return cls(**(values | columns))


@dataclass(frozen=True, eq=False)
class Dataset:
    """All that is known of a set of particles.

    Attributes
    ----------
    optics : list of OpticsGroup
    sources : list of names
    exposures, particles : tables
    image_files : list of stack names as the input wrote them, relative to the project folder
    group_names : list of the names of intensity-scale groups
    quarantined : row -> why this particle's image cannot be used; kept in the tables, left out of the batches
    input : what io read, kept whole so that columns and blocks unknown here are written back; None for made-up data
    """

    optics: list[OpticsGroup]
    sources: list[str]
    exposures: Exposures
    particles: Particles
    image_files: list[str]
    group_names: list[str]
    quarantined: Mapping[int, str] = field(default_factory=dict)
    input: Any = None

    def __post_init__(self):
        self.exposures.check()
        self.particles.check()
        tables = {"source": self.sources, "optics": self.optics, "group": self.group_names}
        for name, table in (tables | {"image_file": self.image_files}).items():
            column = getattr(self.particles, name)
            low, high = (column.min(), column.max()) if len(column) else (0, -1)
            if low < 0 or high >= len(table):
                raise ValueError(f"Dataset: particles.{name} is in {low}..{high}, expected 0..{len(table) - 1}")

    def __len__(self):
        return len(self.particles)

    @property
    def usable(self) -> np.ndarray:
        """(n,) bool: not quarantined."""
        return ~np.isin(self.particles.row, np.fromiter(self.quarantined, np.int64, len(self.quarantined)))

    @property
    def group_counts(self) -> np.ndarray:
        """(n_groups,) int64: usable particles of each intensity-scale group."""
        return np.bincount(self.particles.group[self.usable], minlength=len(self.group_names))

    @property
    def optics_counts(self) -> np.ndarray:
        """(n_optics,) int64: usable particles of each optics group."""
        return np.bincount(self.particles.optics[self.usable], minlength=len(self.optics))

    def subset(self, indices) -> Dataset:
        """The particles at ``indices``; sources, groups and optics keep their numbers."""
        return replace(self, particles=self.particles.take(indices))

    def with_particles(self, **columns) -> Dataset:
        """The same particles with whole columns replaced."""
        return replace(self, particles=replace(self.particles, **columns))

    def updated(self, indices, **values) -> Dataset:
        """The same particles with new values at ``indices`` in the named columns; the columns' types are kept."""
        columns = {}
        for name, new in values.items():
            columns[name] = getattr(self.particles, name).copy()
            columns[name][indices] = new
        return self.with_particles(**columns)

    def quarantine(self, reasons: Mapping[int, str]) -> Dataset:
        """The same particles with those of ``reasons`` (index into the particles -> cause) left out of batches."""
        rows = {int(self.particles.row[i]): cause for i, cause in reasons.items()}
        return replace(self, quarantined={**self.quarantined, **rows})

    def image_name(self, i_particle: int) -> str:
        """``000012@stack.mrcs`` of one particle, as errors and lists name it."""
        particles = self.particles
        return f"{particles.image_section[i_particle]:06d}@{self.image_files[particles.image_file[i_particle]]}"

    def batches(self, size: int, indices=None) -> Iterator[np.ndarray]:
        """Indices of usable particles in runs of at most ``size`` that share one ``OpticsGroup.batch_key``.

        Parameters
        ----------
        size : largest batch, at least 1
        indices : (m,) int64 particles to go through, in this order; None = all

        Yields
        ------
        (<= size,) int64
        """
        if size < 1:
            raise ValueError(f"Dataset.batches: size is {size}, expected at least 1")
        indices = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        indices = indices[self.usable[indices]]
        key = first_numbers_of_batches(self.optics)[self.particles.optics[indices]]
        for value in np.unique(key):
            same = indices[key == value]
            for start in range(0, len(same), size):
                yield same[start : start + size]

    def split_halves(self, seed: int) -> Dataset:
        """Give every particle a random half-set, 1 or 2; a particle's half depends on the seed and its row alone."""
        rows = self.particles.row
        n = int(rows.max(initial=-1)) + 1
        draws = np.random.Generator(np.random.Philox(key=[seed, 0])).integers(1, 3, n, np.int32)
        return self.with_particles(half=draws[rows])
