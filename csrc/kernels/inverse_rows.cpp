#include "vitreous/kernels/inverse_rows.hpp"

#include <algorithm>
#include <vector>

#include "kernels/lane_fft.hpp"

namespace vitreous {
namespace {

// Rows a and b as the real and the imaginary part of one sequence: z_k = A_k + i B_k, z_{n-k} = conj A_k + i conj B_k.
void join(const float *a, const float *b, idx columns, idx n, idx lane, LaneComplex *z) {
  const float *ar = a, *ai = a + columns, *br = b, *bi = b + columns;
  z[0].re[lane] = ar[0], z[0].im[lane] = br[0];
  const idx paired = std::min(columns, (n + 1) / 2);
  for (idx k = 1; k < paired; ++k) {
    z[k].re[lane] = ar[k] - bi[k], z[k].im[lane] = ai[k] + br[k];
    z[n - k].re[lane] = ar[k] + bi[k], z[n - k].im[lane] = br[k] - ai[k];
  }
  for (idx k = std::max(paired, idx(1)); k < columns; ++k) z[k].re[lane] = ar[k], z[k].im[lane] = br[k];  // n/2
}

}  // namespace

void inverse_rows(Cpu, View<const float, 4> half, idx first, View<float, 3> out) {
  const idx rows = out.shape[1], n = out.shape[2], columns = half.shape[3];
  const LaneFft fft(n, 1);
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(n)), spare(x.size());
#pragma omp for collapse(2) schedule(dynamic, 4)
    for (idx j = 0; j < out.shape[0]; ++j)
      for (idx y0 = 0; y0 < rows; y0 += 2 * kLanes) {
        const idx lanes = std::min(kLanes, (rows - y0 + 1) / 2);
        std::fill(x.begin(), x.end(), LaneComplex{});
        for (idx l = 0; l < lanes; ++l) {
          const idx a = y0 + 2 * l, b = std::min(a + 1, rows - 1);
          join(half.row(j, first + a), half.row(j, first + b), columns, n, l, x.data());
        }
        const LaneComplex *z = fft.run(x.data(), spare.data());
        for (idx x0 = 0; x0 < n; x0 += kLanes)  // a block at a time stays in the cache
          for (idx l = 0; l < lanes; ++l) {
            float *a = out.row(j, y0 + 2 * l), *b = y0 + 2 * l + 1 < rows ? a + n : nullptr;
            for (idx k = x0; k < std::min(x0 + kLanes, n); ++k) {
              a[k] = z[k].re[l];
              if (b) b[k] = z[k].im[l];
            }
          }
      }
  }
}

}  // namespace vitreous
