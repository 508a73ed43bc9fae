// The adjoint of project3d: data and weights of rows are added to the samples that the slices read, with the same shares.
//   rows (n_row, 2, n_k), row_weights (n_row, n_k): a pixel without weight is left out
//   class_of, matrix, kx, ky, radius as in project3d
//   sums (n_vol, nz, ny, nx, 3) f32 is added to: real part, imaginary part, weight of a sample lie together
// A frequency with x < 0 is written, conjugated, to its Friedel mate; on the plane x = 0 both mates are stored and the
// caller adds them (engine/reconstruct3d.py). A sample gets its terms in the order (row, tile of the band), so the result
// has the same bits at every number of threads. Source: docs/equations.md#slice3d
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void backproject3d(Cpu, View<const float, 3> rows, View<const float, 2> row_weights, View<const std::int32_t, 1> class_of,
                   View<const float, 3> matrix, View<const float, 1> kx, View<const float, 1> ky, float radius,
                   View<float, 5> sums);
}  // namespace vitreous
