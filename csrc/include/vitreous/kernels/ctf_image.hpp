// out[i,k] = CTF of image i at frequency k, white particles on dark: positive at low frequency (docs/equations.md#ctf)
//   fx, fy (n_k): frequency in 1/A, after the magnification matrix
//   parameters (n_i, 9): the order of ctf_coefficients; extra_rad (n_k or 0): phase added to every image's, e.g. of
//   even aberrations out (n_i, n_k). A NaN in one image's parameters stays in its row. Shapes are checked by the
//   caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {

// Applied in this order.
struct CtfOptions {
  bool intact_first_peak;  // 1 before the first peak
  bool phase_flipped;      // |CTF|
  bool only_flip_phases;   // +1 or -1
  bool premultiplied;      // CTF^2, for images already multiplied by their CTF
};

void ctf_image(Cpu, View<const double, 1> fx, View<const double, 1> fy, View<const double, 2> parameters,
               View<const float, 1> extra_rad, CtfOptions options, View<float, 2> out);
void ctf_image(Cuda, View<const double, 1> fx, View<const double, 1> fy, View<const double, 2> parameters,
               View<const float, 1> extra_rad, CtfOptions options, View<float, 2> out);

}  // namespace vitreous
