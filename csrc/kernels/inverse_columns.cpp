#include "vitreous/kernels/inverse_columns.hpp"

#include <algorithm>
#include <vector>

#include "kernels/lane_fft.hpp"

namespace vitreous {

void inverse_columns(Cpu, View<const c64, 2> ft, View<const float, 3> gain, idx n_even, View<float, 4> out) {
  const idx h = ft.shape[0], columns = ft.shape[1], up = h / 2 + 1, n = out.shape[1];
  const LaneFft fft(n, 1);
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(n)), spare(x.size());
#pragma omp for collapse(2) schedule(dynamic, 4)
    for (idx j = 0; j < gain.shape[0]; ++j)
      for (idx first = 0; first < columns; first += kLanes) {
        const idx lanes = std::min(kLanes, columns - first);
        std::fill(x.begin(), x.end(), LaneComplex{});
        for (idx r = 0; r < h; ++r) {
          LaneComplex &to = x[size_t(r < up ? r : n - h + r)];
          const c64 *f = ft.row(r) + first;
          const float *g = gain.row(j, r) + first;
          for (idx l = 0; l < lanes; ++l) {
            const c64 v = g[l] * f[l];
            to.re[l] = j < n_even ? v.re : v.im, to.im[l] = j < n_even ? v.im : -v.re;
          }
        }
        const LaneComplex *z = fft.run(x.data(), spare.data());
        for (idx y = 0; y < n; ++y) {
          float *re = out.row(j, y) + first, *im = re + columns;
          for (idx l = 0; l < lanes; ++l) re[l] = z[y].re[l], im[l] = z[y].im[l];
        }
      }
  }
}

}  // namespace vitreous
