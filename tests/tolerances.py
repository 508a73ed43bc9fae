"""Relative tolerances of kernels against their float64 oracles, each with its reason."""

RTOL = {
    "shift_phases": 2e-6,  # one float32 product and sum of turns before the reduction, then a float32 sine
}
