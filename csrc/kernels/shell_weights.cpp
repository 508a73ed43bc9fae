#include "vitreous/kernels/shell_weights.hpp"

#include <vector>

#include "kernels/shell_bins.hpp"

namespace vitreous {
void shell_weights(Cpu, View<const float, 4> sums, View<const float, 1> least, float radius, double ratio,
                   View<double, 1> total, View<std::int64_t, 1> count, View<std::int64_t, 1> strong) {
  const idx nz = sums.shape[0], ny = sums.shape[1], n_bin = total.shape[0];
  std::vector<double> planes(nz * n_bin, 0.0);
  std::vector<std::int64_t> counts(2 * nz * n_bin, 0);
#pragma omp parallel for schedule(dynamic, 4)
  for (idx k = 0; k < nz; ++k) {
    double *sum = planes.data() + k * n_bin;
    std::int64_t *n = counts.data() + 2 * k * n_bin;
    for (idx j = 0; j < ny; ++j) {
      const float *row = sums.row(k, j);
      each_in_row(sums.shape, k, j, radius, ratio, n_bin, [&](idx i, idx bin) {
        const float w = row[3 * i + 2];
        sum[bin] += w;
        ++n[2 * bin];
        n[2 * bin + 1] += w >= least[bin];
      });
    }
  }
  for (idx bin = 0; bin < n_bin; ++bin) {
    total[bin] = 0;
    count[bin] = strong[bin] = 0;
    for (idx k = 0; k < nz; ++k) {
      total[bin] += planes[k * n_bin + bin];
      count[bin] += counts[2 * (k * n_bin + bin)];
      strong[bin] += counts[2 * (k * n_bin + bin) + 1];
    }
  }
}
}  // namespace vitreous
