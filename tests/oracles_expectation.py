"""Float64 definitions of the expectation step: one score at a time, no matrix products, no symmetry used."""

import numpy as np


def slice_at(reference_ft, matrix, kx, ky, radius):
    """One bilinear slice of a half-complex 2D transform, from the definition."""
    out = np.zeros(len(kx), complex)
    half = reference_ft.shape[0] // 2
    for i, (u, v) in enumerate(zip(kx, ky)):
        x, y = matrix @ np.array([u, v], float)
        if x * x + y * y > radius * radius:
            continue
        mate = x < 0
        x, y = (-x, -y) if mate else (x, y)
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        value = sum(
            (1 - abs(x - a)) * (1 - abs(y - b)) * complex(reference_ft[b + half, a]) for a in (x0, x0 + 1) for b in (y0, y0 + 1)
        )
        out[i] = np.conj(value) if mate else value
    return out


def complex_bank(bank, n_pose):
    """All poses as complex slices: rows, then their conjugates where the bank is half."""
    rows = np.asarray(bank[:, 0], float) + 1j * np.asarray(bank[:, 1], float)
    return rows if n_pose == len(rows) else np.concatenate([rows, rows.conj()])


def log_weights(case, i, bank, phases, pose_prior, shift_prior, correlation=False):
    """(n_pose, n_shift) log weights of image i."""
    poses = complex_bank(bank, len(pose_prior))
    classes = np.resize(case["row_class"], len(poses))
    n_k = len(case["half_inv_var"])
    x = np.asarray(case["images"][i, 0, :n_k], float) + 1j * np.asarray(case["images"][i, 1, :n_k], float)
    ctf, h = np.asarray(case["ctf"][i, :n_k], float), np.asarray(case["half_inv_var"], float)
    out = np.empty((len(poses), len(phases)))
    for p, a in enumerate(poses):
        for t, phase in enumerate(phases):
            shifted = x * (np.asarray(phase[0], float) + 1j * np.asarray(phase[1], float))
            model = ctf * a
            if correlation:
                used = h > 0
                out[p, t] = np.sum((model.conj() * shifted).real[used]) / np.sqrt(
                    np.sum(abs(model[used]) ** 2) * np.sum(abs(x[used]) ** 2)
                )
            else:
                residual = np.sum(h * (abs(shifted - model) ** 2 - abs(x) ** 2))
                out[p, t] = -residual + pose_prior[p] + shift_prior[i, classes[p], t]
    return out


def significant(log_w, fraction, max_count=0):
    """Mask of the largest weights that together exceed the fraction of the mass."""
    order = np.argsort(-log_w.ravel(), kind="stable")
    mass = np.cumsum(np.exp(log_w.ravel()[order] - log_w.max()))
    last = np.searchsorted(mass, fraction * mass[-1], side="right")
    if max_count:
        last = min(last, max_count - 1)
    return log_w >= log_w.ravel()[order[min(last, len(order) - 1)]]
