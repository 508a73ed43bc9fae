// Where linear reads and writes of a half-complex transform fall: kx >= 0 along x, the other axes centred. 2D and 3D.
// Source: docs/equations.md#slice, #slice3d
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

// The same for (x, y, z): the lower corner of eight.
struct Corner3 {
  int x, y, z;
  float wx, wy, wz;
  bool mate;
};

VT_HD inline Corner3 corner3(float x, float y, float z) {
  Corner3 c;
  c.mate = x < 0;
  if (c.mate) {
    x = -x;
    y = -y;
    z = -z;
  }
  const float fx = floorf(x), fy = floorf(y), fz = floorf(z);
  c.x = int(fx);
  c.y = int(fy);
  c.z = int(fz);
  c.wx = x - fx;
  c.wy = y - fy;
  c.wz = z - fz;
  return c;
}

}  // namespace vitreous
