// The adjoint of project: data[class[r]] += P^T row[r], weight likewise with the same interpolation weights.
//   rows (n_row, 2, n_k), row_weights (n_row, n_k); class_of, matrix, kx, ky, radius as in project; rows of one class contiguous
//   data (n_class, ny, nx, 2) f64 and weight (n_class, ny, nx) f64 are added to
// A frequency with x < 0 is written, conjugated, to its Friedel mate; on the column x = 0 both mates are stored and the
// caller adds them (engine/reconstruct.py). Source: docs/equations.md#slice
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void backproject(Cpu, View<const float, 3> rows, View<const float, 2> row_weights, View<const std::int32_t, 1> class_of,
                 View<const float, 3> matrix, View<const float, 1> kx, View<const float, 1> ky, float radius,
                 View<double, 4> data, View<double, 3> weight);
}  // namespace vitreous
