// Central slices of 3D transforms: out[r,:,k] = volume[class[r]](matrix[r] (kx[k], ky[k])), trilinear; 0 beyond radius.
//   volume (n_vol, nz, ny, nx) c64: padded half transform, x = 0..nx-1, row y + ny/2, plane z + nz/2; ny, nz odd, nx > radius + 1
//   matrix (n_row, 3, 2): image frequency -> frequency x, y, z in samples of the padded transform (padding times the first
//   two rows of A, transposed)
//   class_of (n_row) int32; kx, ky (n_k); radius: in padded samples; out (n_row, 2, n_k): real plane, imaginary plane
// backproject3d is its adjoint. Source: docs/equations.md#slice3d
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void project3d(Cpu, View<const c64, 4> volume, View<const std::int32_t, 1> class_of, View<const float, 3> matrix,
               View<const float, 1> kx, View<const float, 1> ky, float radius, View<float, 3> out);
}  // namespace vitreous
