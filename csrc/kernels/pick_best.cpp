#include "vitreous/kernels/pick_best.hpp"

#include <cblas.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace vitreous {
namespace {

constexpr idx kPixels = 512, kTemplates = 256;  // a tile of maps is 512 kB and stays in the cache until it is reduced

}  // namespace

void pick_best(Cpu, View<const float, 2> basis, View<const float, 2> coefficient, View<const std::int32_t, 1> start,
               View<float, 2> best, View<std::int32_t, 2> which) {
  const idx n_basis = basis.shape[0], n_px = basis.shape[1], n_template = coefficient.shape[0], n_ref = best.shape[0];
  const idx n_tile = (n_px + kPixels - 1) / kPixels;
#pragma omp parallel
  {
    std::vector<float> maps(size_t(kTemplates * kPixels));
#pragma omp for schedule(dynamic)
    for (idx tile = 0; tile < n_tile; ++tile) {
      const idx first = tile * kPixels, n = std::min(kPixels, n_px - first);
      for (idx r = 0; r < n_ref; ++r) {
        std::fill_n(best.row(r) + first, n, -std::numeric_limits<float>::infinity());
        std::fill_n(which.row(r) + first, n, -1);
      }
      idx r = 0;
      for (idx t0 = 0; t0 < n_template; t0 += kTemplates) {
        const idx m = std::min(kTemplates, n_template - t0);
        scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, int(m), int(n), int(n_basis), 1, coefficient.row(t0),
                          int(n_basis), basis.data + first, int(n_px), 0, maps.data(), int(n));
        for (idx t = t0; t < t0 + m; ++t) {
          while (r < n_ref && t >= start[r + 1]) ++r;
          if (r == n_ref) break;
          const float *map = maps.data() + (t - t0) * n;
          float *b = best.row(r) + first;
          std::int32_t *w = which.row(r) + first;
          for (idx p = 0; p < n; ++p) {
            const bool better = map[p] > b[p];
            b[p] = better ? map[p] : b[p];
            w[p] = better ? std::int32_t(t) : w[p];
          }
        }
      }
    }
  }
}
}  // namespace vitreous
