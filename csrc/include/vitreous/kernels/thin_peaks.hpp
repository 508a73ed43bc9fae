// Which peaks stay when, in each cluster, all within `distance` of a better one that stays go.
//   Peaks less than `link` apart, and chains of them, are one cluster; peaks of two clusters are not compared.
//   points (n, 2): y, x in pixels; order (n) int64: peaks from the best to the worst; kept (n): 1 or 0
// Source: docs/programs/autopick.md#peaks
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void thin_peaks(Cpu, View<const double, 2> points, View<const std::int64_t, 1> order, double link, double distance,
                View<std::uint8_t, 1> kept);
}  // namespace vitreous
