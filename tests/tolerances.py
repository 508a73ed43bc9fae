"""Relative tolerances of kernels against their float64 oracles, each with its reason."""

RTOL = {
    "ctf_image": 2e-6,  # phase reduced in double; float32 rounding of the reduced phase (3e-8 turns) and of the sine
    "prepare_images": 1e-6,  # a product and two sums in float32; the mean outside is summed by rows
    "gather_band": 3e-6,  # float32 transform, of which the coefficients are compared, and a product of two phase tables
    "shell_power": 1e-6,  # float32 squares summed in double
    "coloured_noise": 2e-6,  # float32 logarithm, square root and sine, relative to the largest coefficient
    "shift_phases": 2e-6,  # one float32 product and sum of turns before the reduction, then a float32 sine
}
