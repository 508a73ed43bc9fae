"""Tolerances of kernels against their float64 oracles, each with its reason."""

RTOL = {
    "ctf_image": 2e-6,  # phase reduced in double; float32 rounding of the reduced phase (3e-8 turns) and of the sine
    "prepare_images": 1e-6,  # a product and two sums in float32; the mean outside is summed by rows
    "gather_band": 3e-6,  # float32 transform, of which the coefficients are compared, and a product of two phase tables
    "shell_power": 1e-6,  # float32 squares summed in double
    "coloured_noise": 2e-6,  # float32 logarithm, square root and sine, relative to the largest coefficient
    "weighted_sums": 2e-4,  # float32 sums of up to hundreds of terms of either sign, relative to the largest result
    "lowest_frequencies": 5e-7,  # float32 sums of 2 log2(n) terms in turn, relative to the pixels' root mean square
    "inverse_columns": 1e-6,  # the same, relative to the results' standard deviation
    "inverse_rows": 1e-6,
    "pick_best": 1e-5,  # float32 sums of tens of products, relative to the largest
    "project": 2e-5,  # float32 coordinates of up to 20 samples: the interpolation weights keep about five digits
}

ATOL = {
    "shift_phases": 1e-4,  # float32 turns of up to 40: 40 x 2^-24 x 2 pi, a few roundings
    "score": 2e-3,  # float32 sums of hundreds of products of about 1; an error e changes a weight by the factor exp(e)
}
