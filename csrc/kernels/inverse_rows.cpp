#include "vitreous/kernels/inverse_rows.hpp"

#include <algorithm>
#include <vector>

#include "kernels/lane_fft.hpp"
#include "vitreous/kernels/inverse_columns.hpp"

namespace vitreous {
namespace {

// Rows a and b as the real and the imaginary part of one sequence: z_k = A_k + i B_k, z_{n-k} = conj A_k + i conj B_k.
// half: of one map; y_a, y_b: rows of each lane
void join(const float *half, idx n_rows, const idx *y_a, const idx *y_b, idx columns, idx n, LaneComplex *z) {
  Lanes ar[kLanes], ai[kLanes], br[kLanes], bi[kLanes];
  for (idx k0 = 0; k0 < columns; k0 += kLanes) {
    const idx count = std::min(idx(kLanes), columns - k0);
    const float *from = half + k0 / kColumnBlock * n_rows * 2 * kColumnBlock + k0 % kColumnBlock;
    for (idx l = 0; l < kLanes; ++l) {
      const float *a = from + y_a[l] * 2 * kColumnBlock, *b = from + y_b[l] * 2 * kColumnBlock;
      ar[l] = load(a), ai[l] = load(a + kColumnBlock), br[l] = load(b), bi[l] = load(b + kColumnBlock);
    }
    transpose(ar), transpose(ai), transpose(br), transpose(bi);
    for (idx i = 0; i < count; ++i) {
      const idx k = k0 + i;
      if (k == 0 || 2 * k == n) {
        z[k] = {ar[i], br[i]};
        continue;
      }
      z[k] = {ar[i] - bi[i], ai[i] + br[i]};
      z[n - k] = {ar[i] + bi[i], br[i] - ai[i]};
    }
  }
}

}  // namespace

void inverse_rows(Cpu, View<const float, 5> half, idx n_k, idx first, View<float, 3> out) {
  const idx rows = out.shape[1], n = out.shape[2], padded = (n + kLanes - 1) / kLanes * kLanes;
  const LaneFft fft(n, 1);
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(padded)), spare(x.size());
#pragma omp for collapse(2) schedule(dynamic, 4)
    for (idx j = 0; j < out.shape[0]; ++j)
      for (idx y0 = 0; y0 < rows; y0 += 2 * kLanes) {
        idx a[kLanes], b[kLanes];
        for (idx l = 0; l < kLanes; ++l)  // lanes beyond the last row repeat it
          a[l] = first + std::min(y0 + 2 * l, rows - 1), b[l] = first + std::min(y0 + 2 * l + 1, rows - 1);
        std::fill(x.begin(), x.begin() + n, LaneComplex{});
        join(half.row(j), half.shape[2], a, b, n_k, n, x.data());
        const LaneComplex *z = fft.run(x.data(), spare.data());
        Lanes even[kLanes], odd[kLanes];
        for (idx x0 = 0; x0 < n; x0 += kLanes) {
          for (idx i = 0; i < kLanes; ++i) even[i] = z[x0 + i].re, odd[i] = z[x0 + i].im;
          transpose(even), transpose(odd);
          for (idx l = 0; l < kLanes && y0 + 2 * l < rows; ++l) {
            float *to = out.row(j, y0 + 2 * l) + x0;
            store(to, even[l], n - x0);
            if (y0 + 2 * l + 1 < rows) store(to + n, odd[l], n - x0);
          }
        }
      }
  }
}

}  // namespace vitreous
