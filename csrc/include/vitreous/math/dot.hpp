// Small blocks of float dot products, the fine pass's inner loop: each value that is loaded is used several times.
#pragma once
#include <cstring>

#include "vitreous/base.hpp"

namespace vitreous {

using float16v = float __attribute__((vector_size(64)));  // two registers where the CPU has 256-bit ones

inline float16v load16(const float *p) {
  float16v v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float sum16(float16v v) {
  float s = 0;
  for (int j = 0; j < 16; ++j) s += v[j];
  return s;
}

// out[a][b] = sum_k x[a][k] y[b][k]
template <int NA, int NB> inline void dot_block(const float *const *x, const float *const *y, idx n, float (*out)[NB]) {
  float16v sum[NA][NB] = {};
  idx k = 0;
  for (; k + 16 <= n; k += 16) {
    float16v u[NA], v[NB];
    for (int a = 0; a < NA; ++a) u[a] = load16(x[a] + k);
    for (int b = 0; b < NB; ++b) v[b] = load16(y[b] + k);
    for (int a = 0; a < NA; ++a)
      for (int b = 0; b < NB; ++b) sum[a][b] += u[a] * v[b];
  }
  for (int a = 0; a < NA; ++a)
    for (int b = 0; b < NB; ++b) {
      float rest = 0;
      for (idx j = k; j < n; ++j) rest += x[a][j] * y[b][j];
      out[a][b] = sum16(sum[a][b]) + rest;
    }
}

}  // namespace vitreous
