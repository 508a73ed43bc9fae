// out[i,k] = F_i[index[k]] / b^2 * (-1)^(kx+ky) * exp(-2 pi i (kx sx + ky sy) / b) * phase[k] (docs/equations.md#shift)
// An unnormalised transform becomes the band of the image, its phases referred to the centre pixel b/2, its content
// moved by +s.
//   ft (n_i, b, b/2+1): output of rfft2; index (n_k): into one image's flattened ft; kx, ky (n_k): Fourier indices, |k|
//   <= b/2 shift_px (n_i, 2): x, y; phase (2, n_k or 0): factor of every image, real and imaginary plane; out (n_i, 2,
//   n_k): planes
// Shapes are checked by the caller; an index that is not the pixel (kx, ky) is an std::invalid_argument.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void gather_band(Cpu, View<const c64, 3> ft, View<const idx, 1> index, View<const float, 1> kx, View<const float, 1> ky,
                 View<const float, 2> shift_px, View<const float, 2> phase, View<float, 3> out);
void gather_band(Cuda, View<const c64, 3> ft, View<const idx, 1> index, View<const float, 1> kx,
                 View<const float, 1> ky, View<const float, 2> shift_px, View<const float, 2> phase,
                 View<float, 3> out);
}  // namespace vitreous
