// out[t,k] = exp(-2 pi i (kx[k] sx[t] + ky[k] sy[t]) / box): moves an image's content by +s pixels (docs/equations.md#shift)
//   kx, ky (n_k): integer Fourier indices; shifts_px (n_t, 2): x, y in pixels; box: side of the transformed image
//   out (n_t, 2, n_k): real plane, imaginary plane. Shapes are checked by the caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void shift_phases(Cpu, View<const float, 1> kx, View<const float, 1> ky, View<const float, 2> shifts_px, float box, View<float, 3> out);
void shift_phases(Cuda, View<const float, 1> kx, View<const float, 1> ky, View<const float, 2> shifts_px, float box, View<float, 3> out);
}  // namespace vitreous
