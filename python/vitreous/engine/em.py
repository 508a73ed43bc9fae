"""Expectation of 2D classification: one batch of images against an iteration's plan. Source: docs/equations.md#score, #sums"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import scipy.fft

from vitreous import kernels, kernels_image
from vitreous.engine.plan import Bank, Geometry, Plan, log_class_prior, slice_matrices
from vitreous.model import ctf as ctf_model
from vitreous.model.optics import OpticsGroup
from vitreous.model.rotation import wrap_deg
from vitreous.model.state import Model


@dataclass(frozen=True)
class Batch:
    """Images of one optics group and what is known of them; n rows.

    Attributes
    ----------
    index : (n,) int64          position in the dataset
    row : (n,) int64            identity, for random numbers
    images : (n, box, box) float32
    i_optics, optics : number and parameters of the optics group
    ctf_parameters : (n, 9) float64    columns of kernels_image.CTF_PARAMETERS
    psi_deg, norm : (n,) float64; shift_A : (n, 2) float64; class_number : (n,) int32, 1-based, 0 = none; group : (n,) int32
    only_class : (n,) int32     the one class allowed, 0-based; -1 = any
    """

    index: np.ndarray
    row: np.ndarray
    images: np.ndarray
    i_optics: int
    optics: OpticsGroup
    ctf_parameters: np.ndarray
    psi_deg: np.ndarray
    shift_A: np.ndarray
    class_number: np.ndarray
    norm: np.ndarray
    group: np.ndarray
    only_class: np.ndarray

    def __len__(self):
        return len(self.index)

    def part(self, some: slice) -> Batch:
        """Consecutive images of the batch."""
        names = (f.name for f in fields(self) if f.name not in ("i_optics", "optics"))
        return replace(self, **{name: getattr(self, name)[some] for name in names})


@dataclass
class Accumulator:
    """Sums over particles that the maximisation needs; after ``insert_banks`` two of them add up, field by field."""

    lattice_data: np.ndarray  # (K, ny, nx, 2) float64
    lattice_weight: np.ndarray  # (K, ny, nx) float64
    noise: np.ndarray  # (G, S) sums of |residual|^2
    noise_count: np.ndarray  # (G, S) pixels
    class_weight: np.ndarray  # (K,)
    class_offset: np.ndarray  # (K, 2) A
    scale_cross: np.ndarray  # (n_groups,)
    scale_model: np.ndarray
    bank_sums: dict = field(default_factory=dict)  # geometry key -> ((n_row, 2, n_k) float32, (n_row, n_k) float32)
    changes: np.ndarray = field(default_factory=lambda: np.zeros(3))  # angle (deg), squared offset (A^2), class changes
    offset2: float = 0.0  # A^2
    norm: float = 0.0
    log_likelihood: float = 0.0
    p_max: float = 0.0
    n_significant: float = 0.0
    n_particles: int = 0

    @classmethod
    def empty(cls, plan: Plan) -> Accumulator:
        shape = (plan.model.n_classes, plan.lattice.ny, plan.lattice.nx)
        return cls(np.zeros((*shape, 2)), np.zeros(shape), *empty_spectra(plan.model))

    def sums_of(self, geometry: Geometry, bank: Bank):
        """Sums of a geometry's fine bank, made when first asked for."""
        if geometry.key not in self.bank_sums:
            n_row, _, n_k = bank.slices.shape
            self.bank_sums[geometry.key] = np.zeros((n_row, 2, n_k), np.float32), np.zeros((n_row, n_k), np.float32)
        return self.bank_sums[geometry.key]


def joined(one: Accumulator, two: Accumulator) -> Accumulator:
    """The sums of two sets of particles as those of one; all slices are in the lattices, or in the volumes of 3D."""
    names = [f.name for f in fields(one) if f.name != "bank_sums"]
    return type(one)(**{name: getattr(one, name) + getattr(two, name) for name in names})


def empty_spectra(model: Model) -> list[np.ndarray]:
    """Zeros for the sums of an accumulator that are as large in 2D as in 3D: from ``noise`` to ``scale_model``."""
    k, spectra, n_groups = model.n_classes, (len(model.sigma2_noise), model.n_shells), len(model.group_scale)
    return [np.zeros(shape) for shape in (spectra, spectra, k, (k, 2), n_groups, n_groups)]


