"""The state of a made-up run, every number of it different, and how two of them are compared."""

from dataclasses import replace

import numpy as np

from vitreous.io.particles import quantise
from vitreous.model.dataset import CtfColumns, Dataset, Exposures, Particles
from vitreous.model.optics import OpticsGroup
from vitreous.model.state import Model, Progress, Refinement, Sampling

K, BOX, N = 3, 16, 20
S = BOX // 2 + 1


def make_dataset(rng, **columns) -> Dataset:
    """Particles of three micrographs and two optics groups, as a run holds them."""
    group = (np.arange(N) % 3).astype(np.int32)
    optics = [OpticsGroup("g", 1, 300.0, 2.7, 0.1, 1.37, BOX)]
    optics.append(replace(optics[0], name="h", number=2, voltage_kV=200.0, pixel_size_A=1.4012345678))
    ctf = CtfColumns(*(rng.random(N) * 1e4 + 1 for _ in range(3)), np.zeros(N), np.ones(N), np.zeros(N))
    particles = Particles.default(
        N,
        source=group,
        group=group,
        optics=(group == 2).astype(np.int32),
        ctf=ctf,
        euler_deg=rng.random((N, 3)) * 360,
        shift_A=rng.normal(size=(N, 2)),
        class_number=rng.integers(1, K + 1, N).astype(np.int32),
        norm=rng.random(N),
        log_likelihood=rng.normal(size=N) * 1e6,
        p_max=rng.random(N) ** 20,
        n_significant=rng.integers(1, 99, N).astype(np.int32),
        **columns,
    )
    names = ["m/a.mrc", "m/b.mrc", "m/c.mrc"]
    return quantise(Dataset(optics, names, Exposures.single(3), particles, ["s.mrcs"], names))


def make_model(rng, data: Dataset, n_classes: int = K, n_axes: int = 2, group_counts=None) -> Model:
    """Only 2D classes have offsets of their own."""
    return Model(
        pixel_size_A=1.37,
        references=rng.normal(size=(n_classes,) + n_axes * (BOX,)).astype(np.float32),
        class_weight=rng.dirichlet(np.ones(n_classes)),
        sigma2_noise=rng.random((2, S)) * 1e-7,
        tau2=rng.random((n_classes, S)) * 1e-9,
        data_vs_prior=rng.random((n_classes, S)) * 100,
        sigma2_reference=rng.random((n_classes, S)),
        fourier_coverage=rng.random((n_classes, S)),
        class_offset_A=rng.normal(size=(n_classes, 2)) * (n_axes == 2),
        accuracy_rotation_deg=np.array([999.0, 1.1, 2.2])[:n_classes],
        accuracy_shift_A=rng.random(n_classes),
        class_resolution_A=np.array([np.inf, 11.3, 20 / 3])[:n_classes],
        class_coverage=rng.random(n_classes),
        group_names=data.group_names,
        group_counts=data.group_counts if group_counts is None else group_counts,
        group_scale=rng.random(3),
        sigma_offset_A=rng.random(),
        average_norm=rng.random(),
        average_p_max=0.1,
        log_likelihood=-1234567.890123,
        current_resolution_A=np.inf,
        current_size_px=12,
        tau2_fudge=2.0,
    )


def state(seed=0):
    """Model, sampling, progress and particles of a 2D classification."""
    rng = np.random.default_rng(seed)
    data = make_dataset(rng)
    sampling = Sampling(11.25, 6.85, 2.74, 2, 0.5, -1 / 7, 12.0, 6.85, 2.74)
    progress = Progress(7, 25, 123, 12, 1, 2, 1 / 17, 1 / 3, 0.2, 0.3, 0.1, 0.15, 1 / 7, True, False, 1.1, 0.7)
    return make_model(rng, data), sampling, progress, data


def refinement(n_models: int, seed: int = 0, **fields) -> Refinement:
    """A classification into K maps, or a refinement of two half-sets; named fields replace the made-up ones."""
    rng = np.random.default_rng(seed)
    n_dir, n_classes = 12, K if n_models == 1 else 1
    half = rng.integers(1, 3, N).astype(np.int32)
    data = make_dataset(rng, **({"half": half} if n_models == 2 else {}))
    counts = [np.bincount(data.particles.group[half == h], minlength=3) if n_models == 2 else None for h in (1, 2)]
    models = [make_model(rng, data, n_classes, 3, counts[i]) for i in range(n_models)]
    sampling = Sampling(15.0, 6.85, 2.74, 1, 0.5, -1 / 7, 30.0, 8.22, 5.48, healpix_order=2)
    progress = Progress(7, 25, 123, 12, 1, 2, 1 / 17, 1 / 3, 0.2, 0.3, 0.1, 0.15, 1 / 7, fine_enough=True)
    weights = [rng.dirichlet(np.ones(n_classes * n_dir)).reshape(n_classes, n_dir) for _ in models]
    made_up = {"direction_weights": weights, "directions_deg": rng.random((n_dir, 2)) * 180, "symmetry": "D2"}
    made_up |= {"sampling": sampling, "fsc": np.concatenate([[1], rng.random(S - 1)]) if n_models == 2 else None}
    return Refinement(data, models, progress=progress, **(made_up | fields))


def assert_same(found, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def assert_same_particles(found: Dataset, expected: Dataset):
    for name, column in expected.particles.columns().items():
        mine = getattr(found.particles, name)
        for label, values in column.columns().items() if name == "ctf" else [(name, column)]:
            np.testing.assert_array_equal(getattr(mine, label) if name == "ctf" else mine, values, err_msg=label)
