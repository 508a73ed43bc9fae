// The second half of real maps from transforms, along x, for some of the rows:
//   out[j, y, x] = sum over kx < n_k of (h[y, 0, kx] + i h[y, 1, kx]) exp(2 pi i kx x / n), n = out.shape[2]
//   h[y, :, kx] = half[j, kx / 16, first + y, :, kx % 16]
//   Columns kx > 0 count for -kx too, except the column n/2; the imaginary part of what meets itself is left out.
//   half (m, n_block, n_rows, 2, 16) as `inverse_columns` makes it, n_k <= 16 n_block and n/2 + 1; out (m, rows, n)
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void inverse_rows(Cpu, View<const float, 5> half, idx n_k, idx first, View<float, 3> out);
}  // namespace vitreous
