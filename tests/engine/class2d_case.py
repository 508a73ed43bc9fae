"""A tiny classification that the engine and its oracle can both run: made-up particles, the same numbers for each."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import oracle_class2d as oracle
import oracle_images

from vitreous.engine import em
from vitreous.engine.plan import make_plan
from vitreous.engine.settings import Settings
from vitreous.model.optics import OpticsGroup
from vitreous.model.state import Model, Progress, Sampling

BOX, PIXEL_A, DIAMETER_A = 24, 3.0, 48.0
# Two asymmetric molecules: x, y, standard deviation (A), mass.
MOLECULES = (
    ((-8, -4, 5, 1.0), (7, 2, 4, 0.8), (2, 11, 4, 0.6)),
    ((0, 0, 5, 1.0), (9, -8, 4, 0.9), (-4, 10, 4.5, 0.7), (-12, 2, 4, 0.5)),
)


def picture(molecule, box, pixel_A, psi_deg=0.0, shift_A=(0.0, 0.0), scale=1.0):
    """(box, box) density of Gaussians, seen at psi; moved by +shift it would be centred."""
    c, s = math.cos(math.radians(psi_deg)), math.sin(math.radians(psi_deg))
    x = (np.arange(box) - box // 2) * pixel_A
    out = np.zeros((box, box))
    for gx, gy, sigma, mass in molecule:
        px, py = c * gx + s * gy - shift_A[0], -s * gx + c * gy - shift_A[1]
        out += mass * np.exp(-((x[None] - px) ** 2 + (x[:, None] - py) ** 2) / (2 * sigma**2))
    return scale * out


def with_optics(group, image, defocus):
    """The image as the group's optics leave it: beam tilt, then CTF (squared for premultiplied groups)."""
    kx, ky = oracle_images.half_plane(group.box)
    ft = oracle_images.transform(image)(kx, ky) * oracle_images.contrast(group, defocus, kx, ky) * oracle_images.coma(group, kx, ky).conj()
    full = np.zeros((group.box, group.box), complex)
    full[-ky % group.box, -kx % group.box] = ft.conj()
    full[ky % group.box, kx % group.box] = ft
    return np.fft.fftshift(np.fft.ifft2(full * group.box**2).real)


# Choices under which the engine is held against the oracle.
CASES = {
    "plain": {},
    "without CTF": {"ctf": False},
    "noise outside the mask": {"zero_mask": False},
    "norm and scale": {"use_norm": True, "use_scale": True},
    "correlation": {"correlation": True},
    "premultiplied": {"premultiplied": True},
    "premultiplied, scaled": {"premultiplied": True, "use_scale": True, "use_norm": True},
    "two optics groups": {"two_groups": True, "use_norm": True, "use_scale": True},
    "two optics groups, noise": {"two_groups": True, "zero_mask": False},
    "no oversampling": {"oversampling": 0},
    "twice oversampled": {"oversampling": 2, "psi_step_deg": 90.0, "offset_range_A": 0.0, "n": 6},
    "odd number of angles": {"psi_step_deg": 52.0},
    "strict resolution": {"strict_highres_A": 16.0},
    "all shells": {"increment_px": 10, "n": 6},
    "one class": {"k": 1},
    "an empty class": {"k": 3, "class_weight": np.array([0.7, 0.0, 0.3])},
    "padding 1": {"padding": 1},
}


def groups(two=False, premultiplied=False):
    """One group; or a second one with another box, pixel, voltage, a beam tilt and unequal magnifications."""
    first = oracle_images.Group(BOX, PIXEL_A, premultiplied=premultiplied)
    second = oracle_images.Group(28, 3.2, 200.0, 2.0, 0.07, (3.0, -2.0), ((1.02, 0.01), (0.01, 0.97)), premultiplied)
    return [first, second] if two else [first]


