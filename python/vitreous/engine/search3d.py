"""Posteriors over 3D orientations: of the whole sphere with shared slices, of windows, and of particles' own orientations.

Source: docs/equations.md#score, #local
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vitreous import kernels, kernels_volume
from vitreous.engine import em, orientations
from vitreous.engine.orientations import OrientationGrid
from vitreous.engine.plan import Bank, Geometry, log_class_prior
from vitreous.engine.plan3d import Plan3D
from vitreous.model.rotation import matrix_to_euler
from vitreous.model.volume import VolumeLattice

# Memory for the slices that are cut at once; those of the fine pass have sums, which take half as much again. A global search
# shares many slices, so large chunks pay; each particle of a local search has its own.
SLICES_BYTES, SLICES_BYTES_LOCAL = 400 << 20, 64 << 20


def slices_bytes(local: bool, lattice: VolumeLattice) -> int:
    """Memory for the slices that are cut at once: more where the maps take much anyway."""
    return max(SLICES_BYTES_LOCAL if local else SLICES_BYTES, 8 * lattice.n_samples)


def make_bank(
    be, plan: Plan3D, geometry: Geometry, grid: OrientationGrid, rows, n_k: int, prior, *, passing: bool
) -> Bank:
    """Slices at some rows of a grid. The poses of the bank are these rows, and these rows turned.

    Parameters
    ----------
    rows : (n,) int64 rows of the grid, ascending
    prior : (2 n,) float32 log prior of the bank's poses
    passing : the next bank may take this one's memory
    """
    i_class = grid.split(rows)[0].astype(np.int32)
    matrix = plan.slice_matrices(grid.matrices(rows), geometry)
    kx, ky = geometry.band.k_float32(n_k)
    out = be.scratch("slices", (len(rows), 2, n_k)) if passing else None
    slices = kernels_volume.project3d(be, plan.reference_ft, i_class, matrix, kx, ky, plan.lattice.reach, out)
    if geometry.gain != 1:
        slices *= np.float32(geometry.gain)
    return Bank(slices, i_class, matrix, prior)


def distinct(pose, n_pose: int):
    """Different ones of some pose numbers below ``n_pose``, ascending, and the place of each there, int32."""
    if len(pose) < n_pose:
        found, place = np.unique(pose, return_inverse=True)
        return found, place.astype(np.int32)
    present = np.zeros(n_pose, bool)  # flat posteriors: sorting millions of samples takes more than a table
    present[pose] = True
    place = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present), place[pose]


def rows_of(pose, n_row: int) -> np.ndarray:
    """Different rows of some poses, each a row or a row turned, ascending."""
    present = np.zeros(n_row, bool)
    present[pose % np.int32(n_row)] = True
    return np.flatnonzero(present)


def gather_rows(grid: OrientationGrid, pose):
    """Distinct rows of some poses, and each pose's number in a bank of these rows."""
    turned, row = np.divmod(pose, grid.n_row)
    rows, place = np.unique(row, return_inverse=True)
    return rows, (place + turned * len(rows)).astype(np.int32)


def coarse_global(be, plan: Plan3D, batch: em.Batch, data: em.Prepared):
    """Significant samples of the whole coarse grid."""
    geometry, grid, settings = data.geometry, plan.coarse, plan.settings
    key = (*geometry.key, "coarse")
    if key not in plan.banks:
        weight = plan.direction_weight / len(grid.psi_deg)
        prior = np.repeat(log_class_prior(weight.ravel()), grid.n_half)
        plan.banks[key] = make_bank(
            be, plan, geometry, grid, np.arange(grid.n_row), geometry.n_coarse, np.tile(prior, 2).astype(np.float32),
            passing=False,
        )
    bank = plan.banks[key]
    return kernels.score_coarse(
        *em.compared(be, plan, batch, data, bank, "coarse"),
        batch.only_class,
        fraction=settings.adaptive_fraction,
        max_count=settings.max_significant,
        correlation=plan.correlation,
    )[:3]


