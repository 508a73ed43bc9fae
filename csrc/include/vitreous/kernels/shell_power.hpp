// out[i,s] = sum over pixels of shell s of |ft_i / b^2|^2   (half the mean of this over a shell is the noise spectrum,
// docs/equations.md#noise)
//   ft (n_i, b, b/2+1): unnormalised output of rfft2; shell_of (b, b/2+1): shell of a pixel, -1 (or >= n_s) = not
//   counted out (n_i, n_s) float64. Shapes are checked by the caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void shell_power(Cpu, View<const c64, 3> ft, View<const std::int32_t, 2> shell_of, View<double, 2> out);
void shell_power(Cuda, View<const c64, 3> ft, View<const std::int32_t, 2> shell_of, View<double, 2> out);
}  // namespace vitreous
