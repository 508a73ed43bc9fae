// Complex Fourier transforms of any length, as many sequences at a time as a vector has lanes.
//   y_k = sum_j x_j exp(sign 2 pi i j k / n), not normalised.
// A length is split into its factors 4, 2, 3, 5 and larger primes p; with M = n / p and x_{i + M j}, i < M, j < p,
//   y_{p m + q} = sum_i [ w_n^{i q} sum_j x_{i + M j} w_p^{j q} ] w_M^{i m},    w_n = exp(sign 2 pi i / n):
// one pass over the data for each factor, from one buffer into the other, whose order comes out right at the end
// (Stockham's sorting passes). A factor p costs O(n p), so a length with a prime of some hundreds is slow.
#pragma once
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;  // wider vectors would live in memory
#endif
typedef float Lanes __attribute__((vector_size(4 * kLanes)));

// The first `count` numbers at `from`; the other lanes are 0.
inline Lanes load(const float *from, idx count = kLanes) {
  Lanes v{};
  std::memcpy(&v, from, sizeof(float) * size_t(count < kLanes ? count : kLanes));
  return v;
}
inline void store(float *to, Lanes v, idx count = kLanes) {
  std::memcpy(to, &v, sizeof(float) * size_t(count < kLanes ? count : kLanes));
}

// Lanes of a (from 0) and of b (from kLanes). Clang has the first builtin, GCC from 12 on both, before that the second.
template <int... I> inline Lanes picked(Lanes a, Lanes b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, I...);
#else
  typedef int Indices __attribute__((vector_size(4 * kLanes)));
  return __builtin_shuffle(a, b, Indices{I...});
#endif
}
// Lane l of a and b's lane l ^ S: where bit S of l is set b's, otherwise a's; and the other way round.
template <int S, int... L> inline void exchange(Lanes &a, Lanes &b, std::integer_sequence<int, L...>) {
  const Lanes low = picked<(L & S ? kLanes + (L ^ S) : L)...>(a, b);
  b = picked<(L & S ? kLanes + L : L ^ S)...>(a, b);
  a = low;
}
template <int S> inline void exchange_rows(Lanes *v) {
  for (int i = 0; i < kLanes; ++i)
    if (!(i & S)) exchange<S>(v[i], v[i | S], std::make_integer_sequence<int, kLanes>());
  if constexpr (2 * S < kLanes) exchange_rows<2 * S>(v);
}
// v[i][l] becomes v[l][i].
inline void transpose(Lanes v[kLanes]) { exchange_rows<1>(v); }

struct LaneComplex {
  Lanes re, im;
};
inline LaneComplex operator+(LaneComplex a, LaneComplex b) { return {a.re + b.re, a.im + b.im}; }
inline LaneComplex operator-(LaneComplex a, LaneComplex b) { return {a.re - b.re, a.im - b.im}; }
inline LaneComplex operator*(float s, LaneComplex a) { return {s * a.re, s * a.im}; }
inline LaneComplex operator*(c64 w, LaneComplex a) { return {w.re * a.re - w.im * a.im, w.re * a.im + w.im * a.re}; }
inline LaneComplex times_i(float sign, LaneComplex a) { return {-sign * a.im, sign * a.re}; }

class LaneFft {
 public:
  LaneFft(idx n, int sign) : n_(n), sign_(float(sign)) {
    for (idx left = n, l1 = 1; left > 1;) {
      const idx p = left % 4 == 0 ? 4 : least_factor(left), m = left / p;
      Pass pass{p, l1, m, {}, {}};
      for (idx i = 0; i < m; ++i)
        for (idx q = 1; q < p; ++q) pass.turn.push_back(wave(i * q * l1));
      for (idx j = 0; p > 5 && j < p; ++j) pass.root.push_back(wave(j * (n / p)));
      passes_.push_back(std::move(pass));
      left = m, l1 *= p;
    }
  }
  idx size() const { return n_; }

  // Transforms n values of `x`, with `spare` of the same size; returns which of the two holds the result.
  LaneComplex *run(LaneComplex *x, LaneComplex *spare) const {
    for (const Pass &pass : passes_) {
      apply(pass, x, spare);
      std::swap(x, spare);
    }
    return x;
  }

 private:
  struct Pass {
    idx p, l1, m;
    std::vector<c64> turn, root;  // w_n^{i q l1} at [i (p - 1) + q - 1], and w_p^j
  };

  static idx least_factor(idx n) {
    for (idx f = 2; f * f <= n; ++f)
      if (n % f == 0) return f;
    return n;
  }
  c64 wave(idx k) const {
    const double angle = 2 * M_PI * double(k % n_) / double(n_);
    return {float(std::cos(angle)), sign_ * float(std::sin(angle))};
  }

  void apply(const Pass &pass, const LaneComplex *x, LaneComplex *y) const {
    switch (pass.p) {
      case 2: return pass2(pass, x, y);
      case 3: return pass3(pass, x, y);
      case 4: return pass4(pass, x, y);
      case 5: return pass5(pass, x, y);
      default: return pass_any(pass, x, y);
    }
  }