@dataclass
class Rows:
    """New values of a batch's particles; n rows."""

    index: np.ndarray
    psi_deg: np.ndarray
    shift_A: np.ndarray
    class_number: np.ndarray
    norm: np.ndarray
    log_likelihood: np.ndarray
    p_max: np.ndarray
    n_significant: np.ndarray
    failed: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # no pose had a finite weight


@dataclass(frozen=True)
class Prepared:
    """Fourier bands of a batch."""

    geometry: Geometry
    unmasked: np.ndarray  # (n, 2, n_k) float32
    masked: np.ndarray
    power: np.ndarray  # (n, S) per-shell sums of |X|^2 of the masked images
    ctf: np.ndarray  # (n, n_k) float32, with the group's scale
    model_ctf: (
        np.ndarray
    )  # (n, n_k) float32, what slices are multiplied with: the same, or 1 where references have it already
    scale: np.ndarray  # (n,)
    half_inv_var: np.ndarray  # (n_k,) float32, 1 / (2 sigma^2), for the sums; half of it at the origin

    def part(self, some: slice) -> Prepared:
        """Bands of consecutive images."""
        cut = lambda name: getattr(self, name)[some]
        ctf = cut("ctf")
        model_ctf = ctf if self.model_ctf is self.ctf else cut("model_ctf")
        return replace(self, unmasked=cut("unmasked"), masked=cut("masked"), power=cut("power"), ctf=ctf,
                       model_ctf=model_ctf, scale=cut("scale"))  # fmt: skip


def prepare(be, plan: Plan, batch: Batch) -> Prepared:
    """Scale, recentre, mask and transform the images of a batch."""
    model, settings, optics = plan.model, plan.settings, batch.optics
    geometry = plan.geometry(optics)
    band, box = geometry.band, optics.box
    gain = model.average_norm / batch.norm if settings.norm else np.ones(len(batch))
    offset_px = batch.shift_A / optics.pixel_size_A
    whole = np.rint(offset_px)
    rest = np.ascontiguousarray(offset_px - whole, np.float32)
    plain, masked = kernels_image.prepare_images(
        be,
        batch.images,
        np.ascontiguousarray(gain, np.float32),
        np.ascontiguousarray(whole, np.int32),
        geometry.mask,
        None if settings.zero_mask else background_noise(be, plan, batch, geometry),
    )
    kx, ky = band.k_float32()
    phase = ctf_model.demodulation(be, optics, *frequencies(optics, geometry))
    gather = lambda ft: kernels_image.gather_band(be, ft, band.index, kx, ky, rest, box, phase)
    unmasked = gather(scipy.fft.rfft2(plain, workers=be.n_threads, overwrite_x=True))
    ft = scipy.fft.rfft2(masked, workers=be.n_threads, overwrite_x=True)
    power = kernels_image.shell_power(be, ft, geometry.shell_of, model.n_shells)
    scale = np.clip(model.group_scale[batch.group], 0.001, 10000) if settings.scale else np.ones(len(batch))
    ctf = image_ctf(be, plan, batch, geometry)
    ctf *= scale[:, None].astype(np.float32)
    model_ctf = ctf
    if settings.ctf_uncorrected_ref and plan.iteration == 1:
        model_ctf = np.repeat(scale[:, None].astype(np.float32), ctf.shape[1], 1)
    half_inv_var = (0.5 / model.sigma2_noise[batch.i_optics][geometry.shell]).astype(np.float32)
    half_inv_var[0] /= 2  # the origin is its own Friedel mate: add_friedel_mates counts it twice
    return Prepared(geometry, unmasked, gather(ft), power, ctf, model_ctf, scale, half_inv_var)


def frequencies(optics: OpticsGroup, geometry: Geometry):
    """(n_k,) x and y frequency of the band, 1/A, after the magnification matrix."""
    band = geometry.band
    return ctf_model.frequencies(band.kx, band.ky, optics.box, optics.pixel_size_A, optics.magnification)


def background_noise(be, plan: Plan, batch: Batch, geometry: Geometry):
    """Synthetic noise images with the group's spectrum; the same for a particle in every iteration."""
    sigma = np.sqrt(plan.model.sigma2_noise[batch.i_optics]).astype(np.float32)
    ft = kernels_image.coloured_noise(
        be, plan.settings.random_seed, batch.row.astype(np.uint64), sigma, geometry.shell_of, batch.optics.box
    )
    return scipy.fft.irfft2(ft, s=batch.images.shape[1:], workers=be.n_threads, overwrite_x=True)


