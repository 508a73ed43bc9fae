// Bins of half a shell in a plane of a half transform.
#pragma once
#include <algorithm>
#include <cmath>

#include "vitreous/base.hpp"

namespace vitreous {

// Calls visit(i, bin) for the samples i = 0.. of row j of plane k that lie within the radius.
template <class Visit>
void each_in_row(const idx *shape, idx k, idx j, float radius, double ratio, idx n_bin, Visit visit) {
  const double z = double(k - shape[0] / 2), y = double(j - shape[1] / 2), rest2 = z * z + y * y, radius2 = double(radius) * radius;
  for (idx i = 0; i < shape[2]; ++i) {
    const double distance2 = rest2 + double(i) * double(i);
    if (distance2 > radius2) break;
    visit(i, std::min(idx(2 * std::sqrt(distance2) / ratio), n_bin - 1));
  }
}

}  // namespace vitreous
