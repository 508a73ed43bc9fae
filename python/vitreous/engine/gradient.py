"""One step of references along the gradient of their likelihood, with momenta and two pseudo-half-sets. 2D and 3D.

Transforms here hold the padded lattice out to some radius, centred: kx = 0.. along the last axis, the others centred. A
smaller lattice is the middle of a larger one. Source: docs/equations.md#gradient
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vitreous.engine import schedule_gradient
from vitreous.engine.em import joined
from vitreous.engine.gradient_settings import GradientOptions
from vitreous.engine.maximise import class_statistics, update_parameters
from vitreous.engine.plan import Plan
from vitreous.engine.settings import Settings
from vitreous.model.state import Model, Moments

# Moments are divided by the root of the second, which must not vanish.
TINY = 1e-12
# What a class begins again with.
PER_CLASS = (
    "class_weight", "references", "tau2", "data_vs_prior", "sigma2_reference", "fourier_coverage", "class_resolution_A",
    "class_coverage", "class_offset_A",
)
# Of the first moments of a class, the share that its copy has (RELION's choice).
KEPT_MOMENTUM = 0.9
# Parameters that a mini-batch alone would leave to its noise.
AVERAGED = ("class_weight", "class_offset_A", "sigma2_noise", "sigma_offset_A", "average_norm", "average_p_max", "group_scale")


def no_moments(n_classes: int, shape: tuple[int, ...]) -> Moments:
    """Moments before the first step, on a lattice."""
    return Moments(np.zeros((2, n_classes, *shape), np.complex64), np.ones((n_classes, *shape), np.float32))


def middle(array, shape: tuple[int, ...]) -> np.ndarray:
    """The part of centred transforms (..., ny, nx), or (..., nz, ny, nx), that a smaller lattice has; a view."""
    n = len(shape)
    place = [slice(None)] * (array.ndim - n)
    place += [slice(m // 2 - k // 2, m // 2 + k // 2 + 1) for m, k in zip(array.shape[-n:-1], shape[:-1])]
    return array[(*place, slice(0, shape[-1]))]


def gradient(data, weight) -> np.ndarray:
    """Residual over weight: the step that would bring each sample to the mean of its observations.

    Parameters
    ----------
    data : (...) complex64         sums of CTF (image - CTF slice) / sigma^2
    weight : (...) float32         sums of CTF^2 / sigma^2

    Returns
    -------
    (...) complex64; where less than one observation's worth was seen, less than the whole step
    """
    return (data / np.maximum(weight, 1)).astype(np.complex64)


def update_moments(moments: Moments, i_class: int, gradients, momentum: float, curvature: float) -> None:
    """Bring an iteration's gradients into the moments of a class, on the lattice that they are on.

    Parameters
    ----------
    gradients : (2, ...) complex64     of the pseudo-half-sets
    momentum, curvature : shares that the old moments keep
    """
    shape = gradients.shape[1:]
    fresh = not moments.first[:, i_class].any()
    for half, new in enumerate(gradients):
        old = middle(moments.first[half, i_class], shape)
        old[...] = new if fresh else momentum * old + (1 - momentum) * new
    one, two = gradients
    difference = np.abs(two - one) ** 2 / (np.abs(0.5 * (one + two)) ** 2 + TINY)
    old = middle(moments.second[i_class], shape)
    old[...] = curvature * old + (1 - curvature) * difference


def direction(moments: Moments, i_class: int, shape: tuple[int, ...]) -> np.ndarray:
    """(...) complex64 along which a class steps: the mean first moment over the root of the second."""
    one, two = (middle(moments.first[half, i_class], shape) for half in (0, 1))
    return 0.5 * (one + two) / (np.sqrt(middle(moments.second[i_class], shape)) + TINY)


def copy_moments(moments: Moments, source: int, target: int, share: float) -> None:
    """Let one class have a share of another's first moments, and its second."""
    moments.first[:, target] = share * moments.first[:, source]
    moments.second[target] = moments.second[source]


def stepped(ft, moments: Moments, i_class: int, shell, length: float, tau2_fudge: float) -> np.ndarray:
    """A reference's transform after a step: supported shells follow the gradient, the others shrink.

    Parameters
    ----------
    ft : (...) complex64       transform of the reference
    shell : (...) int          shell of each sample; -1 where the lattice ends, which stays as it is
    length : of the step
    tau2_fudge : weight of the data

    Returns
    -------
    (...) complex64
    """
    one, two = (middle(moments.first[half, i_class], ft.shape) for half in (0, 1))
    along = direction(moments, i_class, ft.shape)
    inside = shell >= 0
    of = shell[inside]
    n_shells = int(of.max(initial=0)) + 1
    mean = lambda values: np.bincount(of, np.abs(values[inside]), n_shells) / np.maximum(np.bincount(of), 1)
    noise, power = mean(one - two), mean(ft)
    snr = np.where(noise > 0, 2 * tau2_fudge * power / np.where(noise > 0, noise, 1), 0)
    support = (snr / (1 + snr)).astype(np.float32)[np.maximum(shell, 0)]
    return np.where(inside, ft + np.float32(length) * (support * along - (1 - support) * ft), ft).astype(np.complex64)


