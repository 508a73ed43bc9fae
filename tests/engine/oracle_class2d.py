"""One iteration of 2D classification from its definition: float64, one score at a time, on whole complex planes.

Nothing of the engine is used: no bands, no matrix products, no pose that is another's conjugate, no half-plane but
where the statistics are defined by one. Source: docs/equations.md#score, #sums, #wiener
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from oracle_images import coma, contrast, disc, half_plane, moved, transform

# A sample on the rim of the circle in use belongs to it, whatever its rounding.
RIM = 1e-3


@dataclass
class Problem:
    """Particles, the model before the iteration, and the choices; n particles, K classes, G groups, S shells."""

    groups: list
    images: list  # n arrays, yx
    fills: list | None  # n arrays that take the place of what the mask hides; None: the mean outside
    group_of: np.ndarray
    defocus: np.ndarray  # (n, 3) U, V in A, angle in deg
    psi_deg: np.ndarray
    shift_A: np.ndarray
    norm: np.ndarray
    micrograph: np.ndarray
    references: np.ndarray
    pixel_A: float
    class_weight: np.ndarray
    class_offset_A: np.ndarray
    sigma2: np.ndarray
    data_vs_prior: np.ndarray
    scale: np.ndarray
    average_norm: float
    sigma_offset_A: float
    resolution_A: float
    increment_px: int
    tau2_fudge: float
    padding: int
    psi_step_deg: float
    offset_range_A: float
    offset_step_A: float
    oversampling: int
    perturb: float
    diameter_A: float
    edge_px: float = 5.0
    ctf: bool = True
    correlation: bool = False
    use_norm: bool = False
    use_scale: bool = False
    fraction: float = 0.999
    minres: int = 5
    strict_highres_A: float = 0.0
    extra: dict = field(default_factory=dict)

    @property
    def box(self):
        return self.references.shape[-1]

    @property
    def n_shells(self):
        return self.box // 2 + 1

    def ratio(self, group):
        return self.box * self.pixel_A / (group.box * group.pixel_A)


# Grids


def rounded(x):
    return np.floor(np.asarray(x, float) + 0.5).astype(int)


def sizes(p: Problem):
    """Fourier boxes of the fine and the coarse pass, px of the model."""
    shell = rounded(p.box * p.pixel_A / p.resolution_A)
    size = min(2 * (shell + p.increment_px), p.box)
    if p.strict_highres_A:
        return size, min(size, 2 * int(rounded(p.box * p.pixel_A / p.strict_highres_A)))
    if p.oversampling == 0:
        return size, size
    arc_A = p.psi_step_deg / 360 * math.pi * p.diameter_A
    return size, min(size, 2 * math.ceil(p.box * p.pixel_A * 1.5 / arc_A))


def parents(p: Problem):
    n = math.ceil(360 / p.psi_step_deg - 1e-9)
    reach = math.ceil(p.offset_range_A / p.offset_step_A)
    steps = range(-reach, reach + 1)
    shifts = [(i * p.offset_step_A, j * p.offset_step_A) for i in steps for j in steps]
    return (
        [i * 360 / n for i in range(n)],
        [t for t in shifts if t[0] ** 2 + t[1] ** 2 < p.offset_range_A**2 + 0.001],
        360 / n,
    )


def parts(value, step, order):
    n = 2**order
    return [value - step / 2 + (m + 0.5) * step / n for m in range(n)]


# References


def padded_transform(p: Problem, reference):
    """Transform of the reference over sinc^2, padded with zeros: dense, origin in the middle, past Nyquist."""
    side = p.padding * p.box
    x = np.arange(p.box) - p.box // 2
    distance = np.hypot(x[:, None], x[None, :])
    big = np.zeros((side, side))
    first = side // 2 - p.box // 2
    big[first : first + p.box, first : first + p.box] = np.asarray(reference, float) / np.sinc(distance / side) ** 2
    ft = np.fft.fft2(np.fft.ifftshift(big)) / p.box**2
    k = np.arange(lattice_side(p)) - lattice_side(p) // 2
    return ft[np.ix_(k % side, k % side)]


def lattice_side(p: Problem):
    """Odd, with room for a point on the rim and its neighbours."""
    return p.padding * p.box + 5


def radii(side):
    x = np.arange(side) - side // 2
    return np.hypot(x[:, None], x[None, :])


def half_mean(values, shell, used, n_shells):
    """Mean over a shell's samples with kx >= 0."""
    side = len(values)
    used = used & (np.arange(side) >= side // 2)[None, :]
    return np.array(
        [values[used & (shell == s)].mean() if (used & (shell == s)).any() else 0.0 for s in range(n_shells)]
    )


def corners(x, y, side):
    """Four samples around a point, (row, column, share)."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    for i in (0, 1):
        for j in (0, 1):
            share = (1 - np.abs(x - x0 - i)) * (1 - np.abs(y - y0 - j))
            yield np.clip(y0 + j + side // 2, 0, side - 1), np.clip(x0 + i + side // 2, 0, side - 1), share


def places(p: Problem, group, psi_deg, kx, ky):
    """Where pixels of a group's images lie in the padded transform of a reference."""
    angle = math.radians(psi_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return p.padding * p.ratio(group) * turn @ np.array(group.magnification) @ np.stack([kx, ky])


def cut(p: Problem, dense, group, psi_deg, kx, ky, radius):
    x, y = places(p, group, psi_deg, kx, ky)
    side = len(dense)
    inside = np.where(radii(side) <= radius, dense, 0)
    value = sum(share * inside[row, column] for row, column, share in corners(x, y, side))
    return np.where(np.hypot(x, y) <= radius + RIM, value, 0) * p.ratio(group) ** 2


# Expectation


@dataclass
class View:
    """One particle's transforms over the half-plane pixels that an iteration uses."""

    kx: np.ndarray
    ky: np.ndarray
    shell: np.ndarray
    coarse: np.ndarray  # bool: pixels of the coarse pass
    fine: np.ndarray
    masked: np.ndarray
    plain: np.ndarray
    ctf: np.ndarray
    power: np.ndarray  # (S,) of the masked image
    count: np.ndarray  # (S,)
    phases: dict = field(default_factory=dict)  # of the shifts met so far


def image_size(p, group, model_size):
    return min(group.box, 2 * math.ceil(model_size / 2 / p.ratio(group) - 1e-9))


def view(p: Problem, i) -> View:
    group = p.groups[p.group_of[i]]
    n, ratio, (size, coarse) = group.box, p.ratio(group), sizes(p)
    gain = p.average_norm / p.norm[i] if p.use_norm else 1.0
    offset = p.shift_A[i] / group.pixel_A
    whole = np.rint(offset).astype(int)
    plain = moved(gain * np.asarray(p.images[i], float), whole)
    mask = disc(n, p.diameter_A / (2 * group.pixel_A), p.edge_px)
    fill = ((1 - mask) * plain).sum() / (1 - mask).sum() if p.fills is None else p.fills[i]
    masked_ft, plain_ft = transform(mask * plain + (1 - mask) * fill), transform(plain)
    all_x, all_y = half_plane(n)
    all_shell = rounded(np.hypot(all_x, all_y) * ratio)
    on = all_shell < p.n_shells
    power = np.bincount(all_shell[on], np.abs(masked_ft(all_x, all_y)[on]) ** 2, p.n_shells)
    count = np.bincount(all_shell[on], minlength=p.n_shells)
    r = np.hypot(all_x, all_y)
    used = r <= image_size(p, group, size) / 2
    kx, ky, r = all_x[used], all_y[used], r[used]
    rest = offset - whole
    phase = np.exp(-2j * math.pi * (kx * rest[0] + ky * rest[1]) / n) * coma(group, kx, ky)
    ctf = contrast(group, p.defocus[i], kx, ky) if p.ctf else np.ones(len(kx))
    if p.use_scale:
        ctf = ctf * p.scale[p.micrograph[i]]
    in_coarse = (r > 0) & (r <= image_size(p, group, coarse) / 2)
    return View(
        kx,
        ky,
        np.minimum(rounded(r * ratio), p.n_shells - 1),
        in_coarse,
        in_coarse if p.strict_highres_A else r > 0,
        masked_ft(kx, ky) * phase,
        plain_ft(kx, ky) * phase,
        ctf,
        power,
        count,
    )


class Slices:
    """Slices by (class, group, psi), cut when first asked for."""

    def __init__(self, p: Problem):
        self.p, self.kept = p, {}
        self.dense = [padded_transform(p, r) for r in p.references]
        self.radius = int(rounded(sizes(p)[0] / 2 * p.padding))

    def __call__(self, c, g, psi_deg, v: View):
        key = (c, g, round(psi_deg, 9))
        if key not in self.kept:
            self.kept[key] = cut(self.p, self.dense[c], self.p.groups[g], psi_deg, v.kx, v.ky, self.radius)
        return self.kept[key]


def shifted(group, v: View, transform_of, t_A):
    if t_A not in v.phases:
        v.phases[t_A] = np.exp(-2j * math.pi * (v.kx * t_A[0] + v.ky * t_A[1]) / (group.box * group.pixel_A))
    return transform_of * v.phases[t_A]


def log_weight(p: Problem, i, v: View, a, c, t_A, used, n_psi):
    """Log of prior times likelihood of one pose and shift, without what no pose changes; or the correlation."""
    g = p.group_of[i]
    x, model = shifted(p.groups[g], v, v.masked, t_A)[used], (v.ctf * a)[used]
    if p.correlation:
        return np.sum((model.conj() * x).real) / math.sqrt(np.sum(np.abs(model) ** 2) * np.sum(np.abs(x) ** 2))
    misfit = np.sum((np.abs(x - model) ** 2 - np.abs(x) ** 2) / (2 * p.sigma2[g][v.shell[used]]))
    distance2 = np.sum((p.shift_A[i] + np.array(t_A) - p.class_offset_A[c]) ** 2)
    return -misfit + math.log(p.class_weight[c] / n_psi) - distance2 / (2 * p.sigma_offset_A**2)


def kept(log_w: dict, fraction):
    """Keys of the largest weights that together exceed a fraction of the mass."""
    order = sorted(log_w, key=log_w.get, reverse=True)
    most = log_w[order[0]]
    total = sum(math.exp(w - most) for w in log_w.values())
    sum_, out = 0.0, []
    for key in order:
        out.append(key)
        sum_ += math.exp(log_w[key] - most)
        if sum_ > fraction * total:
            break
    return out, most, total


def posterior(p: Problem, i, v: View, slices: Slices):
    """Significant coarse samples; and weight of each kept (class, psi, shift), best, p_max, log evidence."""
    psis, shifts, step = parents(p)
    g, turn, move = p.group_of[i], p.perturb * step, p.perturb * p.offset_step_A
    classes = [c for c in range(len(p.references)) if p.class_weight[c] > 0]
    coarse = {}
    for c in classes:
        for ip, psi in enumerate(psis):
            a = slices(c, g, psi + turn, v)
            for it, t in enumerate(shifts):
                coarse[c, ip, it] = log_weight(p, i, v, a, c, (t[0] + move, t[1] + move), v.coarse, len(psis))
    samples, *_ = kept(coarse, 0 if p.correlation else p.fraction)
    fine = {}
    for c, ip, it in samples:
        for psi in parts(psis[ip], step, p.oversampling):
            a = slices(c, g, psi + turn, v)
            for x in parts(shifts[it][0], p.offset_step_A, p.oversampling):
                for y in parts(shifts[it][1], p.offset_step_A, p.oversampling):
                    t = (x + move, y + move)
                    fine[c, psi + turn, t] = log_weight(p, i, v, a, c, t, v.fine, len(psis) * 2**p.oversampling)
    points, most, total = kept(fine, 0 if p.correlation else p.fraction)
    mass = sum(math.exp(fine[k] - most) for k in points)
    weights = {k: math.exp(fine[k] - most) / mass for k in points}
    return (
        len(samples),
        weights,
        points[0],
        1.0 if p.correlation else 1 / total,
        most if p.correlation else most + math.log(total),
    )


def constant(p: Problem, i, v: View):
    """The part of log p(X) that no pose changes."""
    sigma2 = p.sigma2[p.group_of[i]]
    return -sum(
        v.power[s] / (2 * sigma2[s]) + v.count[s] * math.log(2 * math.pi * sigma2[s]) for s in range(1, p.n_shells)
    )


def iteration(p: Problem) -> dict:
    """Expectation and maximisation.

    Returns
    -------
    dict of rows (per particle) and new parameters, and the new references
    """
    n, k, slices = len(p.images), len(p.references), Slices(p)
    side, rows, pixels_of = lattice_side(p), {}, {}
    out = {name: np.zeros(n) for name in ("psi_deg", "p_max", "log_likelihood", "norm")}
    out |= {"class_number": np.zeros(n, int), "n_significant": np.zeros(n, int), "shift_A": np.zeros((n, 2))}
    noise, pixels = np.zeros((len(p.groups), p.n_shells)), np.zeros((len(p.groups), p.n_shells))
    data, weight = np.zeros((k, side, side), complex), np.zeros((k, side, side))
    class_sum, offset_sum, offset2 = np.zeros(k), np.zeros((k, 2)), 0.0
    cross, model2 = np.zeros(len(p.scale)), np.zeros(len(p.scale))
    for i in range(n):
        v, g = view(p, i), p.group_of[i]
        group, scale = p.groups[g], p.scale[p.micrograph[i]] if p.use_scale else 1.0
        n_samples, weights, best, p_max, evidence = posterior(p, i, v, slices)
        residual = v.power - np.bincount(v.shell, np.abs(v.masked) ** 2, p.n_shells)  # beyond the band, all of it
        for (c, psi, t), w in weights.items():
            model, x, u = v.ctf * slices(c, g, psi, v), shifted(group, v, v.masked, t), shifted(group, v, v.plain, t)
            residual += w * np.bincount(v.shell, np.abs(model - x) ** 2, p.n_shells)
            counted = p.data_vs_prior[c][v.shell] > 3
            cross[p.micrograph[i]] += w * np.sum((x.conj() * model).real[counted]) / scale
            model2[p.micrograph[i]] += w * np.sum(np.abs(model[counted]) ** 2) / scale**2
            precision = 1 / p.sigma2[g][v.shell]
            share = w * precision * (np.ones_like(v.ctf) if group.premultiplied else v.ctf)
            f, precision_sum = rows.get((c, g, psi), (0, 0))
            rows[c, g, psi] = f + share * u, precision_sum + share * v.ctf
            offset = p.shift_A[i] + np.array(t)
            class_sum[c] += w
            offset_sum[c] += w * offset
            offset2 += w * np.sum((offset - p.class_offset_A[c]) ** 2)
        noise[g] += residual
        pixels[g] += v.count
        pixels_of[g] = v
        out["psi_deg"][i], out["class_number"][i], out["shift_A"][i] = best[1], best[0] + 1, p.shift_A[i] + best[2]
        out["p_max"][i], out["n_significant"][i] = p_max, n_samples
        out["log_likelihood"][i] = evidence if p.correlation else evidence + constant(p, i, v)
        out["norm"][i] = (
            p.norm[i] / p.average_norm * math.sqrt(2 * residual.sum())
            if p.use_norm and not p.correlation
            else p.norm[i]
        )
    for (c, g, psi), (f, w) in rows.items():
        insert(p, p.groups[g], psi, pixels_of[g], f, w, data[c], weight[c], slices.radius)
    out |= parameters(p, noise, pixels, class_sum, offset_sum, offset2, cross, model2, out["norm"])
    return out | maps(p, slices, data, weight)


def insert(p, group, psi, v: View, f, w, data, weight, radius):
    """A slice and its Friedel mate into the dense lattice; a weight has the square of the group's gain."""
    gain = p.ratio(group) ** 2
    x, y = places(p, group, psi, v.kx, v.ky)
    inside = (np.hypot(x, y) <= radius + RIM) & (w > 0)
    mated = inside & ((v.kx != 0) | (v.ky != 0))  # the origin is its own mate
    for sign, values, used in ((1, f, inside), (-1, f.conj(), mated)):
        for row, column, share in corners(sign * x[used], sign * y[used], len(data)):
            np.add.at(data, (row, column), share * values[used] * gain)
            np.add.at(weight, (row, column), share * w[used] * gain**2)


# Maximisation


def parameters(p: Problem, noise, pixels, class_sum, offset_sum, offset2, cross, model2, norms) -> dict:
    out = {"class_weight": class_sum / class_sum.sum(), "class_offset_A": np.zeros_like(offset_sum)}
    for c in np.flatnonzero(class_sum > 0.5):
        out["class_offset_A"][c] = offset_sum[c] / class_sum[c]
    out["sigma_offset_A"] = math.sqrt(max(offset2 / (2 * class_sum.sum()), 2.0))
    out["average_norm"] = norms.mean() if p.use_norm and not p.correlation else p.average_norm
    sigma2 = np.array(p.sigma2, float)
    if not p.correlation:
        for g in range(len(p.groups)):
            for s in range(p.n_shells):
                known = pixels[g, s] > 0
                sigma2[g, s] = noise[g, s] / (2 * pixels[g, s]) if known else sigma2[g, s - 1]
    out["sigma2_noise"] = sigma2
    out["group_scale"] = np.array(p.scale, float)
    if p.use_scale and not p.correlation:
        raw = np.array([x / m if m > 0 else 1.0 for x, m in zip(cross, model2)])
        count = np.bincount(p.micrograph, minlength=len(raw))
        raw = np.clip(raw, np.median(raw) / 5, 5 * np.median(raw))
        out["group_scale"] = raw / ((raw * count).sum() / count.sum())
    return out


def maps(p: Problem, slices: Slices, data, weight) -> dict:
    """Wiener reconstruction of every class, and its statistics."""
    k, side, s = len(data), lattice_side(p), p.n_shells
    oc, radius = p.padding**2, slices.radius
    distance = radii(side)
    shell, inside = rounded(distance / p.padding), distance <= radius
    out = {name: np.zeros((k, s)) for name in ("tau2", "data_vs_prior", "fourier_coverage", "sigma2_reference")}
    out["references"] = np.zeros((k, p.box, p.box))
    for c in range(k):
        tau2 = half_mean(0.5 * np.abs(slices.dense[c]) ** 2, shell, inside, s)
        known = inside & (tau2[np.minimum(shell, s - 1)] > 0)
        prior = np.where(known, 1 / (oc * p.tau2_fudge * np.where(known, tau2[np.minimum(shell, s - 1)], 1)), 0)
        ratio = np.where(known, weight[c] / np.where(known, prior, 1), 0)
        out["tau2"][c] = tau2
        out["data_vs_prior"][c] = half_mean(ratio, shell, inside, s)
        out["fourier_coverage"][c] = half_mean((ratio >= 1).astype(float), shell, inside, s)
        mean = half_mean(weight[c], shell, inside, s)
        out["sigma2_reference"][c] = np.where(mean > 0, 1 / (oc * np.where(mean > 0, mean, 1)), 0)
        total = weight[c] + np.where(shell >= p.minres, prior, 0)
        out["references"][c] = real_map(p, data[c], total, distance, inside, radius)
    return out


def real_map(p: Problem, data, total, distance, inside, radius):
    side, box, middle = p.padding * p.box, p.box, len(data) // 2
    ring = np.minimum(np.floor(distance / p.padding), radius // p.padding).astype(int)
    floor = half_mean(total, ring, inside, ring.max() + 1)[ring] / 1000
    divisor = np.maximum(total, floor)
    value = np.where(inside & (divisor > 0), data / np.where(divisor > 0, divisor, 1), 0)
    # Of a Nyquist sample and its mate, which the inverse transform cannot tell apart, the mean.
    half = side // 2
    value = value[middle - half : middle + half + 1, middle - half : middle + half + 1]
    value[0], value[:, 0] = (value[0] + value[-1]) / 2, (value[:, 0] + value[:, -1]) / 2
    big = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(value[:-1, :-1])).real) * box**2
    first = side // 2 - box // 2
    out = big[first : first + box, first : first + box]
    inner = disc(box, box / 2, 3)
    outside = ((1 - inner) * out).sum() / (1 - inner).sum()
    x = np.arange(box) - box // 2
    return (inner * out + (1 - inner) * outside) / np.sinc(np.hypot(x[:, None], x[None, :]) / side) ** 2
