import numpy as np
import pytest

import oracles_expectation as oracle
from expectation_case import make
from tolerances import RTOL
from vitreous.kernels import weighted_sums


def problem(density=0.3, seed=1, **sizes):
    case = make(**sizes)
    rng = np.random.default_rng(seed)
    n_img, n_row, n_k, n_shift = len(case["images"]), len(case["bank"]), len(case["half_inv_var"]), len(case["phases"])
    w = rng.uniform(size=(n_img, 2 * n_row, n_shift)) * (rng.uniform(size=(n_img, 2 * n_row, n_shift)) < density)
    w[-1] = 0  # an image without any kept point
    w = (w / np.maximum(w.sum((1, 2), keepdims=True), 1e-9)).astype(np.float32)
    i, pose, shift = np.nonzero(w)
    posterior = (
        np.searchsorted(i, np.arange(n_img + 1)),
        pose.astype(np.int32),
        shift.astype(np.int32),
        w[i, pose, shift],
    )
    shell = np.sort(rng.integers(0, 7, n_k)).astype(np.int32)
    scale_shells = rng.integers(0, 2, (int(case["row_class"].max()) + 1, 7)).astype(np.uint8)
    case["shifts_px"] = rng.normal(size=(n_shift, 2)).astype(np.float32)
    unmasked = rng.normal(size=case["images"].shape).astype(np.float32)
    case["half_inv_var"][0] = 0.7
    return case, w, posterior, shell, scale_shells, unmasked


def run(be, case, posterior, shell, scale_shells, unmasked, premultiplied=False):
    data, weight = np.zeros_like(case["bank"]), np.zeros_like(case["bank"][:, 0])
    out = weighted_sums(
        be,
        case["bank"],
        case["row_class"],
        unmasked,
        case["images"],
        case["ctf"],
        case["half_inv_var"],
        case["phases"],
        case["shifts_px"],
        shell,
        scale_shells,
        posterior,
        premultiplied=premultiplied,
        data=data,
        weight=weight,
    )
    return data, weight, *out


def oracle_sums(case, w, shell, scale_shells, unmasked, premultiplied):
    """Every (image, pose, shift) in turn, in complex128."""
    n_img, n_pose, _ = w.shape
    n_row, n_k = len(case["bank"]), len(shell)
    as_complex = lambda x: np.asarray(x[0, :n_k], float) + 1j * np.asarray(x[1, :n_k], float)
    poses, h = oracle.complex_bank(case["bank"], n_pose), np.asarray(case["half_inv_var"], float)
    data, weight = np.zeros((n_row, n_k), complex), np.zeros((n_row, n_k))
    cross, model = np.zeros((n_img, 7)), np.zeros((n_img, 7))
    scale_cross, scale_model = np.zeros(n_img), np.zeros(n_img)
    moments = np.zeros((n_img, len(scale_shells), 4))
    for i, p, t in zip(*np.nonzero(w)):
        ctf, phase = np.asarray(case["ctf"][i, :n_k], float), case["phases"][t][0] + 1j * case["phases"][t][1]
        row, cls, wi = p % n_row, case["row_class"][p % n_row], float(w[i, p, t])
        add = wi * 2 * h * as_complex(unmasked[i]) * phase * (1 if premultiplied else ctf)
        data[row] += add if p < n_row else add.conj()
        weight[row] += wi * 2 * h * (ctf if premultiplied else ctf**2)
        c = np.bincount(shell, wi * (np.conj(as_complex(case["images"][i]) * phase) * ctf * poses[p]).real, 7)
        m = np.bincount(shell, wi * abs(ctf * poses[p]) ** 2, 7)
        cross[i] += c
        model[i] += m
        scale_cross[i] += c @ scale_shells[cls]
        scale_model[i] += m @ scale_shells[cls]
        x, y = case["shifts_px"][t].astype(float)
        moments[i, cls] += wi * np.array([1, x, y, x * x + y * y])
    return np.stack([data.real, data.imag], 1), weight, cross, model, scale_cross, scale_model, moments


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("density, n_shift", [(0.3, 4), (0.9, 20), (0.02, 9)])
def test_weighted_sums_match_oracle(be, premultiplied, density, n_shift):
    case, w, posterior, shell, scale_shells, unmasked = problem(density, n_shift=n_shift)
    got = run(be, case, posterior, shell, scale_shells, unmasked, premultiplied)
    for g, e in zip(got, oracle_sums(case, w, shell, scale_shells, unmasked, premultiplied)):
        np.testing.assert_allclose(g, e, rtol=RTOL["weighted_sums"], atol=RTOL["weighted_sums"] * abs(e).max())


def test_weighted_sums_do_not_depend_on_the_number_of_threads(be):
    case, _, posterior, shell, scale_shells, unmasked = problem(n_img=40, n_shift=12, n_k=200)
    two = run(be, case, posterior, shell, scale_shells, unmasked)
    be.lib.set_num_threads(1)
    one = run(be, case, posterior, shell, scale_shells, unmasked)
    be.lib.set_num_threads(be.n_threads)
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)


def test_weighted_sums_of_a_perfect_model_leave_no_residual(be):
    """Where every image is its model, sum |X|^2 - 2 cross + model vanishes in every shell."""
    case, _, _, shell, scale_shells, _ = problem(n_img=1, n_shift=1)
    case["phases"][:, 0], case["phases"][:, 1] = 1, 0
    n_k = len(shell)
    case["images"][0, :, :n_k] = case["bank"][2] * case["ctf"][0, :n_k]
    posterior = (np.array([0, 1]), np.array([2], np.int32), np.array([0], np.int32), np.ones(1, np.float32))
    _, _, cross, model, *_ = run(be, case, posterior, shell, scale_shells, case["images"])
    power = np.bincount(shell, (case["images"][0, :, :n_k].astype(float) ** 2).sum(0), 7)
    np.testing.assert_allclose(power - 2 * cross[0] + model[0], 0, atol=RTOL["weighted_sums"] * power.max())


def test_weighted_sums_refuse_decreasing_shells(be):
    case, _, posterior, shell, scale_shells, unmasked = problem()
    with pytest.raises(ValueError, match="shells must not decrease"):
        run(be, case, posterior, shell[::-1].copy(), scale_shells, unmasked)