  void pass2(const Pass &t, const LaneComplex *x, LaneComplex *y) const {
    for (idx k = 0; k < t.l1; ++k)
      for (idx i = 0; i < t.m; ++i) {
        const LaneComplex *a = x + 2 * t.m * k + i;
        LaneComplex *b = y + t.m * k + i;
        const LaneComplex a0 = a[0], a1 = a[t.m];
        b[0] = a0 + a1;
        b[t.m * t.l1] = t.turn[size_t(i)] * (a0 - a1);
      }
  }

  void pass3(const Pass &t, const LaneComplex *x, LaneComplex *y) const {
    const float s = sign_ * float(std::sqrt(0.75));
    const idx step = t.m * t.l1;
    for (idx k = 0; k < t.l1; ++k)
      for (idx i = 0; i < t.m; ++i) {
        const LaneComplex *a = x + 3 * t.m * k + i;
        LaneComplex *b = y + t.m * k + i;
        const c64 *w = &t.turn[size_t(2 * i)];
        const LaneComplex a0 = a[0], sum = a[t.m] + a[2 * t.m], turned = times_i(s, a[t.m] - a[2 * t.m]);
        const LaneComplex middle = a0 - 0.5f * sum;
        b[0] = a0 + sum;
        b[step] = w[0] * (middle + turned);
        b[2 * step] = w[1] * (middle - turned);
      }
  }

  void pass4(const Pass &t, const LaneComplex *x, LaneComplex *y) const {
    const idx step = t.m * t.l1;
    for (idx k = 0; k < t.l1; ++k)
      for (idx i = 0; i < t.m; ++i) {
        const LaneComplex *a = x + 4 * t.m * k + i;
        LaneComplex *b = y + t.m * k + i;
        const c64 *w = &t.turn[size_t(3 * i)];
        const LaneComplex a0 = a[0], a1 = a[t.m], a2 = a[2 * t.m], a3 = a[3 * t.m];
        const LaneComplex even = a0 + a2, odd = a1 + a3, left = a0 - a2, right = times_i(sign_, a1 - a3);
        b[0] = even + odd;
        b[step] = w[0] * (left + right);
        b[2 * step] = w[1] * (even - odd);
        b[3 * step] = w[2] * (left - right);
      }
  }

  void pass5(const Pass &t, const LaneComplex *x, LaneComplex *y) const {
    const float c1 = float(std::cos(0.4 * M_PI)), c2 = float(std::cos(0.8 * M_PI));
    const float s1 = sign_ * float(std::sin(0.4 * M_PI)), s2 = sign_ * float(std::sin(0.8 * M_PI));
    const idx step = t.m * t.l1;
    for (idx k = 0; k < t.l1; ++k)
      for (idx i = 0; i < t.m; ++i) {
        const LaneComplex *a = x + 5 * t.m * k + i;
        LaneComplex *b = y + t.m * k + i;
        const c64 *w = &t.turn[size_t(4 * i)];
        const LaneComplex a0 = a[0], p14 = a[t.m] + a[4 * t.m], m14 = a[t.m] - a[4 * t.m];
        const LaneComplex p23 = a[2 * t.m] + a[3 * t.m], m23 = a[2 * t.m] - a[3 * t.m];
        const LaneComplex e1 = a0 + c1 * p14 + c2 * p23, e2 = a0 + c2 * p14 + c1 * p23;
        const LaneComplex o1 = times_i(1, s1 * m14 + s2 * m23), o2 = times_i(1, s2 * m14 - s1 * m23);
        b[0] = a0 + p14 + p23;
        b[step] = w[0] * (e1 + o1);
        b[2 * step] = w[1] * (e2 + o2);
        b[3 * step] = w[2] * (e2 - o2);
        b[4 * step] = w[3] * (e1 - o1);
      }
  }

  // An odd prime: the terms j and p - j share their cosine, and their sines differ in sign.
  void pass_any(const Pass &t, const LaneComplex *x, LaneComplex *y) const {
    const idx p = t.p, half = p / 2, step = t.m * t.l1;
    std::vector<LaneComplex> sum(size_t(half + 1)), difference(size_t(half + 1));
    for (idx k = 0; k < t.l1; ++k)
      for (idx i = 0; i < t.m; ++i) {
        const LaneComplex *a = x + p * t.m * k + i;
        LaneComplex *b = y + t.m * k + i;
        LaneComplex all = a[0];
        for (idx j = 1; j <= half; ++j) {
          sum[size_t(j)] = a[j * t.m] + a[(p - j) * t.m];
          difference[size_t(j)] = a[j * t.m] - a[(p - j) * t.m];
          all = all + sum[size_t(j)];
        }
        b[0] = all;
        for (idx q = 1; q <= half; ++q) {
          LaneComplex even = a[0], odd{};
          for (idx j = 1, r = q; j <= half; ++j, r = r + q < p ? r + q : r + q - p) {
            const c64 w = t.root[size_t(r)];
            even = even + w.re * sum[size_t(j)];
            odd = odd + w.im * difference[size_t(j)];
          }
          odd = times_i(1, odd);
          b[q * step] = t.turn[size_t(i * (p - 1) + q - 1)] * (even + odd);
          b[(p - q) * step] = t.turn[size_t(i * (p - 1) + p - q - 1)] * (even - odd);
        }
      }
  }

  idx n_;
  float sign_;
  std::vector<Pass> passes_;
};

}  // namespace vitreous
