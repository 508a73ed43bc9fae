// Sums of a point group's copies: out(k) = sum over R of in(R k), trilinear, within radius; 0 beyond.
//   in, out (nz, ny, nx, 3) f32: half transform as in backproject3d (real, imaginary, weight), the plane x = 0 Hermitian
//   operators (n_op, 3, 3): R on (x, y, z), the identity among them; radius in samples
// Source: docs/equations.md#symmetry
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void symmetrise(Cpu, View<const float, 4> in, View<const float, 3> operators, float radius, View<float, 4> out);
}  // namespace vitreous
