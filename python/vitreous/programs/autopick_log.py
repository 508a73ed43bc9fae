"""Picking of blobs as a program runs it: settings from options, maps to files, memory."""

from __future__ import annotations

import math
import threading

import numpy as np

from vitreous.engine import pick_log
from vitreous.engine.pick_ctf import ctf_table
from vitreous.engine.pick_image import transforms
from vitreous.engine.pick_size import WorkSize, round_half_away
from vitreous.io.micrograph_list import MicrographList
from vitreous.programs.autopick_maps import MapFiles
from vitreous.programs.autopick_options import Options

MOST_PARALLEL = 8  # micrographs; each takes up to 0.5 GB, and more of them would wait for the disk


class LogPicker:
    """Finds blobs, in several micrographs at a time.

    Attributes
    ----------
    n_parallel, n_threads : micrographs worked on at a time, and threads of each one's kernels
    diameter_A : of the circles in the report
    """

    def __init__(self, be, options: Options, micrographs: MicrographList):
        self.be, self.options, self.micrographs = be, options, micrographs
        self.notes: list[str] = []
        self.projections = None
        self.n_parallel = min(be.n_threads, MOST_PARALLEL)
        self.n_threads = -(-be.n_threads // self.n_parallel)
        self._lock, self._filters = threading.Lock(), (None, np.zeros(0))
        self.diameter_A = (options.LoG_diam_min + options.LoG_diam_max) / 2
        self.settings = pick_log.LogSettings(
            options.LoG_diam_min, options.LoG_diam_max, micrographs.pixel_size_A, options.LoG_neighbour,
            options.Log_invert or options.LoG_invert, options.LoG_adjust_threshold, options.LoG_upper_threshold,
            options.LoG_max_search or options.Log_max_search, options.skip_side, options.outlier_removal_zscore,
            options.LoG_upper_median or math.inf,
        )  # fmt: skip

    def describe(self) -> str:
        return f"blobs of {self.settings.diameter_min_A:g} to {self.settings.diameter_max_A:g} A"

    def facts(self) -> list[tuple[str, object]]:
        return [
            ("method", "blobs (LoG)"),
            ("diameters, Å", f"{self.settings.diameter_min_A:g} – {self.settings.diameter_max_A:g}"),
        ]

    def memory(self, size: WorkSize) -> dict[str, int]:
        """What takes memory -> bytes."""
        each = min(pick_log.diameters_at_once(size), len(self.settings.diameters_A))
        return {
            "micrographs": (4 * size.full**2 + 4 * size.full * size.work) * self.n_parallel,
            "maps": (8 * each + 24) * size.work**2 * self.n_parallel,
            "filters": 2 * each * size.work**2,
        }

    def _name(self, diameter_A: float) -> str:
        return f"_LoG{round_half_away(diameter_A)}"

    def pick(self, image: np.ndarray, row: int, size: WorkSize, maps: MapFiles) -> pick_log.Picks:
        """Picks of one micrograph (ny, nx)."""
        ctf = None
        if self.options.LoG_use_ctf:
            ctf = pick_log.ctf_for_log(
                ctf_table(self.be, self.micrographs, row, size, size.full, only_before_peak=True), size
            )
        o = self.options
        ft = transforms(
            self.be, image, size, size.work, outlier_sd=o.outlier_removal_zscore, seed=o.random_seed + row
        )[0]
        ft = ft if ctf is None else ft / ctf
        return self._peaks(self._responses(ft, size, maps), size, maps)

    def _responses(self, ft, size, maps):
        """(diameters, their maps), some at a time."""
        for diameters_A in self._parts(size):
            responses = pick_log.log_maps(self.be, ft, self._gains(size, diameters_A), size)
            for diameter_A, response in zip(diameters_A, responses):
                maps.write(self._name(diameter_A), response, size.scale)
            yield diameters_A, responses

    def _parts(self, size):
        n, every = pick_log.diameters_at_once(size), self.settings.diameters_A
        return [every[i : i + n] for i in range(0, len(every), n)]

    def _gains(self, size, diameters_A):
        """Filters for this size of micrographs; they are kept where all diameters fit at once."""
        if len(diameters_A) < len(self.settings.diameters_A):
            return pick_log.log_gains(size, self.settings, diameters_A)
        with self._lock:
            if self._filters[0] != size:
                self._filters = size, pick_log.log_gains(size, self.settings, diameters_A)
            return self._filters[1]

    def read(self, maps: MapFiles, size: WorkSize) -> pick_log.Picks:
        """Picks from the maps of an earlier run."""
        parts = self._parts(size)
        responses = ((part, np.stack([maps.read(self._name(d), size.work)[0] for d in part])) for part in parts)
        return self._peaks(responses, size, maps)

    def _peaks(self, responses, size, maps):
        best, diameter = pick_log.best_response(self.be, responses)
        found = pick_log.log_peaks(best, diameter, size, self.settings)
        for name, image in (
            ("_bestLoG", best),
            ("_bestSize", diameter),
            ("_bestLoGb", found.gated),
            ("_bestLoGc", found.above),
        ):
            maps.write(name, image, size.scale)
        return found.picks

    def columns(self, picks: pick_log.Picks) -> dict[str, np.ndarray]:
        """Columns of the coordinate file, in RELION's order for blobs."""
        return {
            "rlnCoordinateX": picks.x_px,
            "rlnCoordinateY": picks.y_px,
            "rlnAutopickFigureOfMerit": picks.fom,
            "rlnClassNumber": picks.class_number,
            "rlnAnglePsi": picks.psi_deg,
        }
