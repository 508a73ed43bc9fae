// Types that every kernel shares: index, complex number, array view, device tag.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define VT_HD __host__ __device__
#else
#define VT_HD
#endif

namespace vitreous {

using idx = std::int64_t;

struct c64 {  // one Fourier coefficient; same bytes as numpy complex64
  float re, im;
};
VT_HD inline c64 operator*(c64 a, c64 b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
VT_HD inline c64 operator*(float s, c64 a) { return {s * a.re, s * a.im}; }
VT_HD inline c64 operator+(c64 a, c64 b) { return {a.re + b.re, a.im + b.im}; }
VT_HD inline c64 conj(c64 a) { return {a.re, -a.im}; }

// A C-contiguous array of N axes that somebody else owns.
template <class T, int N> struct View {
  T *data;
  idx shape[N];
  VT_HD idx size() const {
    idx n = 1;
    for (int a = 0; a < N; ++a) n *= shape[a];
    return n;
  }
  VT_HD idx stride(int axis) const {  // in elements
    idx n = 1;
    for (int a = axis + 1; a < N; ++a) n *= shape[a];
    return n;
  }
  VT_HD T *row(idx i) const { return data + i * stride(0); }
  VT_HD T *row(idx i, idx j) const { return data + i * stride(0) + j * stride(1); }
  VT_HD T &operator[](idx i) const { return data[i]; }
};

struct Cpu {};
struct Cuda {
  void *stream;
};

}  // namespace vitreous