def coarse_local(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own):
    """Significant samples of the coarse grid in a window around each particle's orientation, and their prior."""
    geometry, grid, n_shift = data.geometry, plan.coarse, len(plan.coarse.shifts_A)
    start, pose, prior = orientations.window(grid, own, plan.sampling.sigma_deg, plan.symmetry)
    allowed = np.repeat(batch.only_class, np.diff(start))
    kept = (allowed < 0) | (allowed == grid.split(pose)[0])
    start = np.concatenate([[0], np.cumsum(kept)])[start]
    pose, prior = pose[kept], prior[kept]
    rows, in_bank = gather_rows(grid, pose)
    bank = make_bank(be, plan, geometry, grid, rows, geometry.n_coarse, np.zeros(2 * len(rows), np.float32), passing=True)
    i_class = grid.split(pose)[0]
    prior = prior + log_class_prior(plan.model.class_weight)[i_class].astype(np.float32)
    order = np.concatenate([s + np.argsort(in_bank[s:e], kind="stable") for s, e in pairwise(start)])
    samples = (
        start * n_shift,
        np.repeat(in_bank[order], n_shift),
        np.tile(np.arange(n_shift, dtype=np.int32), len(pose)),
    )
    found = kernels.score_fine(
        *em.compared(be, plan, batch, data, bank, "coarse"),
        np.arange(2 * len(rows), dtype=np.int32)[:, None],
        samples,
        n_per_shift=1,
        sample_prior=np.repeat(prior[order], n_shift),
        fraction=plan.settings.adaptive_fraction,
        correlation=plan.correlation,
    )
    kept_start, kept_bank, kept_shift = strongest(*found[:4], plan.settings.max_significant)
    turned, place = np.divmod(kept_bank, len(rows))
    kept_pose = rows[place] + turned * grid.n_row
    # each kept sample's own prior, found by its pose among those of its window
    particle = np.repeat(np.arange(len(own)), np.diff(kept_start))
    key = np.repeat(np.arange(len(own)), np.diff(start)) * (2 * grid.n_row) + pose
    kept_prior = prior[np.searchsorted(key, particle * (2 * grid.n_row) + kept_pose)]
    order = np.lexsort((kept_shift, kept_pose, particle))
    return (kept_start, kept_pose[order].astype(np.int32), kept_shift[order]), kept_prior[order]


def strongest(start, pose, shift, weight, max_count: int):
    """Samples of each particle without those beyond its ``max_count`` strongest; 0 = no limit."""
    if not max_count or np.diff(start).max(initial=0) <= max_count:
        return start, pose, shift
    particle = np.repeat(np.arange(len(start) - 1), np.diff(start))
    rank = np.empty(len(pose), np.int64)
    rank[np.lexsort((-weight, particle))] = np.arange(len(pose)) - start[particle]
    kept = rank < max_count
    return np.concatenate([[0], np.cumsum(kept)])[start], pose[kept], shift[kept]


