// HEALPix directions, nested numbering. Source: docs/equations.md#healpix (Gorski 2005; Calabretta & Roukema 2007)
#pragma once
#include <cmath>
#include <cstdint>

#include "vitreous/base.hpp"

namespace vitreous {

struct Direction {
  double z, phi;  // cosine of the polar angle; azimuth in rad, in [0, 2 pi)
};

// Every second bit of v, from bit 0: the x (v) or y (v >> 1) coordinate that a nested number interleaves.
VT_HD inline std::int64_t even_bits(std::int64_t v) {
  std::int64_t out = 0;
  for (int bit = 0; bit < 30; ++bit) out |= ((v >> (2 * bit)) & 1) << bit;
  return out;
}

// Centre of nested pixel `pixel` of 12 n_side^2, n_side = 2^order. The sphere is unrolled onto a plane (X, Y) in units
// of pi/4, where the 12 faces are equal diamonds and the pixels a grid; z and phi follow from the plane by the inverse
// projection.
VT_HD inline Direction healpix_centre(int order, std::int64_t pixel) {
  constexpr double quarter_pi = 0.78539816339744830962;
  const std::int64_t n_side = std::int64_t(1) << order;
  const std::int64_t face = pixel >> (2 * order), within = pixel & (n_side * n_side - 1);
  const std::int64_t ring = face / 4;  // 0 around the north pole, 1 on the equator, 2 around the south pole
  const double u = (even_bits(within) + 0.5) / n_side, v = (even_bits(within >> 1) + 0.5) / n_side;
  const double face_x = 2 * (face % 4) + (ring == 1 ? 0 : 1);
  const double x = u - v, y = 1 - ring + u + v - 1;
  const double width = 2 - std::fabs(y);  // of a polar gore at this height; it narrows towards the pole
  Direction out;
  if (width >= 1) {
    out = {2 * y / 3, face_x + x};
  } else {
    const double z = 1 - width * width / 3;
    out = {y > 0 ? z : -z, face_x + x / width};
  }
  out.phi = quarter_pi * (out.phi < 0 ? out.phi + 8 : out.phi);
  return out;
}

}  // namespace vitreous
