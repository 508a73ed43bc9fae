// The phase factor of a shift: exp(-2 pi i (kx sx + ky sy) / box). Source: docs/equations.md#shift
#pragma once
#include <cmath>

#include "vitreous/base.hpp"

namespace vitreous {
// Turns, not radians, are reduced to [-0.5, 0.5] first, so that float keeps its digits at any k and s.
VT_HD inline c64 shift_phase(float kx, float ky, float sx_px, float sy_px, float inverse_box) {
  const float turns = (kx * sx_px + ky * sy_px) * inverse_box;
  const float angle = -6.28318530717958648f * (turns - rintf(turns));
  return {cosf(angle), sinf(angle)};
}
}  // namespace vitreous
