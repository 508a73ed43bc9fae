// Which samples of a posterior are significant: the largest weights that together hold a fraction of the mass.
// Source: docs/equations.md#significant
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {

// The smallest log-weight that is still significant: sorted downwards, weights are added until they exceed fraction of
// the total, and every weight at least as large as the last one counts. At most max_count (<= 0: no limit) are kept.
// fraction 0 keeps the largest alone. Work: one pass over the values and a sort of one bin, not of all.
inline float significant_threshold(const float *log_w, idx n, float max, double fraction, idx max_count) {
  constexpr int kBins = 512;
  constexpr float kRange = 32;  // e^-32 of the largest weight cannot matter at a fraction below 1 - n e^-32
  constexpr float kPerBin = kBins / kRange;
  if (fraction <= 0) return max;
  double mass[kBins] = {0}, total = 0;
  idx count[kBins] = {0};
  const auto bin_of = [&](float v) { return std::min(kBins - 1, int((max - v) * kPerBin)); };
  for (idx i = 0; i < n; ++i) {
    const int b = bin_of(log_w[i]);
    const double w = std::exp(double(log_w[i] - max));
    mass[b] += w;
    total += w;
    ++count[b];
  }
  const double goal = fraction * total;
  const idx most = max_count > 0 ? max_count : n;
  double sum = 0;
  idx kept = 0;
  for (int b = 0; b < kBins; ++b) {
    if (sum + mass[b] <= goal && kept + count[b] < most) {
      sum += mass[b];
      kept += count[b];
      continue;
    }
    std::vector<float> in_bin;
    in_bin.reserve(count[b]);
    for (idx i = 0; i < n; ++i)
      if (bin_of(log_w[i]) == b) in_bin.push_back(log_w[i]);
    std::sort(in_bin.begin(), in_bin.end(), [](float x, float y) { return x > y; });
    for (float v : in_bin) {
      sum += std::exp(double(v - max));
      if (sum > goal || ++kept >= most) return v;
    }
  }
  return -INFINITY;
}

}  // namespace vitreous
