"""A tiny 3D problem that the engine and its oracle can both run."""

from __future__ import annotations

import functools

import class2d_case as flat_case
import numpy as np
import oracle_3d as oracle
import oracle_images

from vitreous import backend
from vitreous.engine import em3d, orientations, plan3d
from vitreous.model import healpix
from vitreous.model.rotation import euler_to_matrix
from vitreous.model.state import Model, Progress, Sampling
from vitreous.model.symmetry import Symmetry

BOX, PIXEL_A, DIAMETER_A = 16, 4.0, 44.0
# x, y, z, standard deviation (A), mass; no view like another.
ATOMS = ((-8, -5, 2, 5, 1.0), (7, 3, -6, 5, 0.8), (1, 10, 8, 5, 0.7), (10, -9, 5, 5, 0.5))
OTHERS = ((0, 0, 0, 6, 1.0), (9, -9, 4, 5, 0.9), (-4, 10, -8, 5, 0.6))
CASES = {
    "global": {},
    "two classes": {"k": 2, "order": 0},
    "local": {"sigma_deg": 12.0, "order": 1},
    "local, two classes": {"sigma_deg": 12.0, "order": 1, "k": 2, "class_weight": np.array([0.7, 0.3])},
    "local, nearest alone": {"sigma_deg": 0.2, "order": 1},
    "D2": {"symmetry": "D2", "order": 1, "noise": 1.2},
    "local, C3": {"symmetry": "C3", "order": 1, "sigma_deg": 12.0},
    "two optics groups": {"two_groups": True, "use_norm": True, "use_scale": True},
    "premultiplied": {"premultiplied": True},
    "correlation": {"correlation": True},
    "local correlation": {"correlation": True, "order": 1, "sigma_deg": 12.0},
    "no oversampling": {"oversampling": 0, "order": 1},
    "uneven directions": {"uneven": True},
    "one class each": {"k": 2, "only_class": np.array([1, 0, 0, 1])},
    "local, one class each": {"k": 2, "only_class": np.array([1, 0, 0, 1]), "order": 1, "sigma_deg": 12.0},
    "strict resolution": {"strict_highres_A": 20.0},
}


def atoms_of(atoms, symmetry):
    """Centres (m, 3), widths and masses with the copies of a point group."""
    table = np.array(atoms, float)
    rotations = Symmetry.parse(symmetry).rotations
    return np.concatenate([table[:, :3] @ r.T for r in rotations]), *np.tile(table[:, 3:].T, len(rotations))


def volume(atoms, symmetry="C1", box=BOX, pixel_A=PIXEL_A):
    centres, widths, masses = atoms_of(atoms, symmetry)
    z, y, x = (np.indices((box,) * 3) - box // 2) * pixel_A
    terms = (
        m * np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) / (2 * w**2))
        for c, w, m in zip(centres, widths, masses)
    )
    return sum(terms)


