// Small blocks of float dot products, the fine pass's inner loop: each value that is loaded is used several times.
#pragma once
#include <cstring>

#include "vitreous/base.hpp"

namespace vitreous {

// One register, so that the sums of a 2 x 4 block, and what they are made from, stay in registers.
#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
using lanes = float __attribute__((vector_size(4 * kLanes)));
using lanes4 = float __attribute__((vector_size(16)));

inline lanes load_lanes(const float *p) {
  lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float sum_lanes(const lanes &v) {
  lanes4 part[kLanes / 4];
  std::memcpy(part, &v, sizeof v);
  for (int j = 1; j < kLanes / 4; ++j) part[0] += part[j];
  return (part[0][0] + part[0][1]) + (part[0][2] + part[0][3]);
}

// sum[a][b] += x[a] . y[b] over the whole registers in n; returns the first index that is left
template <int NA, int NB> inline idx add_dots(const float *const *x, const float *const *y, idx offset, idx n, lanes (*sum)[NB]) {
  idx k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    lanes u[NA], v[NB];
    for (int a = 0; a < NA; ++a) u[a] = load_lanes(x[a] + offset + k);
    for (int b = 0; b < NB; ++b) v[b] = load_lanes(y[b] + offset + k);
    for (int a = 0; a < NA; ++a)
      for (int b = 0; b < NB; ++b) sum[a][b] += u[a] * v[b];
  }
  return k;
}

// out[a * ld + b] = sum_k re x[a] re y[b] + sign[a] im x[a] im y[b]; the imaginary planes follow the real ones after n values
template <int NA, int NB>
inline void dot_block(const float *const *x, const float *const *y, const float *sign, idx n, float *out, idx ld) {
  lanes re[NA][NB] = {}, im[NA][NB] = {};
  const idx rest = add_dots<NA, NB>(x, y, 0, n, re);
  add_dots<NA, NB>(x, y, n, n, im);
  for (int a = 0; a < NA; ++a)
    for (int b = 0; b < NB; ++b) {
      float sum = sum_lanes(re[a][b] + sign[a] * im[a][b]);
      for (idx k = rest; k < n; ++k) sum += x[a][k] * y[b][k] + sign[a] * x[a][n + k] * y[b][n + k];
      out[a * ld + b] = sum;
    }
}

}  // namespace vitreous
