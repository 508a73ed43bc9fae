#include "vitreous/kernels/gather_band.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "vitreous/math/vecmath.hpp"

namespace vitreous {
namespace {

struct Extent {
  idx kx, ky;  // largest |kx| and |ky| of the band
};

Extent extent(View<const idx, 1> index, View<const float, 1> kx, View<const float, 1> ky, idx half, idx n_px) {
  Extent out{0, 0};
  for (idx k = 0; k < index.size(); ++k) {
    const idx x = idx(std::rint(kx[k])), y = idx(std::rint(std::fabs(ky[k])));
    const idx row = index[k] / (half + 1), column = index[k] % (half + 1);
    const bool agrees = index[k] >= 0 && index[k] < n_px && column == x && row == (ky[k] < 0 ? 2 * half - y : y);
    if (!agrees || y > half)
      throw std::invalid_argument("gather_band: pixel " + std::to_string(k) + " has index " + std::to_string(index[k]) +
                                  ", kx " + std::to_string(x) + ", ky " + std::to_string(idx(std::rint(ky[k]))) +
                                  ", which are not one pixel of a transform of box " + std::to_string(2 * half) +
                                  ": make the band for this box");
    out = {std::max(out.kx, x), std::max(out.ky, y)};
  }
  return out;
}

// Element k of a table is factor (-1)^k exp(-2 pi i k s / box): a shift's phase is the product of one table per axis.
void phase_table(float shift_px, idx half, float factor, c64* table) {
  const float inverse_box = 1 / float(2 * half);
#pragma omp simd
  for (std::int32_t j = 0; j <= std::int32_t(2 * half); ++j) {
    const std::int32_t k = j - std::int32_t(half);
    const float turns = float(k) * shift_px * inverse_box, reduced = turns - rintf(turns);
    const float sign = k % 2 ? -factor : factor;
    table[j] = {sign * cos_half(reduced), -sign * sin_half(reduced)};
  }
}

// One row of the transform times its phases, into planes. columns starts at kx = 0.
void centre_row(const c64* __restrict ft, const c64* __restrict columns, c64 row, idx n, float* __restrict re,
                float* __restrict im) {
#pragma omp simd
  for (idx x = 0; x < n; ++x) {
    const c64 v = ft[x] * (columns[x] * row);
    re[x] = v.re;
    im[x] = v.im;
  }
}

void pick(const float* __restrict plane, const std::int32_t* __restrict at, idx n, float* __restrict out) {
  for (idx k = 0; k < n; ++k) out[k] = plane[at[k]];
}

void multiply(const float* __restrict phase_re, const float* __restrict phase_im, idx n, float* __restrict re,
              float* __restrict im) {
  for (idx k = 0; k < n; ++k) {
    const c64 v = c64{re[k], im[k]} * c64{phase_re[k], phase_im[k]};
    re[k] = v.re;
    im[k] = v.im;
  }
}

}  // namespace

// The rows are read and multiplied in image order, which vectorises and streams; only then are pixels picked, from
// cache. Picking straight from the transform took 3 to 7 times as long (bench_gather_band).
void gather_band(Cpu, View<const c64, 3> ft, View<const idx, 1> index, View<const float, 1> kx, View<const float, 1> ky,
                 View<const float, 2> shift_px, View<const float, 2> phase, View<float, 3> out) {
  const idx n_i = ft.shape[0], box = ft.shape[1], half = box / 2, n_columns = half + 1, n_k = index.size();
  const float scale = float(1 / (double(box) * double(box)));
  const Extent reach = extent(index, kx, ky, half, box * n_columns);
  const std::vector<std::int32_t> at(index.data, index.data + n_k);
#pragma omp parallel
  {
    std::vector<c64> columns(box + 1), rows(box + 1);
    std::vector<float> re(box * n_columns), im(box * n_columns);
#pragma omp for schedule(static)
    for (idx i = 0; i < n_i; ++i) {
      phase_table(shift_px.row(i)[0], half, 1, columns.data());
      phase_table(shift_px.row(i)[1], half, scale, rows.data());
      for (idx y = -reach.ky; y <= std::min(reach.ky, half - 1); ++y) {
        const idx start = (y < 0 ? y + box : y) * n_columns;
        const c64 row = rows[(y == -half ? half : y) + half];  // the Nyquist row counts as the positive one
        centre_row(ft.row(i) + start, columns.data() + half, row, reach.kx + 1, re.data() + start, im.data() + start);
      }
      pick(re.data(), at.data(), n_k, out.row(i, 0));
      pick(im.data(), at.data(), n_k, out.row(i, 1));
      if (phase.size()) multiply(phase.row(0), phase.row(1), n_k, out.row(i, 0), out.row(i, 1));
    }
  }
}

}  // namespace vitreous
