// Slices of 2D reference transforms: out[r,:,k] = reference[class[r]](matrix[r] (kx[k], ky[k])), bilinear; 0 beyond radius.
//   reference (n_class, ny, nx) c64: padded half transform, x = 0..nx-1, row y + ny/2; ny odd, nx > radius + 1
//   matrix (n_row, 2, 2): image frequency -> frequency in samples of the padded transform (rotation times padding)
//   class_of (n_row) int32; kx, ky (n_k); radius: in padded samples; out (n_row, 2, n_k): real plane, imaginary plane
// backproject is its adjoint: it adds rows of data and of weights to float64 accumulators of the same layout, with the
// real inner product Re sum conj(a) b on both sides; rows of one class must be contiguous.
// Source: docs/equations.md#slice
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void project(Cpu, View<const c64, 3> reference, View<const std::int32_t, 1> class_of, View<const float, 3> matrix,
             View<const float, 1> kx, View<const float, 1> ky, float radius, View<float, 3> out);
}  // namespace vitreous
