#include "vitreous/kernels/inverse_columns.hpp"

#include <algorithm>
#include <vector>

#include "kernels/lane_fft.hpp"

namespace vitreous {

void inverse_columns(Cpu, View<const c64, 2> ft, View<const float, 3> gain, idx n_even, View<float, 5> out) {
  const idx h = ft.shape[0], columns = ft.shape[1], up = h / 2 + 1, n = out.shape[2];
  const LaneFft fft(n, 1);
  std::vector<float> re(size_t(h * columns)), im(re.size());
  for (size_t k = 0; k < re.size(); ++k) re[k] = ft.data[k].re, im[k] = ft.data[k].im;
#pragma omp parallel
  {
    std::vector<LaneComplex> x(static_cast<size_t>(n)), spare(x.size());
#pragma omp for collapse(2) schedule(dynamic, 4)
    for (idx j = 0; j < gain.shape[0]; ++j)
      for (idx first = 0; first < out.shape[1] * kColumnBlock; first += kLanes) {
        const idx lanes = std::clamp(columns - first, idx(0), idx(kLanes));
        std::fill(x.begin() + up, x.begin() + n - h + up, LaneComplex{});
        for (idx r = 0; r < h; ++r) {
          const idx at = r * columns + first;
          const Lanes g = load(gain.row(j) + at, lanes);
          const Lanes a = g * load(re.data() + at, lanes), b = g * load(im.data() + at, lanes);
          x[size_t(r < up ? r : n - h + r)] = j < n_even ? LaneComplex{a, b} : LaneComplex{b, -a};
        }
        const LaneComplex *z = fft.run(x.data(), spare.data());
        float *to = out.row(j, first / kColumnBlock) + first % kColumnBlock;
        for (idx y = 0; y < n; ++y, to += 2 * kColumnBlock) store(to, z[y].re), store(to + kColumnBlock, z[y].im);
      }
  }
}

}  // namespace vitreous
