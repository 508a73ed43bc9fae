// Which samples of a posterior are significant: the largest weights that together hold a fraction of the mass.
// Source: docs/equations.md#significant
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "vitreous/base.hpp"
#include "vitreous/math/vecmath.hpp"

namespace vitreous {

// weight[i] = exp(log_w[i] - max); returns their sum.
inline double relative_weights(const float *log_w, idx n, float max, float *weight) {
  for (idx i = 0; i < n; ++i) weight[i] = exp_float(log_w[i] - max);
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (idx i = 0; i < n; ++i) total += weight[i];
  return total;
}

// The smallest log-weight that is still significant: sorted downwards, weights are added until they exceed fraction of
// the total, and every weight at least as large as the last one counts. At most max_count (<= 0: no limit) are kept.
// fraction 0 keeps the largest alone. Work: two passes over the values and a sort of one bin, not of all.
//   weight: relative_weights of log_w, whose sum is total
inline float significant_threshold(const float *log_w, const float *weight, double total, idx n, float max, double fraction,
                                   idx max_count) {
  constexpr int kBins = 512;
  constexpr float kRange = 32;  // e^-32 of the largest weight cannot matter at a fraction below 1 - n e^-32
  constexpr float kPerBin = kBins / kRange;
  if (fraction <= 0) return max;
  const auto bin_of = [&](float v) {  // what lies too far below for an int, -inf and NaN too, is in the last bin
    const float bin = (max - v) * kPerBin;
    return bin < kBins ? std::int16_t(bin) : std::int16_t(kBins - 1);
  };
  std::vector<std::int16_t> bin(n);
  for (idx i = 0; i < n; ++i) bin[i] = bin_of(log_w[i]);
  double mass[2][kBins] = {{0}};  // two tables: neighbours often share a bin, and would wait for each other's sum
  std::int32_t count[2][kBins] = {{0}};
  for (idx i = 0; i < n; ++i) {
    mass[i & 1][bin[i]] += weight[i];
    ++count[i & 1][bin[i]];
  }
  const double goal = fraction * total;
  const idx most = max_count > 0 ? max_count : n;
  double sum = 0;
  idx kept = 0;
  for (int b = 0; b < kBins; ++b) {
    const double bin_mass = mass[0][b] + mass[1][b];
    const idx bin_count = count[0][b] + count[1][b];
    if (sum + bin_mass <= goal && kept + bin_count < most) {
      sum += bin_mass;
      kept += bin_count;
      continue;
    }
    std::vector<float> in_bin;
    in_bin.reserve(bin_count);
    for (idx i = 0; i < n; ++i)
      if (bin[i] == b) in_bin.push_back(log_w[i]);
    std::sort(in_bin.begin(), in_bin.end(), [](float x, float y) { return x > y; });
    for (float v : in_bin) {
      sum += exp_float(v - max);
      if (sum > goal || ++kept >= most) return v;
    }
  }
  return -INFINITY;
}

}  // namespace vitreous
