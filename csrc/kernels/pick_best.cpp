#include "vitreous/kernels/pick_best.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace vitreous {
namespace {

constexpr idx kPixels = 512, kTemplates = 160;  // two tiles of maps are 640 kB and stay in the cache until they are reduced

// maps (m, n) = coefficient[t0 .. t0+m-1, j0 .. j1-1] x basis[j0 .. j1-1, first .. first+n-1]
void combine(View<const float, 2> basis, View<const float, 2> coefficient, idx t0, idx m, idx j0, idx j1, idx first, idx n, float *maps) {
  if (j1 == j0) {
    std::fill_n(maps, m * n, 0.f);
    return;
  }
  scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, int(m), int(n), int(j1 - j0), 1, coefficient.row(t0) + j0,
                    int(basis.shape[0]), basis.row(j0) + first, int(basis.shape[1]), 0, maps, int(n));
}

void keep_better(const float *map, idx n, std::int32_t t, float *best, std::int32_t *which) {
  for (idx p = 0; p < n; ++p) {
    const bool better = map[p] > best[p];
    best[p] = better ? map[p] : best[p];
    which[p] = better ? t : which[p];
  }
}

void keep_better_turned(const float *even, const float *odd, idx n, std::int32_t t, std::int32_t turned, float *best,
                        std::int32_t *which) {
  for (idx p = 0; p < n; ++p) {
    const float value = even[p] + std::fabs(odd[p]);
    const std::int32_t index = odd[p] < 0 ? turned : t;
    const bool better = value > best[p];
    best[p] = better ? value : best[p];
    which[p] = better ? index : which[p];
  }
}

}  // namespace

void pick_best(Cpu, View<const float, 2> basis, View<const float, 2> coefficient, View<const std::int32_t, 1> start, idx n_even,
               View<float, 2> best, View<std::int32_t, 2> which) {
  const idx n_basis = basis.shape[0], n_px = basis.shape[1], n_template = coefficient.shape[0], n_ref = best.shape[0];
  const idx n_tile = (n_px + kPixels - 1) / kPixels;
  const bool turns = n_even < n_basis;
#pragma omp parallel
  {
    std::vector<float> even(size_t(kTemplates * kPixels)), odd(turns ? size_t(kTemplates * kPixels) : 0);
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
        combine(basis, coefficient, t0, m, 0, n_even, first, n, even.data());
        if (turns) combine(basis, coefficient, t0, m, n_even, n_basis, first, n, odd.data());
        for (idx t = t0; t < t0 + m; ++t) {
          while (r < n_ref && t >= start[r + 1]) ++r;
          if (r == n_ref) break;
          const float *map = even.data() + (t - t0) * n;
          float *b = best.row(r) + first;
          std::int32_t *w = which.row(r) + first;
          if (turns)
            keep_better_turned(map, odd.data() + (t - t0) * n, n, std::int32_t(t), std::int32_t(t + n_template), b, w);
          else
            keep_better(map, n, std::int32_t(t), b, w);
        }
      }
    }
  }
}
}  // namespace vitreous