def problem(n=8, k=2, noise=0.3, two_groups=False, premultiplied=False, zero_mask=True, ctf=True, seed=0, **changes):
    """An oracle's problem; changes are its fields."""
    rng = np.random.default_rng(seed)
    parts = groups(two_groups, premultiplied)
    group_of = np.arange(n) % len(parts)
    defocus = np.stack([rng.uniform(5e3, 9e3, n), rng.uniform(5e3, 9e3, n), rng.uniform(0, 180, n)], 1)
    true_psi, true_shift = rng.uniform(0, 360, n), rng.uniform(-5, 5, (n, 2))
    images = []
    for i in range(n):
        group = parts[group_of[i]]
        # Images of unequal physical size hold the same density, so their transforms differ by the ratio of areas.
        image = picture(MOLECULES[i % len(MOLECULES)], group.box, group.pixel_A, true_psi[i], true_shift[i])
        image = with_optics(group, image, defocus[i]) if ctf else image
        images.append((image + noise * rng.normal(size=image.shape)).astype(np.float32))
    references = np.stack(
        [picture(MOLECULES[c % 2], BOX, PIXEL_A, scale=0.8) + 0.05 * rng.normal(size=(BOX, BOX)) for c in range(k)]
    )
    n_shells = BOX // 2 + 1
    flat = np.array([noise**2 / (2 * group.box**2) for group in parts])
    values = {
        "groups": parts,
        "images": images,
        "fills": None,
        "group_of": group_of,
        "defocus": defocus,
        "psi_deg": true_psi,
        "shift_A": true_shift + rng.normal(0, 1.5, (n, 2)),
        "norm": rng.uniform(0.9, 1.1, n),
        "micrograph": np.arange(n) % 3,
        "references": references.astype(np.float32).astype(float),
        "pixel_A": PIXEL_A,
        "class_weight": np.array([0.6, 0.4]) if k == 2 else np.full(k, 1 / k),
        "class_offset_A": rng.normal(0, 1, (k, 2)),
        "sigma2": flat[:, None] * rng.uniform(0.8, 1.2, (len(parts), n_shells)),
        "data_vs_prior": np.linspace(8, 0, n_shells) * np.ones((k, 1)),
        "scale": np.array([1.1, 0.9, 1.0]),
        "average_norm": 1.02,
        "sigma_offset_A": 4.0,
        "resolution_A": 18.0,
        "increment_px": 4,
        "tau2_fudge": 2.0,
        "padding": 2,
        "psi_step_deg": 45.0,
        "offset_range_A": 3.0,
        "offset_step_A": 3.0,
        "oversampling": 1,
        "perturb": 0.3,
        "diameter_A": DIAMETER_A,
        "ctf": ctf,
    }
    made = oracle.Problem(**(values | changes))
    if not zero_mask:
        made.extra["noise_fill"] = True
    return made


@functools.cache
def oracle_of(be, name):
    """Problem of a case and what the oracle makes of it."""
    made = problem(**CASES[name])
    return made, oracle.iteration(with_fills(be, made))


def optics_group(group: oracle_images.Group, number: int) -> OpticsGroup:
    return OpticsGroup(
        f"g{number}",
        number,
        group.voltage_kV,
        group.Cs_mm,
        group.amplitude_contrast,
        group.pixel_A,
        group.box,
        beam_tilt_mrad=tuple(group.tilt_mrad),
        magnification=group.magnification,
        premultiplied=group.premultiplied,
    )


def model_of(p: oracle.Problem) -> Model:
    k, s = len(p.references), p.n_shells
    count = np.bincount(p.micrograph, minlength=len(p.scale))
    return Model(
        p.pixel_A,
        p.references.astype(np.float32),
        np.array(p.class_weight),
        np.array(p.sigma2),
        np.zeros((k, s)),
        np.array(p.data_vs_prior),
        np.zeros((k, s)),
        np.zeros((k, s)),
        np.array(p.class_offset_A),
        np.full(k, 999.0),
        np.full(k, 999.0),
        np.full(k, 999.0),
        np.zeros(k),
        [f"m{i}" for i in range(len(p.scale))],
        count,
        np.array(p.scale),
        sigma_offset_A=p.sigma_offset_A,
        average_norm=p.average_norm,
        current_resolution_A=p.resolution_A,
        tau2_fudge=p.tau2_fudge,
        padding=float(p.padding),
    )


