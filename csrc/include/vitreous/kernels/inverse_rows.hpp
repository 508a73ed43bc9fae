// The second half of real maps from transforms, along x, for some of the rows:
//   out[j, y, x] = sum over kx of (half[j, first + y, 0, kx] + i half[j, first + y, 1, kx]) exp(2 pi i kx x / n), n = out.shape[2]
//   Columns kx > 0 count for -kx too, except the column n/2; the imaginary part of what meets itself is left out.
//   half (m, n_rows, 2, n_k) as `inverse_columns` makes it, n_k <= n/2 + 1; out (m, rows, n)
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void inverse_rows(Cpu, View<const float, 4> half, idx first, View<float, 3> out);
}  // namespace vitreous