def picture(atoms, symmetry, matrix, shift_A, box, pixel_A):
    """(box, box) sum of the voxels of PIXEL_A along the beam; moved by +shift it would be centred."""
    centres, widths, masses = atoms_of(atoms, symmetry)
    x = (np.arange(box) - box // 2) * pixel_A
    out = np.zeros((box, box))
    for (px, py, _), w, m in zip(centres @ matrix.T, widths, masses):
        along = m * np.sqrt(2 * np.pi) * w / PIXEL_A
        out += along * np.exp(-((x[None] - px + shift_A[0]) ** 2 + (x[:, None] - py + shift_A[1]) ** 2) / (2 * w**2))
    return out


def groups(two, premultiplied):
    first = oracle_images.Group(BOX, PIXEL_A, premultiplied=premultiplied)
    second = oracle_images.Group(18, 4.4, 200.0, 2.0, 0.07, (3.0, -2.0), ((1.02, 0.01), (0.01, 0.97)))
    return [first, second] if two else [first]


def particles(rng, parts, group_of, several, symmetry, noise):
    """Images of random views, with every second molecule another where there are ``several``; defocus, angles, shifts."""
    n, images = len(group_of), []
    defocus = np.stack([rng.uniform(5e3, 9e3, n), rng.uniform(5e3, 9e3, n), rng.uniform(0, 180, n)], 1)
    euler = np.column_stack([rng.uniform(-180, 180, n), np.degrees(np.arccos(rng.uniform(-1, 1, n)))])
    euler = np.column_stack([euler, rng.uniform(-180, 180, n)])
    shift = rng.uniform(-4, 4, (n, 2))
    for i in range(n):
        group = parts[group_of[i]]
        atoms = (ATOMS, OTHERS)[i % 2 if several else 0]
        image = picture(atoms, symmetry, euler_to_matrix(euler[i]), shift[i], group.box, group.pixel_A)
        image = flat_case.with_optics(group, image, defocus[i])
        images.append((image + noise * rng.normal(size=image.shape)).astype(np.float32))
    return images, defocus, euler, shift


def problem(
    n=4, k=1, order=0, symmetry="C1", noise=0.8, two_groups=False, premultiplied=False, uneven=False, seed=0, **changes
) -> oracle.Problem:
    rng = np.random.default_rng(seed)
    parts, group_of = groups(two_groups, premultiplied), np.arange(n) % (1 + two_groups)
    images, defocus, euler, true_shift = particles(rng, parts, group_of, k > 1, symmetry, noise)
    maps = np.stack([volume((ATOMS, OTHERS)[c], symmetry) + 0.02 * rng.normal(size=(BOX,) * 3) for c in range(k)])
    over, n_shells = changes.get("oversampling", 1), BOX // 2 + 1
    group = Symmetry.parse(symmetry)
    coarse, _ = orientations.coarse_and_fine(backend.cpu(1), sampling(order, over, 0.3), group, k)
    pixels = orientations.unit_pixels(backend.cpu(1), order, group)
    fine = healpix.directions(backend.cpu(1), order + over)[healpix.children(pixels, over)]
    weight = changes.get("class_weight", np.full(k, 1 / k))
    direction = rng.uniform(0.0, 1, (k, len(pixels))) if uneven else np.ones((k, len(pixels)))
    direction[:, 1] *= not uneven  # a direction without weight is not searched
    values = {
        "groups": parts,
        "images": images,
        "fills": None,
        "group_of": group_of,
        "defocus": defocus,
        "psi_deg": euler[:, 2],
        "shift_A": true_shift + rng.normal(0, 1.0, (n, 2)),
        "norm": rng.uniform(0.9, 1.1, n),
        "micrograph": np.arange(n) % 3,
        "references": maps.astype(np.float32).astype(float),
        "pixel_A": PIXEL_A,
        "class_weight": weight,
        "class_offset_A": np.zeros((k, 2)),
        "sigma2": np.array([noise**2 / (2 * g.box**2) for g in parts])[:, None]
        * rng.uniform(0.8, 1.2, (len(parts), n_shells)),
        "data_vs_prior": np.linspace(8, 0, n_shells) * np.ones((k, 1)),
        "scale": np.array([1.1, 0.9, 1.0]),
        "average_norm": 1.02,
        "sigma_offset_A": 4.0,
        "resolution_A": 16.0,
        "increment_px": 2,
        "tau2_fudge": 1.0,
        "padding": 2,
        "psi_step_deg": healpix.step_deg(order),
        "offset_range_A": 4.0,
        "offset_step_A": 4.0,
        "oversampling": 1,
        "perturb": 0.3,
        "diameter_A": DIAMETER_A,
        "euler_deg": euler,
        "directions_deg": coarse.directions_deg,
        "children_deg": fine,
        "direction_weight": direction * (weight / direction.sum(1))[:, None],
        "rotations": group.rotations,
        "extra": {"symmetry": symmetry, "order": order, "uneven": uneven},
    }
    return oracle.Problem(**(values | changes))


def sampling(order, oversampling, perturb, sigma_deg=0.0):
    step = healpix.step_deg(order)
    return Sampling(step, 4.0, 4.0, oversampling, 0.5, perturb, step, 4.0, 4.0, order, sigma_deg)


def model_of(p: oracle.Problem) -> Model:
    return flat_case.model_of(p)


def plan_of(be, p: oracle.Problem, model=None, iteration=3, size=None, **settings):
    progress = Progress(iteration=iteration, increment_px=p.increment_px)
    group = Symmetry.parse(p.extra["symmetry"])
    where = sampling(p.extra["order"], p.oversampling, p.perturb, p.sigma_deg)
    weight = p.direction_weight if p.extra["uneven"] else None
    chosen = flat_case.settings_of(p, **settings)
    return plan3d.make_plan(be, model or model_of(p), where, progress, chosen, group, weight, size)


def expect(be, p: oracle.Problem, size=100, plan=None, euler_deg=None, **settings):
    """Plan, sums, and the particles' rows joined in their order."""
    plan = plan_of(be, p, **settings) if plan is None else plan
    euler_deg = p.euler_deg if euler_deg is None else euler_deg
    acc, rows = em3d.Accumulator3D.empty(plan), []
    for g in range(len(p.groups)):
        same = np.flatnonzero(p.group_of == g)
        for first in range(0, len(same), size):
            some = same[first : first + size]
            batch = flat_case.batch_of(p, some, None if p.only_class is None else p.only_class[some])
            rows.append(em3d.expect(be, plan, batch, acc, euler_deg[some]))
    order = np.argsort(np.concatenate([r.index for r in rows]))
    joined = {name: np.concatenate([getattr(r, name) for r in rows])[order] for name in vars(rows[0])}
    return plan, acc, em3d.Rows3D(**joined)


@functools.cache
def oracle_of(name):
    """Problem of a case and what the oracle makes of it."""
    made = problem(**CASES[name])
    return made, oracle.expectation(made)
