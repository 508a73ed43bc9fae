#include "vitreous/kernels/lowest_frequencies.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/lane_fft.hpp"

namespace vitreous {
namespace {

struct Square {  // the image and what is around it
  View<const float, 2> image;
  View<const float, 1> around;
  idx y0, x0, n;
  float mean, factor, limit;

  void row(idx y, float *to) const {
    const idx ny = image.shape[0], nx = image.shape[1], inside = std::clamp(y - y0, idx(0), ny);
    const float *noise = around.data + y * n - inside * nx;
    if (y < y0 || y >= y0 + ny) {
      std::copy(noise, noise + n, to);
      return;
    }
    std::copy(noise, noise + x0, to);
    std::copy(noise + x0, noise + n - nx, to + x0 + nx);
    const float *from = image.row(y - y0);
    for (idx x = 0; x < nx; ++x) {
      const float v = (from[x] - mean) * factor;
      to[x0 + x] = std::fabs(v) > limit ? 0.f : v;
    }
  }
};

// Rows of one plane, transformed: real and imaginary parts apart, (plane, n, width) each.
struct Half {
  idx n, width;
  std::vector<float> re, im;
  Half(idx planes, idx n_rows, idx n_columns)
      : n(n_rows), width((n_columns + kLanes - 1) / kLanes * kLanes), re(size_t(planes * n * width)), im(re.size()) {}
  idx at(idx plane, idx y) const { return (plane * n + y) * width; }
};

// Two real sequences a + i b were transformed as one, z: their transforms are (z_k +- conj z_{n-k}) / 2, / 2i for b.
void split(const LaneComplex *z, idx n, idx columns, const idx *to_a, const idx *to_b, idx lanes, Half &half) {
  for (idx k = 0; k < columns; ++k) {
    const LaneComplex &p = z[k], &m = z[k ? n - k : 0];
    const LaneComplex a{0.5f * (p.re + m.re), 0.5f * (p.im - m.im)}, b{0.5f * (p.im + m.im), 0.5f * (m.re - p.re)};
    for (idx l = 0; l < lanes; ++l) {
      half.re[size_t(to_a[l] + k)] = a.re[l], half.im[size_t(to_a[l] + k)] = a.im[l];
      if (to_b[l] >= 0) half.re[size_t(to_b[l] + k)] = b.re[l], half.im[size_t(to_b[l] + k)] = b.im[l];
    }
  }
}

// Line t holds the rows 2t and 2t + 1 of the image, or its row t and the squares of it.
void transform_rows(const Square &square, idx planes, idx columns, const LaneFft &fft, Half &half) {
  const idx n = square.n, lines = planes == 2 ? n : (n + 1) / 2;
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(n)), spare(x.size());
    std::vector<float> rows(size_t(2 * kLanes * n));
#pragma omp for schedule(dynamic)
    for (idx t0 = 0; t0 < lines; t0 += kLanes) {
      const idx lanes = std::min(kLanes, lines - t0);
      idx to_a[kLanes], to_b[kLanes];
      std::fill(rows.begin(), rows.end(), 0.f);
      for (idx l = 0; l < lanes; ++l) {
        const idx y = planes == 2 ? t0 + l : 2 * (t0 + l);
        float *a = &rows[size_t(l * n)], *b = &rows[size_t((kLanes + l) * n)];
        to_a[l] = half.at(0, y), to_b[l] = planes == 2 ? half.at(1, y) : y + 1 < n ? half.at(0, y + 1) : -1;
        square.row(y, a);
        if (planes == 2) std::transform(a, a + n, b, [](float v) { return v * v; });
        else if (y + 1 < n) square.row(y + 1, b);
      }
      for (idx k0 = 0; k0 < n; k0 += kLanes)  // a block at a time stays in the cache
        for (idx l = 0; l < kLanes; ++l)
          for (idx k = k0; k < std::min(k0 + kLanes, n); ++k) {
            x[size_t(k)].re[l] = rows[size_t(l * n + k)];
            x[size_t(k)].im[l] = rows[size_t((kLanes + l) * n + k)];
          }
      split(fft.run(x.data(), spare.data()), n, columns, to_a, to_b, lanes, half);
    }
  }
}

void transform_columns(const Half &half, const LaneFft &fft, View<c64, 3> out) {
  const idx n = fft.size(), side = out.shape[1], columns = out.shape[2], groups = half.width / kLanes;
  const float scale = float(1.0 / (double(n) * double(n)));
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(n)), spare(x.size());
#pragma omp for schedule(dynamic)
    for (idx g = 0; g < groups * out.shape[0]; ++g) {
      const idx plane = g / groups, first = g % groups * kLanes, lanes = std::min(kLanes, columns - first);
      for (idx y = 0; y < n; ++y)
        for (idx l = 0; l < kLanes; ++l) {
          x[size_t(y)].re[l] = half.re[size_t(half.at(plane, y) + first + l)];
          x[size_t(y)].im[l] = half.im[size_t(half.at(plane, y) + first + l)];
        }
      const LaneComplex *z = fft.run(x.data(), spare.data());
      for (idx r = 0; r < side; ++r) {
        const LaneComplex &v = z[r <= side / 2 ? r : n - side + r];
        c64 *to = out.row(plane, r) + first;
        for (idx l = 0; l < lanes; ++l) to[l] = {scale * v.re[l], scale * v.im[l]};
      }
    }
  }
}

}  // namespace

void lowest_frequencies(Cpu, View<const float, 2> image, View<const float, 1> around, idx y0, idx x0, idx n_full, float mean,
                        float factor, float limit, View<c64, 3> out) {
  const LaneFft fft(n_full, -1);
  Half half(out.shape[0], n_full, out.shape[2]);
  transform_rows({image, around, y0, x0, n_full, mean, factor, limit}, out.shape[0], out.shape[2], fft, half);
  transform_columns(half, fft, out);
}

}  // namespace vitreous
