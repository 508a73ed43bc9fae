#include "vitreous/kernels/extract_normalise.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "vitreous/math/rng.hpp"

namespace vitreous {
namespace {

constexpr double kNoSpread = 1e-10;
constexpr std::uint32_t kUseDust = 2;  // not kUseNoise: other numbers for the same seed and id

// Sums over the background by rows, in centred coordinates.
struct Sums {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0, v = 0, xv = 0, yv = 0;
};

// The image is read relative to `base`, so that a large constant costs no digits.
Sums background_sums(const float* v, const std::uint8_t* bg, idx b, float base) {
  Sums s;
  for (idx iy = 0; iy < b; ++iy) {
    const double y = double(iy - b / 2);
    double n = 0, x1 = 0, x2 = 0, value = 0, x_value = 0;
#pragma omp simd reduction(+ : n, x1, x2, value, x_value)
    for (idx ix = 0; ix < b; ++ix) {
      const double w = bg[iy * b + ix] ? 1.0 : 0.0, x = double(ix - b / 2);
      const double d = w * (double(v[iy * b + ix]) - double(base));
      n += w, x1 += w * x, x2 += w * x * x, value += d, x_value += x * d;
    }
    s.n += n, s.x += x1, s.y += n * y, s.xx += x2, s.xy += y * x1, s.yy += n * y * y;
    s.v += value, s.xv += x_value, s.yv += y * value;
  }
  return s;
}

struct Plane {
  double a, b, c;
};

Plane fit(const Sums& s, bool ramp) {
  const double mx = s.x / s.n, my = s.y / s.n, mv = s.v / s.n;
  const double xx = s.xx - s.n * mx * mx, xy = s.xy - s.n * mx * my, yy = s.yy - s.n * my * my;
  const double xv = s.xv - s.n * mx * mv, yv = s.yv - s.n * my * mv, det = xx * yy - xy * xy;
  if (!ramp || !(det > 0)) return {0, 0, mv};
  const double a = (xv * yy - yv * xy) / det, b = (yv * xx - xv * xy) / det;
  return {a, b, mv - a * mx - b * my};
}

// Mean of squares over the background of what is left of the plane.
double residual_square(const float* v, const std::uint8_t* bg, idx b, float base, const Plane& p, double n) {
  double total = 0;
  for (idx iy = 0; iy < b; ++iy) {
    const double row = p.c + p.b * double(iy - b / 2) + double(base);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (idx ix = 0; ix < b; ++ix) {
      const double d = double(v[iy * b + ix]) - (row + p.a * double(ix - b / 2));
      sum += bg[iy * b + ix] ? d * d : 0.0;
    }
    total += sum;
  }
  return total / n;
}

double replace_dust(float* v, idx b, double mean, double spread, float white, float black, std::uint64_t seed,
                    std::uint64_t id) {
  const double high = white > 0 ? mean + white * spread : std::numeric_limits<double>::infinity();
  const double low = black > 0 ? mean - black * spread : -std::numeric_limits<double>::infinity();
  double n = 0;
  for (idx k = 0; k < b * b; ++k) {
    if (!(v[k] > high || v[k] < low)) continue;
    const Words4 w = philox4x32(std::uint32_t(k), std::uint32_t(id), std::uint32_t(id >> 32), kUseDust, seed);
    v[k] = float(mean + spread * double(normal_pair(w.w[0], w.w[1]).re));
    n += 1;
  }
  return n;
}

void flatten(float* v, idx b, float base, const Plane& p, double factor) {
  for (idx iy = 0; iy < b; ++iy) {
    const double row = p.c + p.b * double(iy - b / 2) + double(base);
#pragma omp simd
    for (idx ix = 0; ix < b; ++ix) {
      const double d = double(v[iy * b + ix]) - (row + p.a * double(ix - b / 2));
      v[iy * b + ix] = float(factor * d);
    }
  }
}

void count(const float* v, idx n_px, double* out) {
  float low = v[0], high = v[0];
  double sum = 0, square = 0;
#pragma omp simd reduction(+ : sum, square) reduction(min : low) reduction(max : high)
  for (idx k = 0; k < n_px; ++k) {
    const double d = double(v[k]);
    low = v[k] < low ? v[k] : low, high = v[k] > high ? v[k] : high;
    sum += d, square += d * d;
  }
  out[0] = low, out[1] = high, out[2] = sum, out[3] = square;
}

}  // namespace

void extract_normalise(Cpu, View<float, 3> images, View<const std::uint8_t, 3> background, bool normalise, bool ramp,
                       float white, float black, float sign, std::uint64_t seed, View<const std::uint64_t, 1> id,
                       View<double, 2> stats) {
  const idx b = images.shape[2], n_px = b * b;
#pragma omp parallel for schedule(static)
  for (idx i = 0; i < images.shape[0]; ++i) {
    float* v = images.row(i);
    const std::uint8_t* bg = background.row(background.shape[0] > 1 ? i : 0);
    double* out = stats.row(i);
    std::fill(out, out + kNormaliseStats, 0.0);
    const float base = v[0];
    Sums sums = background_sums(v, bg, b, base);
    const Plane level = fit(sums, false);
    const double raw = std::sqrt(residual_square(v, bg, b, base, level, sums.n));
    out[0] = level.c + double(base), out[1] = raw;
    double factor = sign;
    Plane plane{0, 0, -double(base)};
    if (normalise) {
      if (white > 0 || black > 0) {
        out[4] = replace_dust(v, b, out[0], raw, white, black, seed, id[i]);
        if (out[4] > 0) sums = background_sums(v, bg, b, base);
      }
      const Plane found = fit(sums, ramp);
      const double spread = std::sqrt(residual_square(v, bg, b, base, found, sums.n));
      out[1] = spread, out[2] = found.a, out[3] = found.b;
      if (spread < kNoSpread) out[1] = 0;
      else plane = found, factor = sign / spread;
    }
    if (factor != 1.0) flatten(v, b, base, plane, factor);
    count(v, n_px, out + 5);
  }
}

}  // namespace vitreous