def image_ctf(be, plan: Plan, batch: Batch, geometry: Geometry):
    """(n, n_k) float32 CTF of the batch's images; the square of it for premultiplied ones, 1 without CTF correction."""
    settings, optics = plan.settings, batch.optics
    if not settings.ctf or optics.ctf_corrected:
        return np.ones((len(batch), len(geometry.band)), np.float32)
    fx, fy = frequencies(optics, geometry)
    return kernels_image.ctf_image(
        be,
        fx,
        fy,
        batch.ctf_parameters,
        ctf_model.even_phase(optics, fx, fy),
        intact_first_peak=settings.intact_first_peak,
        phase_flipped=settings.phase_flipped or optics.phase_flipped,
        only_flip_phases=settings.only_flip_phases,
        premultiplied=optics.premultiplied,
    )


def log_shift_prior(plan: Plan, batch: Batch, shifts_A) -> np.ndarray:
    """(n, K, n_shift) float32: Gaussian in the whole offset, all in Angstrom, centred on each class's mean."""
    from_class = batch.shift_A[:, None, :] - plan.model.class_offset_A[None]  # (n, K, 2)
    distance2 = (from_class**2).sum(-1)[..., None] + (shifts_A**2).sum(-1) + 2 * from_class @ shifts_A.T
    return (distance2 * (-0.5 / plan.model.sigma_offset_A**2)).astype(np.float32)


def scoring_weights(data: Prepared) -> np.ndarray:
    """(n_k,) float32: 1 / (2 sigma^2) without the origin, which tells nothing about pose, and beyond the fine pass's limit."""
    weights = data.half_inv_var.copy()
    weights[0] = 0
    weights[data.geometry.n_fine :] = 0
    return weights


def compared(be, plan: Plan, batch: Batch, data: Prepared, bank: Bank, which: str) -> tuple:
    """What ``kernels.score_coarse`` and ``kernels.score_fine`` begin with: slices, images, priors, weights, shifts.

    Parameters
    ----------
    which : coarse or fine, the pass whose shifts and detail the bank has
    """
    phases, _ = plan.shift_phases(be, data.geometry, which)
    shift_prior = log_shift_prior(plan, batch, getattr(plan, which).shifts_A)
    weights = scoring_weights(data)[: bank.slices.shape[-1]]
    return (be, bank.slices, bank.row_class, bank.pose_prior, shift_prior, data.masked, data.model_ctf, weights, phases)


def score(be, plan: Plan, batch: Batch, data: Prepared):
    """Posterior over poses and shifts: samples of the coarse pass, points of the fine pass."""
    coarse, fine = (plan.bank(be, data.geometry, which) for which in ("coarse", "fine"))
    kept = {"fraction": plan.settings.adaptive_fraction, "correlation": plan.correlation}
    samples = kernels.score_coarse(
        *compared(be, plan, batch, data, coarse, "coarse"),
        batch.only_class,
        max_count=plan.settings.max_significant,
        **kept,
    )
    posterior = kernels.score_fine(
        *compared(be, plan, batch, data, fine, "fine"),
        plan.pose_children,
        samples,
        n_per_shift=plan.n_child_shift,
        **kept,
    )
    return posterior, np.diff(samples[0]), fine


def own_pose_bank(be, plan: Plan, batch: Batch, geometry: Geometry) -> Bank:
    """Slices of every class at each particle's own angle: row class * n + particle, for runs that keep the angles."""
    k, n = plan.model.n_classes, len(batch)
    matrix = np.tile(slice_matrices(batch.psi_deg, geometry, plan.lattice), (k, 1, 1))
    row_class = np.repeat(np.arange(k, dtype=np.int32), n)
    kx, ky = geometry.band.k_float32()
    slices = kernels.project(be, plan.reference_ft, row_class, matrix, kx, ky, plan.lattice.reach) * np.float32(
        geometry.gain
    )
    return Bank(slices, row_class, matrix, np.repeat(log_class_prior(plan.model.class_weight), n).astype(np.float32))


