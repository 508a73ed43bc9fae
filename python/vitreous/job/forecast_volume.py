"""How much memory a 3D refinement, classification or initial model takes at its peak, from the sizes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vitreous.engine import plan3d, schedule3d, search3d
from vitreous.engine.initial import start_size
from vitreous.engine.orientations import OrientationGrid, coarse_and_fine, window_size
from vitreous.engine.reconstruct3d import CHUNK_BYTES
from vitreous.engine.schedule import current_size
from vitreous.engine.settings import Settings
from vitreous.job.batches import BYTES_PER_PIXEL, MOST_CHILDREN, batch_size, pixels, posterior_bytes
from vitreous.job.forecast import INTERPRETER, PER_PARTICLE, READ_AHEAD, images_kept
from vitreous.model import healpix
from vitreous.model.dataset import Dataset
from vitreous.model.state import Model, Refinement
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice

# Of a thread: its stack, the workspace of transforms, and what the allocator keeps for it.
BYTES_PER_THREAD = 8 << 20
IMAGES_OF_PIECE = 64  # that are prepared at once, where posteriors are neither sharp nor flat

# What the data decide, as measured in refinements (C1, D2, D7; 450 to 2,000 particles): in the last global searches the rows of
# the fine grid of a particle (12 to 24) and the Fourier box as a share of the whole (0.78 to 0.93); in local ones the memory
# for the fine slices' sums as a share of that for the windows' slices (1.1 to 1.5).
ROWS_OF_PARTICLE, SHARE_OF_BOX = 12, 0.8
SUMS_OF_WINDOWS = 1.3
LAST_ORDER = 5  # HEALPix order that most refinements end with; in local searches a finer one takes no more


@dataclass(frozen=True)
class Stage:
    """A part of a run that searches in one way.

    Attributes
    ----------
    coarse, fine : grids of the two passes
    coarse_px, size_px : Fourier boxes of the two passes, px of the model
    sigma_deg : width of the prior of local searches; 0 = global
    sharp : poses are known so well that a particle keeps few of them
    own : particles keep their orientations
    """

    coarse: OrientationGrid
    fine: OrientationGrid
    coarse_px: int
    size_px: int
    sigma_deg: float = 0.0
    sharp: bool = False
    own: bool = False


def stages_of(
    be, state: Refinement, settings: Settings, auto, size_px: int, *, gradient: bool = False, alone: bool = False
) -> list[Stage]:
    """The searches of a run: as it is now and at last; where it is steered, the last global one, and local ones.

    Parameters
    ----------
    auto : schedule3d.AutoOptions, or None where nothing is steered
    size_px : Fourier box of the largest iteration
    gradient : iterations step along the gradient, and poses stay uncertain to the last
    alone : one iteration is left
    """
    model, symmetry = state.models[0], Symmetry.parse(state.symmetry)
    steered = auto is not None and len(state.models) == 2

    def stage(sampling, size, sharp):
        grids = coarse_and_fine(be, sampling, symmetry, model.n_classes)
        coarse_px = plan3d.coarse_size_3d(model, sampling, settings, size)
        return Stage(*grids, coarse_px, size, sampling.sigma_deg, sharp, settings.skip_align)

    first_px = current_size(model, state.progress)
    if not math.isfinite(model.current_resolution_A):  # before the first iteration
        first_px += start_size(model.box, model.pixel_size_A, settings.ini_high_A)
    first_px = min(first_px, size_px)
    out = [stage(state.sampling, first_px, sharp=False)]
    if alone and not (steered or gradient):
        return out
    if not steered:
        return [*out, stage(state.sampling, size_px, sharp=not gradient)]
    for order, share in ((auto.local_order - 1, SHARE_OF_BOX), (auto.local_order, 1)):
        order = max(min(order, LAST_ORDER), state.sampling.healpix_order)
        finer = replace(state.sampling, healpix_order=order, psi_step_deg=healpix.step_deg(order))
        finer = replace(finer, sigma_deg=schedule3d.local_width_deg(finer, auto))
        out.append(stage(finer, max(int(share * size_px), first_px), sharp=True))
    return out


def forecast_volume(
    dataset: Dataset,
    models: list[Model],
    stages: list[Stage],
    symmetry: Symmetry,
    *,
    preread: bool,
    n_threads: int,
    gradient: bool = False,
    n_held: int = 1,
) -> dict[str, int]:
    """What takes memory -> bytes, in the iteration with 3D references that takes most.

    Of what follows the data, which posteriors decide, the slices and sums of pieces, this is what ordinary data lead to.

    Parameters
    ----------
    stages : the searches of the run, in order; the maximisation is that of the last
    gradient : iterations step along the gradient: two sums for each map, and moments
    n_held : states of the run that are there at once, with their maps, moments and tables
    """
    model, last = models[0], stages[-1]
    n_maps, lattice = len(models) * model.n_classes, VolumeLattice(model.box, model.padding, last.size_px / 2)
    n_half = max(len(dataset) // len(models), 1)
    parts = {
        "Python and libraries": INTERPRETER,
        "particle table": n_held * len(dataset) * PER_PARTICLE,
        "maps": int((n_held + 0.5) * n_maps * model.box**3 * 4),
        "transforms of the references": n_maps * lattice.n_samples * 8,
        "sums over particles": n_maps * lattice.n_samples * 12,
        "threads": n_threads * (BYTES_PER_THREAD + 8 * len(last.fine.shifts_A) * pixels(last.size_px)),
    }
    if gradient:
        whole = VolumeLattice(model.box, model.padding, model.box / 2)
        parts["sums over particles"] *= 2
        parts["moments and a step"] = 20 * n_held * n_maps * whole.n_samples + 2 * (12 + 8) * lattice.n_samples
    if preread:
        parts["images kept in memory"] = images_kept(dataset)
    box = max(o.box for o in dataset.optics)
    searches = [searching(stage, box, n_half, lattice, symmetry) for stage in stages]
    return parts | max([*searches, {"maximisation": maximisation_bytes(model.box, lattice, len(models))}], key=total)


def total(parts: dict[str, int]) -> int:
    """Bytes together."""
    return sum(parts.values())


def searching(stage: Stage, box: int, n_particles: int, lattice: VolumeLattice, symmetry: Symmetry) -> dict[str, int]:
    """What takes memory -> bytes, while particles are compared with slices.

    Parameters
    ----------
    box : of the images
    n_particles : that share references
    """
    n_batch, n_waiting = min(batch_size(box), n_particles), min((READ_AHEAD + 1) * batch_size(box), n_particles)
    n_piece = n_batch if n_particles > n_batch else n_batch // 2  # the first batch is cut in ever larger pieces
    n_px, local = pixels(stage.size_px), stage.sigma_deg > 0
    kept = 0 if local or stage.own else stage.coarse.n_row * pixels(stage.coarse_px) * 12  # with their squares
    if stage.own:
        cut = n_batch * stage.fine.n_classes * n_px * 28  # twice, and their sums
    elif local:
        most = search3d.slices_bytes(True, lattice)
        windows = n_piece * window_size(stage.coarse, stage.sigma_deg, symmetry) * pixels(stage.coarse_px) * 8
        cut = min(windows, most) * (1 + SUMS_OF_WINDOWS)
    else:
        n_row = min(stage.fine.n_row, n_piece * ROWS_OF_PARTICLE) if stage.sharp else stage.fine.n_row
        cut = min(8 * n_row * n_px, search3d.slices_bytes(False, lattice)) * 2.5
    points = 8 * ROWS_OF_PARTICLE if stage.sharp else MOST_CHILDREN
    return {
        "slices and their sums": int(kept + cut),
        "batches of images": box**2 * (4 * n_waiting + BYTES_PER_PIXEL * min(n_batch, IMAGES_OF_PIECE)),
        "posteriors of a batch": posterior_bytes(n_batch, points),
    }


def maximisation_bytes(box: int, lattice: VolumeLattice, n_models: int) -> int:
    """Of new maps: the quotient, its pruned transform and the chunks of that, and a mask; or the FSC of the halves."""
    chunk = min(CHUNK_BYTES, lattice.side * lattice.ny * lattice.nx * 8)
    joined = 2 * lattice.n_samples * 12 if n_models == 2 and 2 * lattice.radius_px >= box else 0
    columns = box * lattice.ny * lattice.nx * 8
    maps = joined + lattice.n_samples * 8 + columns + int(2.5 * chunk) + 3 * box**3 * 4
    # Sums in double precision, a quotient and what it is made of, beside the halves' completed sums.
    fsc = 96 * box * box * (box // 2 + 1) + 2 * lattice.n_samples * 12 if n_models == 2 else 0
    return max(maps, fsc)
