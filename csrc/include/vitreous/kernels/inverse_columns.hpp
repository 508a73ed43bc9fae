// The first half of real maps from one transform and many filters, along y:
//   out[j, kx / 16, y, :, kx % 16] = real and imaginary part of
//                                    sum over ky of c_j ft[ky,kx] gain[j,ky,kx] exp(2 pi i ky y / n_out)
//   c_j = 1 for j < n_even, -i for the others, whose gain stands for an imaginary filter
//   ft (h, h/2 + 1), gain (m, h, h/2 + 1), h <= n_out; rows ky = 0 .. h/2, -((h-1)/2) .. -1
//   out (m, ceil((h/2+1) / 16), n_out, 2, 16), 16 = kColumnBlock
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
constexpr idx kColumnBlock = 16;  // columns that lie together: a cache line each for the real and the imaginary parts
void inverse_columns(Cpu, View<const c64, 2> ft, View<const float, 3> gain, idx n_even, View<float, 5> out);
}  // namespace vitreous
