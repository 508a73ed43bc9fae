// Bilinear reads and writes of a half-complex 2D transform: kx >= 0 along x, ky centred along y.
// Source: docs/equations.md#slice
#pragma once
#include <cmath>

#include "vitreous/base.hpp"

namespace vitreous {

// Where a frequency (x, y), in samples of the padded transform, falls: the lower corner, the weights, and whether the
// Friedel mate was taken because x < 0.
struct Corner2 {
  int x, y;
  float wx, wy;
  bool mate;
};

VT_HD inline Corner2 corner2(float x, float y) {
  Corner2 c;
  c.mate = x < 0;
  if (c.mate) {
    x = -x;
    y = -y;
  }
  const float fx = floorf(x), fy = floorf(y);
  c.x = int(fx);
  c.y = int(fy);
  c.wx = x - fx;
  c.wy = y - fy;
  return c;
}

}  // namespace vitreous
