// ft of Gaussian noise whose spectrum is given, a pure function of (seed, ids[i], pixel)   (docs/equations.md#noise)
//   sigma (n_s): standard deviation of each component of ft / b^2; shell_of (b, b/2+1): shell of a pixel, outside [0,
//   n_s) = no noise ids (n_i): 64-bit, e.g. particle numbers out (n_i, b, b/2+1): Hermitian, on the scale of an
//   unnormalised rfft2: irfft2 (divided by b^2) gives the image.
// Of a Friedel pair in the columns kx = 0 and b/2 the partner with ky > 0 is drawn, whatever the shell of the other.
// A coefficient that is its own partner is real with twice the variance, as in white noise. Shapes are checked by the
// caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void coloured_noise(Cpu, std::uint64_t seed, View<const std::uint64_t, 1> ids, View<const float, 1> sigma,
                    View<const std::int32_t, 2> shell_of, View<c64, 3> out);
void coloured_noise(Cuda, std::uint64_t seed, View<const std::uint64_t, 1> ids, View<const float, 1> sigma,
                    View<const std::int32_t, 2> shell_of, View<c64, 3> out);
}  // namespace vitreous
