"""Blocks: parameters shared by views. What is refined is a choice of blocks; expand and its transpose do the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

SCOPES = ("view", "particle", "exposure", "source", "optics", "global")


@dataclass(frozen=True, eq=False)
class Block:
    """Parameter values and, for every view, which of them it reads.

    Attributes
    ----------
    values : (n_entries, ...) float64
    scope : one of SCOPES, what an entry belongs to
    index : (n_v, n_reads) int64     entries that a view reads
    weights : (n_v, n_reads) float64 factors of what is read, e.g. of a spline; ones where a view reads one entry
    """

    values: np.ndarray
    scope: str
    index: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        if self.scope not in SCOPES:
            raise ValueError(f"Block: scope is {self.scope!r}, expected one of {', '.join(SCOPES)}")
        if self.index.shape != self.weights.shape or self.index.ndim != 2:
            shapes = f"index {self.index.shape} and weights {self.weights.shape}"
            raise ValueError(f"Block: {shapes}, expected both (n_v, n_reads)")
        low, high = self.index.min(initial=0), self.index.max(initial=-1)
        if low < 0 or high >= len(self.values):
            raise ValueError(f"Block: views read entries {low}..{high}, expected 0..{len(self.values) - 1}")

    @classmethod
    def per(cls, scope: str, values, views) -> Block:
        """A block of which every view reads the one entry of its particle, exposure, source or optics group.

        Parameters
        ----------
        scope : one of SCOPES
        values : (n_entries, ...) float, one entry per row of the scope's table (per view: one per view; global: one)
        views : table with particle, exposure, source, optics
        """
        n_views = len(views.particle)
        if scope == "view":
            index = np.arange(n_views)
        else:
            # An unknown scope is refused by the constructor, with the list of those there are.
            index = np.asarray(getattr(views, scope, np.zeros(n_views)), np.int64)
        return cls(np.asarray(values, float), scope, index[:, None], np.ones((n_views, 1)))

    @cached_property
    def reads(self) -> csr_array:
        """(n_v, n_entries) sparse: expand is the product with it, pull_back with its transpose."""
        n_views, n_reads = self.index.shape
        start = np.arange(n_views + 1) * n_reads
        return csr_array((self.weights.ravel(), self.index.ravel(), start), (n_views, len(self.values)))

    def expand(self) -> np.ndarray:
        """Each view's value: the weighted sum of the entries it reads.

        Returns
        -------
        (n_v, ...) float64
        """
        return (self.reads @ self._flat(self.values)).reshape(len(self.index), *self.values.shape[1:])

    def pull_back(self, gradient) -> np.ndarray:
        """Gradient with respect to the entries, from that with respect to the views' values: the transpose of expand.

        Parameters
        ----------
        gradient : (n_v, ...) float

        Returns
        -------
        (n_entries, ...) float64
        """
        gradient = np.asarray(gradient, float)
        expected = (len(self.index), *self.values.shape[1:])
        if gradient.shape != expected:
            raise ValueError(f"Block.pull_back: gradient has shape {gradient.shape}, expected {expected}")
        return (self.reads.T @ self._flat(gradient)).reshape(self.values.shape)

    def with_values(self, values) -> Block:
        """The same block with other values of the same shape."""
        values = np.asarray(values, float)
        if values.shape != self.values.shape:
            raise ValueError(f"Block: new values have shape {values.shape}, expected {self.values.shape}")
        return replace(self, values=values)

    def _flat(self, values):
        """(n, components of one entry); with n = 0 reshape could not infer the second."""
        return values.reshape(len(values), int(np.prod(self.values.shape[1:])))
