"""Picking by templates as a program runs it: references from files, the bank, maps to and from files, memory."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from vitreous.engine import pick_template as engine
from vitreous.engine.pick_bank import Bank, angles_deg, make_bank
from vitreous.engine.pick_ctf import ctf_table
from vitreous.engine.pick_image import transforms
from vitreous.engine.pick_log import Picks
from vitreous.engine.pick_peaks import PeakSettings, find_peaks
from vitreous.engine.pick_references import gaussian_blob, masked, own_diameter_px, rescaled
from vitreous.engine.pick_size import WorkSize, round_half_away
from vitreous.errors import InputError
from vitreous.io.micrograph_list import MicrographList
from vitreous.io.pick_references import is_volume, read_pick_references
from vitreous.programs.autopick_maps import MapFiles
from vitreous.programs.autopick_options import Options


class TemplatePicker:
    """Finds particles that look like one of the references; all threads work on one micrograph.

    Attributes
    ----------
    n_parallel, n_threads : micrographs worked on at a time, and threads of the kernels, which work on one
    options : with the diameter and the distance that were worked out
    diameter_A : of the references' circle
    references : at the micrographs' pixel size, inside their circle
    projections : (n, b, b) of the map that was given as reference, None where it is none
    """

    def __init__(self, be, options: Options, micrographs: MicrographList):
        self.n_parallel, self.n_threads = min(2, be.n_threads), be.n_threads
        self.be, self.micrographs = be, micrographs
        self.notes: list[str] = []
        self._lock, self._banks = threading.Lock(), {}
        self.projections: np.ndarray | None = None
        pixel_A = micrographs.pixel_size_A
        if options.ref == "gauss":
            options, images = self._gauss(options, pixel_A)
        else:
            options, images = self._files(options, pixel_A)
        self.options, self.diameter_A = options, options.particle_diameter
        self.references = masked(images, pixel_A, self.diameter_A, options.shrink_particle_mask)
        if options.min_distance is None:
            half = self.references.box * pixel_A / 2
            self.options = options = options.derive("half the side of the references", min_distance=half)
        if options.keep_best_of_pairs is None:
            self.options = options = (
                options.derive("no map", keep_best_of_pairs="no")
                if self.projections is None
                else options.derive("several views of one map", keep_best_of_pairs="yes")
            )
        self.peaks = PeakSettings(
            options.threshold, round_half_away(options.min_distance / pixel_A), self.references.radius_px,
            options.skip_side + self.references.box // 2, options.max_stddev_noise or -1.0, options.min_avg_noise,
            options.keep_best_of_pairs == "yes",
        )  # fmt: skip

    def _gauss(self, options, pixel_A):
        if options.particle_diameter is None:
            raise InputError(
                "--particle_diameter: found none with --ref gauss, expected the blob's diameter in A; give it"
            )
        changed = options.derive("a round blob", ang=360.0)
        if options.ctf:
            changed = changed.derive("a blob has no CTF", ctf=False)
        blob = gaussian_blob(options.particle_diameter, pixel_A, options.gauss_max)
        return changed, -blob if options.invert else blob

    def _files(self, options, pixel_A):
        images, header_A = read_pick_references(options.ref)
        if is_volume(options.ref):
            from vitreous.engine.pick_map import map_references  # imports much that others do without

            images = map_references(self.be, images, options.healpix_order, options.sym, int(options.pad))
            self.projections = images
        if options.angpix_ref:
            ref_A = options.angpix_ref
            if header_A and abs(header_A - ref_A) > 1e-3:
                self.notes.append(f"--angpix_ref {ref_A:g}: is used; the header of {options.ref} says {header_A:g} A")
        elif options.ref.endswith(".star") and header_A:
            ref_A = header_A
        else:
            ref_A = pixel_A
            if header_A and abs(header_A - pixel_A) > 1e-3:
                self.notes.append(
                    f"--ref {options.ref}: the header says {header_A:g} A per pixel, but the micrographs' "
                    f"{pixel_A:g} A are "
                    "used; give --angpix_ref"
                )
        options = (
            options.derive("the header" if ref_A == header_A else "the micrographs", angpix_ref=ref_A)
            if not options.angpix_ref
            else options
        )
        if options.particle_diameter is None:
            diameter = own_diameter_px(images) * ref_A
            options = options.derive("the references' own circle", particle_diameter=diameter)
        images = rescaled(images, ref_A, pixel_A)
        return options, -images if options.invert else images

    def describe(self) -> str:
        n_psi = len(angles_deg(self.options.ang))
        return f"{len(self.references.images)} references x {n_psi} angles, circle of {self.diameter_A:g} A"

    def facts(self) -> list[tuple[str, Any]]:
        found = [("references", len(self.references.images)), ("angles", len(angles_deg(self.options.ang))),
                 ("circle, Å", round(self.diameter_A, 1))]  # fmt: skip
        for bank, *_ in self._banks.values():
            found.append(("basis images", len(bank.basis)))
        return found

    def memory(self, size: WorkSize) -> dict[str, int]:
        """What takes memory -> bytes; of the templates, as if every second were a basis image."""
        n_template = len(self.references.images) * len(angles_deg(self.options.ang))
        n = min(size.band, size.work)
        n_basis = n_template if self.options.bank_error == 0 else n_template // 2 + 1
        if self.options.read_fom_maps:
            n_basis = 0
        return {
            "micrographs": 4 * size.full**2 + 4 * size.nx * size.ny * (self.n_parallel - 1) + 8 * size.full * size.work,
            "basis images": 4 * n_basis * n * (n // 2 + 1),
            "basis maps": 8 * n_basis * size.work * (n // 2 + 1) + 2 * engine.TILE_BYTES,
            "figures of merit": (8 * len(self.references.images) + 24) * size.work**2,
            "reference transforms": 8 * len(self.references.images) * int(self.options.pad**2 * size.band**2 // 2)
            if n_basis
            else 0,
        }

    def _bank(self, size: WorkSize) -> tuple[Bank, np.ndarray, int, np.ndarray, np.ndarray | None]:
        """Bank, surroundings' kernel, buffer and filter for this size of micrographs; only the last size's are kept."""
        o, key = self.options, (size.full, size.band, size.work)
        if key not in self._banks:
            self._banks.clear()
            bank = make_bank(self.be, self.references, size, step_deg=o.ang, pad=o.pad, error=o.bank_error)
            kernel = engine.surroundings_kernel(self.references, size)
            highpass = engine.highpass_gain(size, o.highpass, self.micrographs.pixel_size_A) if o.highpass else None
            self._banks[key] = (bank, *kernel, engine.half_buffer(self.be, bank, size), highpass)
        return self._banks[key]

    def pick(self, image: np.ndarray, row: int, size: WorkSize, maps: MapFiles) -> Picks:
        """Picks of one micrograph (ny, nx)."""
        if self.references.box > min(size.nx, size.ny):
            raise InputError(
                f"is {size.nx} x {size.ny} px, expected at least the references' box of {self.references.box} px; check "
                "--angpix_ref, or take it from the list"
            )
        with self._lock:  # one at a time; another one is read, or its peaks sought, meanwhile
            foms, psis, around = self._correlate(image, row, size, maps)
        return find_peaks(self.be, foms, psis, around.mean, around.sd, size, self.peaks)

    def _correlate(self, image, row, size, maps):
        """Figures of merit and angles of every reference, and the surroundings; written to files where asked for."""
        o = self.options
        bank, kernel, n_outside, half, highpass = self._bank(size)
        fts = transforms(
            self.be, image, size, size.work, outlier_sd=o.outlier_removal_zscore, seed=o.random_seed + row,
            highpass=highpass, squared=True,
        )  # fmt: skip
        around = engine.surroundings(self.be, fts, kernel, n_outside, size)
        ctf = (
            ctf_table(self.be, self.micrographs, row, size, size.band, intact_first_peak=o.ctf_intact_first_peak)
            if o.ctf
            else None
        )
        rng = np.random.default_rng([o.random_seed, row]) if o.fom_noise else None
        expect = engine.expected(bank.first, ctf, self.references, size, rng)
        ft = engine.for_bank(fts[0], ctf, size)
        best, which = engine.correlate(self.be, bank, ft, size, self.references.n_inside, half)
        foms = [engine.figure_of_merit(b, around, e) for b, e in zip(best, expect)]
        psis = [bank.angles_deg[i].astype(np.float32) for i in which]
        maps.write("_stddevNoise", around.sd, size.scale)
        maps.write("_avgNoise", around.mean, size.scale)
        for i, (fom, psi, e) in enumerate(zip(foms, psis, expect)):
            maps.write(f"_ref{i:06d}._bestCCF", fom, size.scale, e.ratio)
            maps.write(f"_ref{i:06d}._bestPSI", psi, size.scale)
        return foms, psis, around

    def read(self, maps: MapFiles, size: WorkSize) -> Picks:
        """Picks from the maps of an earlier run."""
        n_ref = range(len(self.references.images))
        sd, mean = (maps.read(name, size.work)[0] for name in ("_stddevNoise", "_avgNoise"))
        foms, psis = ([maps.read(f"_ref{i:06d}._best{kind}", size.work)[0] for i in n_ref] for kind in ("CCF", "PSI"))
        return find_peaks(self.be, foms, psis, mean, sd, size, self.peaks)

    def columns(self, picks: Picks) -> dict[str, np.ndarray]:
        """Columns of the coordinate file, in RELION's order for templates."""
        return {
            "rlnCoordinateX": picks.x_px,
            "rlnCoordinateY": picks.y_px,
            "rlnClassNumber": picks.class_number,
            "rlnAutopickFigureOfMerit": picks.fom,
            "rlnAnglePsi": picks.psi_deg,
        }
