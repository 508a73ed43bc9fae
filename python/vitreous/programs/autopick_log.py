"""Picking of blobs as a program runs it: settings from options, maps to files, memory."""

from __future__ import annotations

import numpy as np

from vitreous.engine import pick_log
from vitreous.engine.pick_ctf import ctf_table
from vitreous.engine.pick_size import WorkSize, round_half_away
from vitreous.io.micrograph_list import MicrographList
from vitreous.programs.autopick_maps import MapFiles
from vitreous.programs.autopick_options import Options


class LogPicker:
    """Finds blobs; micrographs go to threads one by one.

    Attributes
    ----------
    n_parallel : micrographs worked on at a time
    diameter_A : of the circles in the report
    """

    def __init__(self, be, options: Options, micrographs: MicrographList):
        self.be, self.options, self.micrographs = be, options, micrographs
        self.notes: list[str] = []
        self.projections = None
        self.n_parallel = max(1, be.n_threads)
        self.diameter_A = (options.LoG_diam_min + options.LoG_diam_max) / 2
        self.settings = pick_log.LogSettings(
            options.LoG_diam_min, options.LoG_diam_max, micrographs.pixel_size_A, options.LoG_neighbour,
            options.Log_invert or options.LoG_invert, options.LoG_adjust_threshold, options.LoG_upper_threshold,
            options.LoG_max_search or options.Log_max_search, options.skip_side, options.outlier_removal_zscore,
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
        return {
            "micrographs and their transforms": 20 * size.full**2 * self.n_parallel,
            "maps": 40 * size.work**2 * self.n_parallel,
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
        responses = pick_log.log_maps(image, size, self.settings, seed=self.options.random_seed + row, ctf=ctf)
        if maps.wanted:
            responses = list(responses)
            for diameter_A, response in responses:
                maps.write(self._name(diameter_A), response, size.scale)
        return self._peaks(responses, size, maps)

    def read(self, maps: MapFiles, size: WorkSize) -> pick_log.Picks:
        """Picks from the maps of an earlier run."""
        return self._peaks(((d, maps.read(self._name(d), size.work)[0]) for d in self.settings.diameters_A), size, maps)

    def _peaks(self, responses, size, maps):
        best, diameter = pick_log.best_response(responses, size.work)
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
