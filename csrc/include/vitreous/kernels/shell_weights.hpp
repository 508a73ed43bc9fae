// Weights of 3D sums by distance from the origin, in bins of half a shell: bin = floor(2 |k| / ratio), the last one for all beyond.
//   sums (nz, ny, nx, 3) f32: half transform as in backproject3d; samples within radius count, each once
//   ratio: samples of the lattice per shell; least (n_bin): a weight of at least this is strong
//   total (n_bin) f64: sum of weights; count, strong (n_bin) i64: samples, and those that are strong; all are overwritten
// Planes are summed one by one and then together, so the result has the same bits at every number of threads.
// Source: docs/equations.md#wiener
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void shell_weights(Cpu, View<const float, 4> sums, View<const float, 1> least, float radius, double ratio,
                   View<double, 1> total, View<std::int64_t, 1> count, View<std::int64_t, 1> strong);
}  // namespace vitreous
