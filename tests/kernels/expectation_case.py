"""A small random expectation problem that the tests of the scoring kernels share."""

import numpy as np


def make(n_img=5, n_class=2, n_half_psi=3, n_shift=4, n_k=37, turned=True, spread=0.35, seed=0):
    rng = np.random.default_rng(seed)
    n_row = n_class * n_half_psi
    n_pose = n_row * (2 if turned else 1)
    f32 = lambda *shape: rng.normal(size=shape).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi, (n_shift, n_k))
    half_inv_var = rng.uniform(0.5, 1.5, n_k).astype(np.float32) * np.float32(spread)
    half_inv_var[0] = 0
    return {
        "bank": f32(n_row, 2, n_k),
        "row_class": np.repeat(np.arange(n_class), n_half_psi).astype(np.int32),
        "pose_prior": np.log(rng.uniform(0.1, 1, n_pose)).astype(np.float32),
        "shift_prior": np.log(rng.uniform(0.1, 1, (n_img, n_class, n_shift))).astype(np.float32),
        "images": f32(n_img, 2, n_k + 3),
        "ctf": f32(n_img, n_k + 3),
        "half_inv_var": half_inv_var,
        "phases": np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32),
    }


def all_samples(n_img, n_pose, n_shift):
    """Every coarse sample of every image."""
    one = np.arange(n_pose * n_shift)
    return (
        np.arange(n_img + 1, dtype=np.int64) * len(one),
        np.tile(one // n_shift, n_img).astype(np.int32),
        np.tile(one % n_shift, n_img).astype(np.int32),
    )