def sampling_of(p: oracle.Problem) -> Sampling:
    return Sampling(
        p.psi_step_deg,
        p.offset_range_A,
        p.offset_step_A,
        p.oversampling,
        0.5,
        p.perturb,
        p.psi_step_deg,
        p.offset_range_A,
        p.offset_step_A,
    )


def settings_of(p: oracle.Problem, **changes) -> Settings:
    values = {
        "particle_diameter_A": p.diameter_A,
        "mask_edge_px": p.edge_px,
        "zero_mask": "noise_fill" not in p.extra,
        "ctf": p.ctf,
        "norm": p.use_norm,
        "scale": p.use_scale,
        "adaptive_fraction": p.fraction,
        "always_cc": p.correlation,
        "minres_map": p.minres,
        "strict_highres_A": p.strict_highres_A,
        "random_seed": 3,
    }
    return Settings(**(values | changes))


def plan_of(be, p: oracle.Problem, iteration=3, model=None, **settings):
    progress = Progress(iteration=iteration, increment_px=p.increment_px)
    return make_plan(be, model or model_of(p), sampling_of(p), progress, settings_of(p, **settings))


def batch_of(p: oracle.Problem, indices, only_class=None) -> em.Batch:
    """A batch of particles, all of one group."""
    indices = np.asarray(indices)
    i_optics = int(p.group_of[indices[0]])
    group = p.groups[i_optics]
    table = np.zeros((len(indices), 9))
    table[:, :3] = p.defocus[indices]
    table[:, 3:6] = group.voltage_kV, group.Cs_mm, group.amplitude_contrast
    table[:, 8] = 1
    only = np.full(len(indices), -1, np.int32) if only_class is None else np.asarray(only_class, np.int32)
    return em.Batch(
        indices,
        indices.astype(np.int64),
        np.stack([p.images[i] for i in indices]),
        i_optics,
        optics_group(group, i_optics + 1),
        table,
        p.psi_deg[indices],
        p.shift_A[indices],
        np.zeros(len(indices), np.int32),
        p.norm[indices],
        p.micrograph[indices].astype(np.int32),
        only,
    )


def batches_of(p: oracle.Problem, size=100):
    for g in range(len(p.groups)):
        same = np.flatnonzero(p.group_of == g)
        for first in range(0, len(same), size):
            yield batch_of(p, same[first : first + size])


def expect(be, p: oracle.Problem, size=100, plan=None, **settings):
    """Plan, sums, and the particles' rows joined in their order."""
    plan = plan_of(be, p, **settings) if plan is None else plan
    acc, rows = em.Accumulator.empty(plan), []
    for batch in batches_of(p, size):
        rows.append(em.expect(be, plan, batch, acc))
    order = np.argsort(np.concatenate([r.index for r in rows]))
    joined = {name: np.concatenate([getattr(r, name) for r in rows])[order] for name in vars(rows[0])}
    return plan, acc, em.Rows(**joined)


def with_fills(be, p: oracle.Problem) -> oracle.Problem:
    """The problem with the engine's synthetic noise handed to the oracle, where noise fills the mask."""
    if "noise_fill" not in p.extra:
        return p
    plan, fills = plan_of(be, p), [None] * len(p.images)
    for batch in batches_of(p):
        noise = em.background_noise(be, plan, batch, plan.geometry(batch.optics))
        for i, image in zip(batch.index, noise):
            fills[i] = image.astype(float)
    return replace(p, fills=fills)