def score_own_pose(be, plan: Plan, batch: Batch, data: Prepared, bank: Bank | None = None):
    """As ``score`` where angles are kept: all classes, and all shifts unless offsets are kept too."""
    n, k = len(batch), plan.model.n_classes
    bank = own_pose_bank(be, plan, batch, data.geometry) if bank is None else bank
    n_shift = len(plan.coarse.shifts_A)
    classes = [np.arange(k) if c < 0 else np.array([c]) for c in batch.only_class]
    pose = np.concatenate([np.repeat(c * n + i, n_shift) for i, c in enumerate(classes)]).astype(np.int32)
    shift = np.concatenate([np.tile(np.arange(n_shift), len(c)) for c in classes]).astype(np.int32)
    start = np.concatenate([[0], np.cumsum([len(c) * n_shift for c in classes])]).astype(np.int64)
    children = np.arange(n * k, dtype=np.int32)[:, None]
    posterior = kernels.score_fine(
        *compared(be, plan, batch, data, bank, "fine"),
        children,
        (start, pose, shift),
        n_per_shift=plan.n_child_shift,
        pose_key=np.repeat(np.arange(k, dtype=np.int32), n),
        fraction=plan.settings.adaptive_fraction,
        correlation=plan.correlation,
    )
    return posterior, np.diff(posterior[0]), bank  # there is no coarse pass: what is significant is what was kept


def expect(be, plan: Plan, batch: Batch, acc: Accumulator) -> Rows:
    """Posterior of a batch; its sums go into the accumulator.

    Returns
    -------
    Rows: best pose, class, offset and statistics of each particle
    """
    settings = plan.settings
    data = prepare(be, plan, batch)
    kept = settings.skip_align or settings.skip_rotate
    posterior, n_significant, bank = (score_own_pose if kept else score)(be, plan, batch, data)
    best_pose, best_shift, p_max, evidence = posterior[4:]
    failed = best_pose < 0
    if kept:
        i_class, psi = np.maximum(best_pose, 0) // len(batch), batch.psi_deg
    else:
        i_class, psi = plan.fine.class_and_psi(np.maximum(best_pose, 0), plan.model.n_classes)
    shift_A = batch.shift_A + plan.fine.shifts_A[np.maximum(best_shift, 0)]
    residual = np.zeros_like(data.power)
    if not settings.skip_maximize:
        residual = add_sums(be, plan, batch, data, bank, posterior, acc, own_pose=kept)
    norm = batch.norm
    if settings.norm and not plan.correlation and not settings.skip_maximize:
        norm = batch.norm / plan.model.average_norm * np.sqrt(2 * np.maximum(residual.sum(1), 0))
    used = ~failed
    rows = Rows(
        batch.index,
        np.where(used, wrap_deg(psi), batch.psi_deg),
        np.where(used[:, None], shift_A, batch.shift_A),
        np.where(used, i_class + 1, batch.class_number).astype(np.int32),
        np.where(used, norm, batch.norm),
        np.where(used, evidence if plan.correlation else evidence + log_likelihood_constant(plan, batch, data), 0),
        p_max.astype(float),
        n_significant.astype(np.int32),
        failed,
    )
    add_statistics(batch, rows, acc)
    return rows


def log_likelihood_constant(plan: Plan, batch: Batch, data: Prepared) -> np.ndarray:
    """(n,) float64: the terms of log p(X) that no pose changes, - sum |X|^2 / (2 sigma^2) - sum log(2 pi sigma^2)."""
    sigma2 = plan.model.sigma2_noise[batch.i_optics][1:]
    return -(data.power[:, 1:] / (2 * sigma2)).sum(1) - (data.geometry.counts[1:] * np.log(2 * np.pi * sigma2)).sum()


def add_sums(be, plan: Plan, batch: Batch, data: Prepared, bank: Bank, posterior, acc: Accumulator, own_pose: bool):
    """Posterior sums of a batch into the accumulator.

    Returns
    -------
    (n, S) float64: per-shell sums of w |ctf A - S X|^2
    """
    if own_pose:
        sums = np.zeros_like(bank.slices), np.zeros_like(bank.slices[:, 0])
    else:
        sums = acc.sums_of(data.geometry, bank)
    of_images = sum_points(be, plan, batch, data, bank, posterior, sums)
    if own_pose:
        insert_rows(be, plan, data.geometry, bank, *sums, acc)
    return add_image_sums(plan, batch, data, of_images, posterior[4] >= 0, acc)


