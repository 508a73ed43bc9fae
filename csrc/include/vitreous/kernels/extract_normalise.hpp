// Background of boxes made flat, mean 0 and standard deviation 1, in place (docs/equations.md#normalise)
//   1. dust: a pixel above m + white s or below m - black s becomes Gaussian noise (m, s); m, s over the background;
//      a threshold <= 0 is off
//   2. ramp: minus the plane a x + b y + c fitted to the background; without it minus the background's mean
//   3. over the standard deviation of the background; 4. times sign
//   images (n, b, b); background (1 or n, b, b): not 0 where a pixel counts; id (n): key of the noise with the seed
//   normalise false: 4 alone
//   stats (n, 9): background mean and standard deviation (as in 3, of population), slopes a and b per px, number of
//   pixels replaced, then of the result: least and largest value, sum of values, sum of squares
// A background without spread (standard deviation < 1e-10) leaves the image as it was, its spread in stats is 0.
// Shapes are checked by the caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
constexpr idx kNormaliseStats = 9;
void extract_normalise(Cpu, View<float, 3> images, View<const std::uint8_t, 3> background, bool normalise, bool ramp,
                       float white, float black, float sign, std::uint64_t seed, View<const std::uint64_t, 1> id,
                       View<double, 2> stats);
}  // namespace vitreous
