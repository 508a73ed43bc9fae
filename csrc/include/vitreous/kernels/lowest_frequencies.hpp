// The lowest frequencies of the transform of an image in a larger square, and of its square's:
//   out[0, ky, kx] = 1/n_full^2 sum_{y,x} v(y,x) exp(-2 pi i (ky y + kx x) / n_full), out[1] with v^2, where it is asked for
//   v = (image - mean) factor inside of the image, 0 where that is beyond +-limit; the next number of `around` outside.
//   image (ny, nx) lies at (y0, x0) of the square of n_full; around: the pixels outside of it, row by row
//   out (1 or 2, n, n/2 + 1), n <= n_full: rows ky = 0 .. n/2, -((n-1)/2) .. -1. docs/conventions.md#fourier-transforms
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void lowest_frequencies(Cpu, View<const float, 2> image, View<const float, 1> around, idx y0, idx x0, idx n_full, float mean,
                        float factor, float limit, View<c64, 3> out);
}  // namespace vitreous
