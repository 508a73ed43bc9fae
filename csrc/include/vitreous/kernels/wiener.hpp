// Data over weight and prior: out = scale (re, im) / max(weight + prior[bin], least[bin]) within radius; 0 beyond, and where the
// divisor is 0.
//   sums (nz, ny, nx, 3) f32, ratio, radius and bins of half a shell as in shell_weights; prior, least (n_bin); out (nz, ny, nx)
// Source: docs/equations.md#wiener
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void wiener(Cpu, View<const float, 4> sums, View<const float, 1> prior, View<const float, 1> least, float radius, double ratio,
            float scale, View<c64, 3> out);
}  // namespace vitreous
