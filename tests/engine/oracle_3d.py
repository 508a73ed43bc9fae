"""One expectation with 3D references from its definition: float64, one score at a time, on whole complex cubes.

Nothing of the engine is used: no bands, no matrix products, no pose that is another's conjugate, no half cube. What a
particle's transforms are is as in 2D. Source: docs/equations.md#score, #local, #sums, #slice3d
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np
import oracle_class2d as flat
from oracle_class2d import RIM, kept, rounded, shifted


@dataclass
class Problem(flat.Problem):
    """As in 2D, with K maps; and the directions of the grid, each with its children."""

    euler_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    directions_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # (n_dir, 2)
    children_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2)))  # (n_dir, n_child, 2)
    direction_weight: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # (K, n_dir)
    rotations: np.ndarray = field(default_factory=lambda: np.eye(3)[None])  # of the point group
    sigma_deg: float = 0.0
    only_class: np.ndarray | None = None  # (n,), -1 = any


def matrix_of(euler_deg):
    """Turns about z, y, z: rot, tilt, psi."""
    out = np.eye(3)
    for angle, axis in zip(np.radians(euler_deg), "zyz"):
        c, s = math.cos(angle), math.sin(angle)
        turn = [[c, s, 0], [-s, c, 0], [0, 0, 1]] if axis == "z" else [[c, 0, -s], [0, 1, 0], [s, 0, c]]
        out = np.array(turn) @ out
    return out


def angle_deg(a, b):
    return math.degrees(math.acos(max(-1.0, min(1.0, (np.trace(a @ b.T) - 1) / 2))))


# Maps


def lattice_of(p: Problem):
    """Radius in use and side of the padded cube, samples."""
    return int(rounded(flat.sizes(coarse_view(p))[0] / 2 * p.padding)), p.padding * p.box


def coarse_view(p: Problem):
    """In 3D the coarse pass has a margin of 1.2, in 2D of 1.5; for all else the problem as 2D has it."""
    return replace(p, psi_step_deg=p.psi_step_deg * 1.5 / 1.2)


def cube_radii(n):
    x = np.arange(n) - n // 2
    return np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)


def padded_transform(p: Problem, volume):
    """(side + 1)^3 samples, origin in the middle; zero beyond the radius in use."""
    radius, side = lattice_of(p)
    first = side // 2 - p.box // 2
    cube = np.zeros((side,) * 3)
    cube[(slice(first, first + p.box),) * 3] = volume / np.sinc(cube_radii(p.box) / side) ** 2
    ft = np.fft.fftn(np.fft.ifftshift(cube)) / p.box**2
    index = np.arange(-side // 2, side // 2 + 1) % side
    return np.where(cube_radii(side + 1) <= radius, ft[np.ix_(index, index, index)], 0)


def corners(place, n):
    """Eight samples around points (3, m) given as x, y, z: index in the cube, share."""
    low = np.floor(place).astype(int)
    for step in itertools.product((0, 1), repeat=3):
        at = low + np.array(step)[:, None]
        share = np.prod(1 - np.abs(place - at), axis=0)
        x, y, z = np.clip(at + n // 2, 0, n - 1)
        yield (z, y, x), share


def places(p: Problem, group, matrix, kx, ky):
    """Where pixels of a group's images lie in the padded transform: the rows of the matrix span the image plane."""
    x, y = np.array(group.magnification) @ np.stack([kx, ky])
    return p.padding * p.ratio(group) * (x * matrix[0][:, None] + y * matrix[1][:, None])


def cut(p: Problem, dense, group, matrix, v):
    place = places(p, group, matrix, v.kx, v.ky)
    value = sum(share * dense[index] for index, share in corners(place, len(dense)))
    inside = np.linalg.norm(place, axis=0) <= lattice_of(p)[0] + RIM
    return np.where(inside, value, 0) * p.ratio(group) ** 2