def fine_pass(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, samples, sample_prior, fraction: float, n_whole=None):
    """Posterior over the children of the coarse samples; returns it, the bank of its rows and these rows.

    Parameters
    ----------
    fraction : of the posterior that the kept points hold
    n_whole : (n,) samples of each particle, of which these are a part
    """
    start, pose, shift = samples
    geometry, fine = data.geometry, plan.fine
    parents, parent_of = distinct(pose, 2 * plan.coarse.n_row)
    child = orientations.children(plan.coarse, fine, parents)
    rows, in_bank = gather_rows(fine, child.ravel())
    prior = np.full(2 * len(rows), -np.log(child.shape[1]), np.float32)  # children share their parent's prior
    if sample_prior is None:
        weight = plan.direction_weight / (fine.n_dir // plan.coarse.n_dir * len(fine.psi_deg))
        i_class, i_dir, _ = fine.split(rows)
        prior = np.tile(log_class_prior(weight[i_class, i_dir // (fine.n_dir // plan.coarse.n_dir)]), 2).astype(
            np.float32
        )
    bank = make_bank(be, plan, geometry, fine, rows, len(geometry.band), prior, passing=True)
    posterior = kernels.score_fine(
        *em.compared(be, plan, batch, data, bank, "fine"),
        in_bank.reshape(child.shape),
        (start, parent_of, shift),
        n_per_shift=plan.n_child_shift,
        sample_prior=sample_prior,
        pose_key=parents.astype(np.int32),
        n_whole=n_whole,
        fraction=fraction,
        correlation=plan.correlation,
    )
    return posterior, bank, rows


def own_poses(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own):
    """Posterior over classes and shifts of particles that keep their orientations, and its bank."""
    geometry, k = data.geometry, plan.model.n_classes
    matrix = plan.slice_matrices(np.tile(own, (k, 1, 1)), geometry)
    i_class = np.repeat(np.arange(k, dtype=np.int32), len(own))
    kx, ky = geometry.band.k_float32()
    slices = kernels_volume.project3d(be, plan.reference_ft, i_class, matrix, kx, ky, plan.lattice.reach)
    prior = np.repeat(log_class_prior(plan.model.class_weight), len(own)).astype(np.float32)
    bank = Bank(slices * np.float32(geometry.gain), i_class, matrix, prior)
    return em.score_own_pose(be, plan, batch, data, bank)[0], bank


def chunks(plan: Plan3D, samples, most_rows: int) -> list[slice]:
    """Consecutive particles whose significant samples have at most so many rows of the fine grid, or one particle.

    All particles where this would cut rows more than twice, as each of many flat posteriors has most rows: to search them in
    parts cuts rows twice.

    Parameters
    ----------
    samples : start (n + 1,), pose (m,), shift (m,) of the coarse pass
    """
    start, pose, _ = samples
    n, n_row = len(start) - 1, plan.coarse.n_row
    most = max(most_rows * n_row // plan.fine.n_row, 1)
    row = pose % n_row
    if n_row <= most or len(pose) <= most:
        return [slice(0, n)]
    seen, ever_seen, begin, n_seen, n_cut, out = np.zeros(n_row, bool), np.zeros(n_row, bool), 0, 0, 0, []
    for i in range(n):
        own = np.unique(row[start[i] : start[i + 1]])
        n_new = np.count_nonzero(~seen[own])
        if i > begin and n_seen + n_new > most:
            out.append(slice(begin, i))
            n_cut += n_seen
            seen[:], begin, n_seen, n_new = False, i, 0, len(own)
        seen[own] = ever_seen[own] = True
        n_seen += n_new
    if n_cut + n_seen > 2 * np.count_nonzero(ever_seen):
        return [slice(0, n)]
    return [*out, slice(begin, n)]


class Best(NamedTuple):
    """What the posteriors of n particles say of each.

    Attributes
    ----------
    found : (n,) bool; False where the search failed, and what follows means nothing
    i_class : (n,) int; euler_deg : (n, 3); i_shift : (n,) int of the fine shifts      of the likeliest point
    p_max, log_evidence : (n,) of it, and of all
    n_significant : (n,) samples of the coarse pass
    """

    found: np.ndarray
    i_class: np.ndarray
    euler_deg: np.ndarray
    i_shift: np.ndarray
    p_max: np.ndarray
    log_evidence: np.ndarray
    n_significant: np.ndarray


@dataclass
class Found:
    """Posteriors of consecutive particles of a batch.

    Attributes
    ----------
    batch, data : of these particles
    pieces : one or more of (bank, its rows of the fine grid or None, posterior with poses of the bank), which together are the
        posteriors; can be gone through once, as one bank may take another's memory
    """

    batch: em.Batch
    data: em.Prepared
    best: Best
    pieces: Iterator[tuple]


def search(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own, euler_deg) -> Iterator[Found]:
    """The posteriors of a batch, of as many particles at a time as memory for their slices asks for.

    Parameters
    ----------
    own, euler_deg : present orientations, (n, 3, 3) matrices and (n, 3) angles
    """
    if plan.settings.skip_align:
        yield of_own_poses(be, plan, batch, data, own, euler_deg)
        return
    if plan.local:
        samples, prior = coarse_local(be, plan, batch, data, own)
    else:
        samples, prior = coarse_global(be, plan, batch, data), None
    most_rows = max(slices_bytes(plan.local, plan.lattice) // (8 * len(data.geometry.band)), 1)
    for part in chunks(plan, samples, most_rows):
        some, some_prior = cut_samples(samples, prior, part)
        yield of_samples(be, plan, batch.part(part), data.part(part), some, some_prior, most_rows)


def cut_samples(samples, prior, part: slice):
    """The samples of consecutive particles, and their prior."""
    start, pose, shift = samples
    inside = slice(start[part.start], start[part.stop])
    own = start[part.start : part.stop + 1] - start[part.start]
    return (own, pose[inside], shift[inside]), None if prior is None else prior[inside]


def of_own_poses(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, own, euler_deg) -> Found:
    """Posteriors over classes and shifts of particles that keep their orientations."""
    posterior, bank = own_poses(be, plan, batch, data, own)
    pose, shift, p_max, evidence = posterior[4:]
    i_class = np.maximum(pose, 0) // len(batch)
    best = Best(pose >= 0, i_class, euler_deg, shift, p_max, evidence, np.diff(posterior[0]))
    return Found(batch, data, best, iter([(bank, None, posterior)]))


def of_samples(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, samples, prior, most_rows: int) -> Found:
    """Posteriors over the children of coarse samples, in parts where their slices need too much memory."""
    n_child = plan.fine.n_row // plan.coarse.n_row
    parents, most_parents = rows_of(samples[1], plan.coarse.n_row), max(most_rows // n_child, 1)
    if len(parents) * n_child <= most_rows:
        posterior, bank, rows = fine_pass(be, plan, batch, data, samples, prior, plan.settings.adaptive_fraction)
        pose = grid_poses(plan, rows, posterior[4])
        pieces = iter([(bank, rows, posterior)])
    else:
        blocks = [parents[i : i + most_parents] for i in range(0, len(parents), most_parents)]
        posterior = score_in_parts(be, plan, batch, data, samples, prior, blocks)
        pose = posterior[4]
        pieces = cut_again(be, plan, data.geometry, posterior, most_rows)
    found, pose = pose >= 0, np.maximum(pose, 0)
    euler_deg = matrix_to_euler(plan.fine.matrices(pose))
    best = Best(found, plan.fine.split(pose)[0], euler_deg, *posterior[5:], np.diff(samples[0]))
    return Found(batch, data, best, pieces)


def grid_poses(plan: Plan3D, rows, pose):
    """(n,) int32 poses of the fine grid from those of a bank of some of its rows; -1 stays."""
    if not len(rows):
        return np.full(len(pose), -1, np.int32)
    turned, place = np.divmod(pose, np.int32(len(rows)))
    return np.where(pose >= 0, rows.astype(np.int32)[place] + turned * np.int32(plan.fine.n_row), np.int32(-1))


def of_rows(start, pose, n_row: int, rows):
    """Which poses are of the rows from the first to the last of some ascending ones, ascending numbers, and their starts."""
    row = pose % np.int32(n_row)
    inside = (row >= rows[0]) & (row <= rows[-1]) if len(rows) else np.zeros(len(row), bool)
    kept = np.flatnonzero(inside)
    return kept, np.searchsorted(kept, start)


def score_in_parts(be, plan: Plan3D, batch: em.Batch, data: em.Prepared, samples, prior, blocks):
    """As the fine pass, one block of the coarse grid's rows after the other.

    Parameters
    ----------
    blocks : ascending rows of the coarse grid, which hold all samples together

    Returns
    -------
    The posterior, in the fine grid's poses
    """
    start, pose, shift = samples
    parts = []
    for rows in blocks:
        kept, own_start = of_rows(start, pose, plan.coarse.n_row, rows)
        some = own_start, pose[kept], shift[kept]
        some_prior = None if prior is None else prior[kept]
        posterior, bank, fine_rows = fine_pass(be, plan, batch, data, some, some_prior, 1.0, np.diff(start))
        del bank  # before the next one, which takes its memory
        on_grid = [grid_poses(plan, fine_rows, posterior[i]) for i in (1, 4)]
        parts.append((posterior[0], on_grid[0], *posterior[2:4], on_grid[1], *posterior[5:]))
    return joined(parts, plan.settings.adaptive_fraction, plan.correlation)


def joined(parts, fraction: float, correlation: bool):
    """One posterior of several of the same images, each whole, normalised by itself, and over other poses.

    In correlation mode the part with the best point has all the weight.

    Parameters
    ----------
    parts : posteriors as ``kernels.score_fine`` gives them, of all points
    fraction : of the posterior that the points hold that are kept
    """
    evidence = np.array([np.where(p[4] >= 0, p[7], -np.inf) for p in parts], float)  # (part, image)
    top = evidence.max(0)
    found = np.isfinite(top)
    share = np.exp(evidence - np.where(found, top, 0))
    if correlation:
        share = (np.arange(len(parts))[:, None] == evidence.argmax(0)) * 1.0
    total = np.where(found, share.sum(0), 1)
    share /= total
    p_max = share * [p[6] for p in parts]
    best = p_max.argmax(0), np.arange(len(top))
    of_best = lambda i: np.array([p[i] for p in parts])[best]
    points = [joined_points(parts, share[:, i], i, fraction) for i in range(len(top))]
    start = np.concatenate([[0], np.cumsum([len(weight) for *_, weight in points])])
    pose, shift, weight = (np.concatenate(column) for column in zip(*points))
    log_evidence = np.where(found, top + (0 if correlation else np.log(total)), -np.inf)
    return (start, pose, shift, weight, np.where(found, of_best(4), -1), of_best(5), p_max[best].astype(np.float32),
            log_evidence)  # fmt: skip


def joined_points(parts, share, i: int, fraction: float):
    """Pose, shift and weight of the heaviest points of image i that hold a fraction of its posterior; the weights sum to 1."""
    of_image = [slice(p[0][i], p[0][i + 1]) for p in parts]
    pose, shift = (np.concatenate([p[k][some] for p, some in zip(parts, of_image)]) for k in (1, 2))
    weight = np.concatenate([np.float32(s) * p[3][some] for s, p, some in zip(share, parts, of_image)])
    heaviest = np.sort(weight)[::-1]
    n = min(np.searchsorted(np.cumsum(heaviest, dtype=float), fraction) + 1, np.count_nonzero(heaviest))
    kept = weight >= heaviest[n - 1] if n else np.zeros(len(weight), bool)
    return pose[kept], shift[kept], weight[kept] / np.float32(weight[kept].sum(dtype=float))


def cut_again(be, plan: Plan3D, geometry: Geometry, posterior, most_rows: int) -> Iterator[tuple]:
    """Pieces of a posterior in the fine grid's poses, each with a bank of so many of the rows that have weight.

    One empty piece where nothing has weight, as every search failed.
    """
    start, pose, shift, weight = posterior[:4]
    rows = rows_of(pose, plan.fine.n_row)
    for i in range(0, max(len(rows), 1), most_rows):
        some = rows[i : i + most_rows]
        kept, own_start = of_rows(start, pose, plan.fine.n_row, some)
        turned, row = np.divmod(pose[kept], np.int32(plan.fine.n_row))
        in_bank = (np.searchsorted(some, row) + turned * len(some)).astype(np.int32)
        prior = np.zeros(2 * len(some), np.float32)  # as all is scored
        bank = make_bank(be, plan, geometry, plan.fine, some, len(geometry.band), prior, passing=True)
        yield bank, some, (own_start, in_bank, shift[kept], weight[kept], *posterior[4:])
        del bank  # before the next one, which takes its memory