def step_classes(step_class, model: Model, moments: Moments, iteration: int, options: GradientOptions, spread=map):
    """Every class's step, its moments brought up to date in place.

    Parameters
    ----------
    step_class : (class, length of its step) -> its new map, first and second moments, and (n_shells,) data_vs_prior, sigma2
        and coverage
    spread : a map() that may compute its items on several processes

    Returns
    -------
    (K, ...) float32 maps; (K, n_shells) data_vs_prior, sigma2 and coverage
    """
    lengths = schedule_gradient.class_steps(schedule_gradient.step(iteration, options), model.class_weight)
    maps, measured = [], []
    made = spread(lambda k: step_class(k, lengths[k]), range(model.n_classes))
    for k, (map_, first, second, known) in enumerate(made):
        moments.first[:, k], moments.second[k] = first, second
        maps.append(map_)
        measured.append(known)
    return np.stack(maps), *(np.stack(values) for values in zip(*measured))


def with_idle_begun_again(model: Model, moments: Moments, iteration: int, options: GradientOptions, shape: tuple[int, ...]):
    """The model where no class is idle.

    Parameters
    ----------
    shape : of the iteration's lattice

    Returns
    -------
    Model
    (idle, best) classes where the first began again as a copy of the second; else None
    """
    idle = idle_class(model.class_weight, iteration, options)
    if idle is None:
        return model, None
    power = [float((np.abs(direction(moments, k, shape)) ** 2).mean()) for k in range(model.n_classes)]
    best = int(np.argmax(power * model.class_weight))
    return revived(model, moments, idle, best), (idle, best)


def idle_class(class_weight, iteration: int, options: GradientOptions) -> int | None:
    """The class with the fewest particles, in the middle phase and below its part of an even share."""
    n_first, n_middle, _ = schedule_gradient.phases(options)
    least = int(np.argmin(class_weight))
    few = class_weight[least] < options.inactivity / max(np.count_nonzero(class_weight), 1)
    return least if few and n_first < iteration < n_first + n_middle else None


def revived(model: Model, moments: Moments, idle: int, best: int) -> Model:
    """The model with an idle class begun again as a copy of the best, which shares its weight with it."""
    copy_moments(moments, best, idle, KEPT_MOMENTUM)
    copied = {}
    for name in PER_CLASS:
        values = np.array(getattr(model, name))
        values[idle] = values[best]
        copied[name] = values
    weight = copied["class_weight"]
    weight[[idle, best]] = (model.class_weight[idle] + model.class_weight[best]) / 2
    return replace(model, **copied)


def averaged(old: Model, new: Model, mu: float) -> Model:
    """The new model with the parameters of a mini-batch averaged with the old ones'."""
    mean = {name: mu * getattr(old, name) + (1 - mu) * getattr(new, name) for name in AVERAGED}
    return replace(new, **mean)


def model_of_step(plan: Plan, accs, references, tau2, known, mu: float, **fixed) -> Model:
    """The model with new references, and parameters of both pseudo-half-sets averaged with the old ones'.

    Parameters
    ----------
    known : data_vs_prior, sigma2 and coverage, (K, n_shells) each
    fixed : fields that are not averaged
    """
    data_vs_prior, sigma2, coverage = known
    new = replace(
        averaged(plan.model, update_parameters(plan, joined(*accs)), mu),
        references=references,
        tau2=np.array(tau2),
        data_vs_prior=data_vs_prior,
        sigma2_reference=sigma2,
        fourier_coverage=coverage,
        current_size_px=plan.size,
        **fixed,
    )
    return replace(new, **class_statistics(new))


def of_iteration(model: Model, settings: Settings, iteration: int, options: GradientOptions):
    """Model and settings as an iteration has them, and what its start is asked: whether to renew, and the finest detail."""
    how = {"renew": schedule_gradient.renews(iteration, options), "limit_A": schedule_gradient.limit_A(iteration, options)}
    settings = replace(settings, residual_sums=schedule_gradient.is_gradient(iteration, options))
    return replace(model, tau2_fudge=schedule_gradient.tau2_fudge(iteration, options)), settings, how
