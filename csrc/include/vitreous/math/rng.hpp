// Random numbers as a function of (seed, id, position): no state, so threads, ranks and batches cannot change them.
// Philox4x32-10 (Salmon et al. 2011). Source: docs/equations.md#noise
#pragma once
#include <cmath>
#include <cstdint>

#include "vitreous/base.hpp"
#include "vitreous/math/vecmath.hpp"

namespace vitreous {

struct Words4 {
  std::uint32_t w[4];
};

// What the numbers are for: two uses of one seed and id must not see the same numbers.
enum RandomUse : std::uint32_t { kUseNoise = 1 };

VT_HD inline Words4 philox4x32(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                               std::uint64_t seed) {
  std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * c0, b = std::uint64_t(0xCD9E8D57u) * c2;
    c0 = std::uint32_t(b >> 32) ^ c1 ^ k0;
    c2 = std::uint32_t(a >> 32) ^ c3 ^ k1;
    c1 = std::uint32_t(b);
    c3 = std::uint32_t(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Two independent standard normal numbers from two random words (Box-Muller); at most 5.8 in size, as the radius takes
// 24 bits.
VT_HD inline c64 normal_pair(std::uint32_t a, std::uint32_t b) {
  const float u = (float(std::int32_t(a >> 8)) + 1.0f) * 5.9604645e-8f;  // (0, 1]
  const float turns = float(std::int32_t(b >> 8)) * 5.9604645e-8f - 0.5f;
  const float radius = sqrtf(-2.0f * log_float(u));
  return {radius * cos_half(turns), radius * sin_half(turns)};
}

}  // namespace vitreous
