// Sine, cosine, exponential and logarithm without a library call, so that loops over them vectorise on every compiler.
// Angles are in turns (1 = 2 pi): a phase is reduced exactly by subtracting the nearest integer.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "vitreous/base.hpp"

namespace vitreous {

// sin(2 pi t) for |t| <= 1/4. Minimax odd polynomial, relative error 6e-9 (fitted in double); float rounding adds 1e-7.
VT_HD inline float sin_quarter(float t) {
  const float s = t * t;
  return t * (6.28318527f + s * (-41.3416775f + s * (81.6022315f + s * (-76.5749965f + s * 39.7109479f))));
}

// sin(2 pi t) and cos(2 pi t) for |t| <= 1/2, absolute error 2e-7.
VT_HD inline float sin_half(float t) {
  const float near = fabsf(t);  // sin(pi - x) = sin(x) folds the second quarter onto the first
  return copysignf(1.0f, t) * sin_quarter(near > 0.25f ? 0.5f - near : near);
}
VT_HD inline float cos_half(float t) { return sin_quarter(0.25f - fabsf(t)); }

// exp(x) in float, relative error 1e-7 * (1 + |x|); 0 below -87.3, saturates at 1.7e38.
VT_HD inline float exp_float(float x) {
  const float y = x * 1.44269504f;
  const float clamped = y < -126.0f ? -126.0f : (y > 127.0f ? 127.0f : y);  // a NaN passes both comparisons
  const float whole = rintf(clamped), f = clamped - whole;
  // 2^f for |f| <= 1/2: minimax polynomial, relative error 2e-9
  const float high = 0.00961848896f + f * (0.00133999312f + f * 0.000153458119f);
  const float p = 1.0f + f * (0.693147206f + f * (0.240226469f + f * (0.0555032878f + f * high)));
  const std::int32_t bits = (std::int32_t(whole == whole ? whole : 0.0f) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return y < -126.0f ? 0.0f : p * power;
}

// ln(x) for a normal x > 0, error 3e-7 times the larger of 1 and |ln(x)|: ln(m 2^e) = e ln 2 + 2 atanh(r),
// r = (m - 1) / (m + 1), sqrt(1/2) < m <= sqrt(2).
VT_HD inline float log_float(float x) {
  std::int32_t bits;
  std::memcpy(&bits, &x, 4);
  const std::int32_t offset = bits - 0x3f3504f3;  // bits of sqrt(1/2)
  const std::int32_t e = offset >> 23;
  bits -= e * (1 << 23);  // a shift of a negative number is undefined in C++17
  float m;
  std::memcpy(&m, &bits, 4);
  const float r = (m - 1.0f) / (m + 1.0f), s = r * r;
  return float(e) * 0.693147181f +
         2.0f * r * (1.0f + s * (1.0f / 3 + s * (1.0f / 5 + s * (1.0f / 7 + s * (1.0f / 9)))));
}

}  // namespace vitreous
