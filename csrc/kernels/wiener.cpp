#include "vitreous/kernels/wiener.hpp"

#include "kernels/shell_bins.hpp"

namespace vitreous {
void wiener(Cpu, View<const float, 4> sums, View<const float, 1> prior, View<const float, 1> least, float radius, double ratio,
            float scale, View<c64, 3> out) {
  const idx nz = sums.shape[0], ny = sums.shape[1], nx = sums.shape[2], n_bin = prior.shape[0];
#pragma omp parallel for schedule(dynamic, 4)
  for (idx k = 0; k < nz; ++k)
    for (idx j = 0; j < ny; ++j) {
      const float *row = sums.row(k, j);
      c64 *to = out.row(k, j);
      std::fill(to, to + nx, c64{0, 0});
      each_in_row(sums.shape, k, j, radius, ratio, n_bin, [&](idx i, idx bin) {
        const float divisor = std::max(row[3 * i + 2] + prior[bin], least[bin]);
        if (divisor > 0) to[i] = {scale * row[3 * i] / divisor, scale * row[3 * i + 1] / divisor};
      });
    }
}
}  // namespace vitreous