def insert(p: Problem, group, matrix, v, f, w, data, weight):
    """A slice and its Friedel mate into whole cubes; the origin is its own mate."""
    gain, place = p.ratio(group) ** 2, places(p, group, matrix, v.kx, v.ky)
    inside = (np.linalg.norm(place, axis=0) <= lattice_of(p)[0] + RIM) & (w > 0)
    mated = inside & ((v.kx != 0) | (v.ky != 0))
    for sign, values, used in ((1, f, inside), (-1, f.conj(), mated)):
        for index, share in corners(sign * place[:, used], len(data)):
            np.add.at(data, index, share * values[used] * gain)
            np.add.at(weight, index, share * w[used] * gain**2)


# Expectation


class Slices:
    """Slices by (class, group, pose), cut when first asked for."""

    def __init__(self, p: Problem):
        self.p, self.kept = p, {}
        self.dense = [padded_transform(p, r) for r in p.references]

    def __call__(self, c, g, key, matrix, v):
        if (c, g, key) not in self.kept:
            self.kept[c, g, key] = cut(self.p, self.dense[c], self.p.groups[g], matrix, v)
        return self.kept[c, g, key]


def log_weight(p: Problem, i, v, a, t_A, used, log_prior):
    g = p.group_of[i]
    x, model = shifted(p.groups[g], v, v.masked, t_A)[used], (v.ctf * a)[used]
    if p.correlation:
        return np.sum((model.conj() * x).real) / math.sqrt(np.sum(np.abs(model) ** 2) * np.sum(np.abs(x) ** 2))
    misfit = np.sum((np.abs(x - model) ** 2 - np.abs(x) ** 2) / (2 * p.sigma2[g][v.shell[used]]))
    return -misfit + log_prior - np.sum((p.shift_A[i] + np.array(t_A)) ** 2) / (2 * p.sigma_offset_A**2)


def priors(p: Problem, i):
    """Log prior of each coarse pose (class, direction, psi) that is searched for particle i."""
    psis = flat.parents(p)[0]
    poses = list(itertools.product(range(len(p.directions_deg)), range(len(psis))))
    classes = [c for c in range(len(p.references)) if p.only_class is None or p.only_class[i] in (-1, c)]
    if p.sigma_deg == 0:
        w = {(c, d, s): p.direction_weight[c, d] / len(psis) for c in classes for d, s in poses}
        return {key: math.log(value) for key, value in w.items() if value > 0}
    own = matrix_of(p.euler_deg[i])
    angle = {
        (d, s): min(angle_deg(matrix_of([*p.directions_deg[d], psis[s]]), own @ r) for r in p.rotations)
        for d, s in poses
    }
    near = {key: math.exp(-0.5 * (a / p.sigma_deg) ** 2) for key, a in angle.items() if a < 3 * p.sigma_deg}
    near = near or {min(angle, key=angle.get): 1.0}
    total = sum(near.values())
    return {
        (c, d, s): math.log(p.class_weight[c] * value / total)
        for c in classes
        for (d, s), value in near.items()
        if p.class_weight[c] > 0
    }


def posterior(p: Problem, i, v, slices: Slices):
    """Significant samples; weight of each kept (class, direction, matrix key, shift), best, p_max, log evidence."""
    psis, shifts, step = flat.parents(p)
    g, move = p.group_of[i], p.perturb * p.offset_step_A
    turn = matrix_of([p.perturb * step] * 3)
    prior, coarse, fine, matrices = priors(p, i), {}, {}, {}
    for (c, d, s), log_prior in prior.items():
        a = slices(c, g, ("coarse", d, s), matrix_of([*p.directions_deg[d], psis[s]]) @ turn, v)
        for it, t in enumerate(shifts):
            coarse[c, d, s, it] = log_weight(p, i, v, a, (t[0] + move, t[1] + move), v.coarse, log_prior)
    samples, *_ = kept(coarse, 0 if p.correlation else p.fraction)
    n_child = p.children_deg.shape[1] * 2**p.oversampling
    for c, d, s, it in samples:
        for i_dir, direction in enumerate(p.children_deg[d]):
            for psi in flat.parts(psis[s], step, p.oversampling):
                key = (d, i_dir, round(psi, 9))
                matrices[key] = matrix_of([*direction, psi]) @ turn
                a = slices(c, g, key, matrices[key], v)
                for x in flat.parts(shifts[it][0], p.offset_step_A, p.oversampling):
                    for y in flat.parts(shifts[it][1], p.offset_step_A, p.oversampling):
                        t = (x + move, y + move)
                        log_prior = prior[c, d, s] - math.log(n_child)
                        fine[c, key, t] = log_weight(p, i, v, a, t, v.fine, log_prior)
    points, most, total = kept(fine, 0 if p.correlation else p.fraction)
    mass = sum(math.exp(fine[k] - most) for k in points)
    weights = {k: math.exp(fine[k] - most) / mass for k in points}
    p_max, evidence = (1.0, most) if p.correlation else (1 / total, most + math.log(total))
    return len(samples), weights, points[0], p_max, evidence, matrices