def sum_points(be, plan: Plan, batch: Batch, data: Prepared, bank: Bank, posterior, sums):
    """Sums of the rows of a bank into ``sums`` (data, weight); those of each image as ``kernels.weighted_sums`` gives them."""
    phases, shifts_px = plan.shift_phases(be, data.geometry, "fine")
    sum_up = lambda ctf, sums: kernels.weighted_sums(
        be,
        bank.slices,
        bank.row_class,
        data.unmasked,
        data.masked,
        ctf,
        data.half_inv_var,
        phases,
        shifts_px,
        data.geometry.shell,
        (plan.model.data_vs_prior > 3).astype(np.uint8),
        posterior,
        premultiplied=batch.optics.premultiplied,
        data=sums[0],
        weight=sums[1],
    )
    of_images = sum_up(data.ctf, sums)
    if data.model_ctf is not data.ctf:  # new references are corrected, while the present ones are compared as they are
        of_images = sum_up(data.model_ctf, [np.zeros_like(s) for s in sums])
    return of_images


def add_image_sums(plan: Plan, batch: Batch, data: Prepared, of_images, used, acc: Accumulator) -> np.ndarray:
    """The sums of each image into the accumulator; (n, S) float64 per-shell sums of w |ctf A - S X|^2.

    Parameters
    ----------
    of_images : as ``sum_points`` gives them, over the image's whole posterior
    used : (n,) bool
    """
    model = plan.model
    cross, power, scale_cross, scale_model, moments = of_images
    residual = np.where(used[:, None], np.maximum(data.power - 2 * cross + power, 0), 0)  # a failed image's may be NaN
    acc.noise[batch.i_optics] += residual.sum(0)
    acc.noise_count[batch.i_optics] += data.geometry.counts * used.sum()
    np.add.at(acc.scale_cross, batch.group, scale_cross / data.scale)
    np.add.at(acc.scale_model, batch.group, scale_model / data.scale**2)
    weight, moved = moments[..., 0], moments[..., 1:3] * batch.optics.pixel_size_A
    moved2 = moments[..., 3] * batch.optics.pixel_size_A**2
    acc.class_weight += weight.sum(0)
    acc.class_offset += (weight[..., None] * batch.shift_A[:, None] + moved).sum(0)
    from_class = batch.shift_A[:, None] - model.class_offset_A[None]
    acc.offset2 += float((weight * (from_class**2).sum(-1) + 2 * (from_class * moved).sum(-1) + moved2).sum())
    return residual


def insert_banks(be, plan: Plan, acc: Accumulator) -> None:
    """Back-project what was summed in slices; the lattices are much smaller, and all that the maximisation needs."""
    for geometry in plan.geometries.values():
        if geometry.key in acc.bank_sums:
            insert_rows(be, plan, geometry, plan.bank(be, geometry, "fine"), *acc.bank_sums.pop(geometry.key), acc)


def insert_rows(be, plan: Plan, geometry: Geometry, bank: Bank, data, weight, acc: Accumulator) -> None:
    """Back-project rows of a bank into the accumulator's lattices; ``data`` is used up."""
    kx, ky = geometry.band.k_float32()
    data, weight = to_insert(plan, geometry, bank, data, weight)
    kernels.backproject(
        be, data, weight, bank.row_class, bank.matrix, kx, ky, plan.lattice.reach, acc.lattice_data, acc.lattice_weight
    )


def to_insert(plan: Plan, geometry: Geometry, bank: Bank, data, weight):
    """Sums of a bank's rows as they are back-projected: of residuals where asked, on the references' scale; ``data`` is used up."""
    if plan.settings.residual_sums:
        data -= weight[:, None] * bank.slices
    if geometry.gain != 1:
        data, weight = data * np.float32(geometry.gain), weight * np.float32(geometry.gain**2)
    return data, weight


def add_statistics(batch: Batch, rows: Rows, acc: Accumulator) -> None:
    """Scalars of a batch into the accumulator: changes since the last iteration, likelihood, norms."""
    used = ~rows.failed
    turned = np.abs((rows.psi_deg - batch.psi_deg + 180) % 360 - 180)
    moved2 = ((rows.shift_A - batch.shift_A) ** 2).sum(1)
    changed = rows.class_number != batch.class_number
    acc.changes = acc.changes + np.array([turned[used].sum(), moved2[used].sum(), changed[used].sum()])
    acc.norm += float(rows.norm[used].sum())
    acc.log_likelihood += float(rows.log_likelihood[used].sum())
    acc.p_max += float(rows.p_max[used].sum())
    acc.n_significant += float(rows.n_significant[used].sum())
    acc.n_particles += int(used.sum())
