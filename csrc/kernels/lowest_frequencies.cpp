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
// to_a, to_b: where the rows of each lane go; -1 = nowhere.
void split(const LaneComplex *z, idx n, idx columns, const idx *to_a, const idx *to_b, Half &half) {
  Lanes ar[kLanes], ai[kLanes], br[kLanes], bi[kLanes];
  for (idx k0 = 0; k0 < columns; k0 += kLanes) {
    for (idx i = 0; i < kLanes; ++i) {
      const idx k = std::min(k0 + i, columns - 1);
      const LaneComplex &p = z[k], &m = z[k ? n - k : 0];
      ar[i] = 0.5f * (p.re + m.re), ai[i] = 0.5f * (p.im - m.im);
      br[i] = 0.5f * (p.im + m.im), bi[i] = 0.5f * (m.re - p.re);
    }
    transpose(ar), transpose(ai), transpose(br), transpose(bi);
    for (idx l = 0; l < kLanes; ++l) {
      if (to_a[l] >= 0) store(&half.re[size_t(to_a[l] + k0)], ar[l]), store(&half.im[size_t(to_a[l] + k0)], ai[l]);
      if (to_b[l] >= 0) store(&half.re[size_t(to_b[l] + k0)], br[l]), store(&half.im[size_t(to_b[l] + k0)], bi[l]);
    }
  }
}

// Line t holds the rows 2t and 2t + 1 of the image, or its row t and the squares of it.
void transform_rows(const Square &square, idx planes, idx columns, const LaneFft &fft, Half &half) {
  const idx n = square.n, lines = planes == 2 ? n : (n + 1) / 2, padded = (n + kLanes - 1) / kLanes * kLanes;
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(padded)), spare(x.size());
    std::vector<float> rows(size_t(2 * kLanes * padded));
#pragma omp for schedule(dynamic)
    for (idx t0 = 0; t0 < lines; t0 += kLanes) {
      idx to_a[kLanes], to_b[kLanes];
      for (idx l = 0; l < kLanes; ++l) {
        const idx y = planes == 2 ? t0 + l : 2 * (t0 + l);
        float *a = &rows[size_t(l * padded)], *b = &rows[size_t((kLanes + l) * padded)];
        to_a[l] = y < n ? half.at(0, y) : -1;
        to_b[l] = y >= n ? -1 : planes == 2 ? half.at(1, y) : y + 1 < n ? half.at(0, y + 1) : -1;
        if (to_a[l] >= 0) square.row(y, a);
        if (planes == 2) std::transform(a, a + n, b, [](float v) { return v * v; });
        else if (to_b[l] >= 0) square.row(y + 1, b);
        else std::fill(b, b + n, 0.f);
      }
      Lanes re[kLanes], im[kLanes];
      for (idx k0 = 0; k0 < padded; k0 += kLanes) {
        for (idx l = 0; l < kLanes; ++l)
          re[l] = load(&rows[size_t(l * padded + k0)]), im[l] = load(&rows[size_t((kLanes + l) * padded + k0)]);
        transpose(re), transpose(im);
        for (idx i = 0; i < kLanes; ++i) x[size_t(k0 + i)] = {re[i], im[i]};
      }
      split(fft.run(x.data(), spare.data()), n, columns, to_a, to_b, half);
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
      const idx plane = g / groups, first = g % groups * kLanes, lanes = std::min(idx(kLanes), columns - first);
      for (idx y = 0; y < n; ++y) {
        const size_t at = size_t(half.at(plane, y) + first);
        x[size_t(y)] = {load(&half.re[at]), load(&half.im[at])};
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
