"""Cases of the E-step benches with a posterior as sharp or as flat as wanted, and the machine's own rate of products."""

from functools import cache

import numpy as np

from expectation_case import make
from vitreous.kernels import score_coarse, score_fine
from vitreous.programs.doctor import gemm_rates

# K = 20, 12 degrees (half of the in-plane grid is in the bank), 5 px in steps of 2 px, oversampling 1.
N_CLASS, N_PSI, N_SHIFT, N_CHILD = 20, 15, 21, 4
# All orientations of one map at HEALPix order 2, 15 degrees; a coarse pass compares about 250 Fourier pixels there.
N_ROW_3D, N_PIXEL_3D = 2304, 250
SPREAD = {"sharp": 300.0, "flat": 30.0}  # 1 / (2 sigma^2) summed over the pixels: a few or hundreds of significant samples


def coarse_case(n_img, n_k, posterior, n_class=N_CLASS, n_psi=N_PSI):
    """Arguments of score_coarse: random slices and images."""
    return make(n_img=n_img, n_class=n_class, n_half_psi=n_psi, n_shift=N_SHIFT, n_k=n_k, spread=SPREAD[posterior] / n_k)


def fine_case(be, n_img, n_k, posterior):
    """Arguments of score_fine for the same images, and the samples of their coarse pass."""
    coarse = coarse_case(n_img, n_k, posterior)
    fine = make(n_img=n_img, n_class=N_CLASS, n_half_psi=2 * N_PSI, n_shift=N_CHILD * N_SHIFT, n_k=n_k, spread=SPREAD[posterior] / n_k)
    coarse["images"], coarse["ctf"] = fine["images"], fine["ctf"]
    children = np.arange(2 * len(fine["bank"])).reshape(-1, 2).astype(np.int32)
    return fine, {"pose_children": children, "samples": score_coarse(be, **coarse)[:3], "n_per_shift": N_CHILD}


def posterior_case(be, n_img, n_k, posterior):
    """A fine case and its posterior, for weighted_sums."""
    fine, rest = fine_case(be, n_img, n_k, posterior)
    return fine, score_fine(be, **fine, **rest)


@cache
def peak_gflops(n_threads):
    """Rate of one 4096^3 float32 product per thread, on all threads at once, by the library that the kernels use."""
    return gemm_rates(n_threads, 4096)[1]