def expectation(p: Problem) -> dict:
    """Rows (per particle) and sums."""
    n, k, s, slices = len(p.images), len(p.references), p.n_shells, Slices(p)
    side, rows, views, every = lattice_of(p)[1] + 1, {}, {}, {}
    out = {name: np.zeros(n) for name in ("p_max", "log_likelihood", "norm")}
    out |= {"matrix": np.zeros((n, 3, 3)), "class_number": np.zeros(n, int), "n_significant": np.zeros(n, int)}
    out |= {"shift_A": np.zeros((n, 2)), "noise": np.zeros((len(p.groups), s)), "class_weight": np.zeros(k)}
    out |= {"directions": np.zeros((k, len(p.directions_deg))), "offset2": 0.0}
    out |= {"scale_cross": np.zeros(len(p.scale)), "scale_model": np.zeros(len(p.scale))}
    out |= {"data": np.zeros((k, side, side, side), complex), "weight": np.zeros((k, side, side, side))}
    for i in range(n):
        v, g = flat.view(coarse_view(p), i), p.group_of[i]
        group, scale, m = p.groups[g], p.scale[p.micrograph[i]] if p.use_scale else 1.0, p.micrograph[i]
        n_samples, weights, best, p_max, evidence, matrices = posterior(p, i, v, slices)
        residual = v.power - np.bincount(v.shell, np.abs(v.masked) ** 2, s)  # beyond the band, all of it
        for (c, key, t), w in weights.items():
            model = v.ctf * slices(c, g, key, matrices[key], v)
            x, u = shifted(group, v, v.masked, t), shifted(group, v, v.plain, t)
            residual += w * np.bincount(v.shell, np.abs(model - x) ** 2, s)
            counted = p.data_vs_prior[c][v.shell] > 3
            out["scale_cross"][m] += w * np.sum((x.conj() * model).real[counted]) / scale
            out["scale_model"][m] += w * np.sum(np.abs(model[counted]) ** 2) / scale**2
            share = w / p.sigma2[g][v.shell] * (np.ones_like(v.ctf) if group.premultiplied else v.ctf)
            f, precision = rows.get((c, g, key), (0, 0))
            rows[c, g, key] = f + share * u, precision + share * v.ctf
            out["class_weight"][c] += w
            out["directions"][c, key[0]] += w
            out["offset2"] += w * np.sum((p.shift_A[i] + np.array(t)) ** 2)
        out["noise"][g] += residual
        views[g] = v
        every |= matrices
        out["matrix"][i], out["class_number"][i] = matrices[best[1]], best[0] + 1
        out["shift_A"][i] = p.shift_A[i] + best[2]
        out["p_max"][i], out["n_significant"][i] = p_max, n_samples
        out["log_likelihood"][i] = evidence if p.correlation else evidence + flat.constant(p, i, v)
        changed = p.use_norm and not p.correlation
        out["norm"][i] = p.norm[i] / p.average_norm * math.sqrt(2 * residual.sum()) if changed else p.norm[i]
    for (c, g, key), (f, w) in rows.items():
        insert(p, p.groups[g], every[key], views[g], f, w, out["data"][c], out["weight"][c])
    return out
