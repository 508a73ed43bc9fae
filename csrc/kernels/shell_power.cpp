#include "vitreous/kernels/shell_power.hpp"

#include <vector>

namespace vitreous {

void shell_power(Cpu, View<const c64, 3> ft, View<const std::int32_t, 2> shell_of, View<double, 2> out) {
  constexpr idx n_lanes =
      4;  // neighbours in a row often share a shell: separate sums break the chain of dependent additions
  const idx n_i = ft.shape[0], n_s = out.shape[1], n_px = shell_of.size();
  const double area = double(ft.shape[1]) * double(ft.shape[1]), scale = 1 / (area * area);
  std::vector<std::int32_t> shell(shell_of.data, shell_of.data + n_px);
  for (std::int32_t& s : shell)
    if (s < 0 || s >= n_s) s = std::int32_t(n_s);  // a bin that is thrown away
#pragma omp parallel
  {
    std::vector<double> sums((n_s + 1) * n_lanes);
#pragma omp for schedule(static)
    for (idx i = 0; i < n_i; ++i) {
      const c64* f = ft.row(i);
      std::fill(sums.begin(), sums.end(), 0.0);
      for (idx k = 0; k < n_px; ++k)
        sums[shell[k] * n_lanes + k % n_lanes] += double(f[k].re * f[k].re + f[k].im * f[k].im);
      for (idx s = 0; s < n_s; ++s) {
        const double* lane = &sums[s * n_lanes];
        out.row(i)[s] = scale * ((lane[0] + lane[1]) + (lane[2] + lane[3]));
      }
    }
  }
}

}  // namespace vitreous
