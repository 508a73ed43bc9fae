#include "vitreous/kernels/gather_band.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "vitreous/math/phase.hpp"

namespace vitreous {
namespace {

// Where pixel k stands in the image and in the two phase tables.
struct Place {
  std::int32_t pixel, column, row;
};

std::vector<Place> places(View<const idx, 1> index, View<const float, 1> kx, View<const float, 1> ky, idx half, idx n_px) {
  std::vector<Place> out(index.size());
  for (idx k = 0; k < index.size(); ++k) {
    const idx x = idx(std::rint(kx[k])), y = idx(std::rint(ky[k]));
    if (index[k] < 0 || index[k] >= n_px || x < -half || x > half || y < -half || y > half)
      throw std::invalid_argument("gather_band: pixel " + std::to_string(k) + " has index " + std::to_string(index[k]) + ", kx " +
                                  std::to_string(x) + ", ky " + std::to_string(y) + ", outside a transform of " +
                                  std::to_string(n_px) + " pixels with |k| <= " + std::to_string(half) +
                                  ": make the band for this box");
    out[k] = {std::int32_t(index[k]), std::int32_t(x + half), std::int32_t(y + half)};
  }
  return out;
}

// table[k + half] = factor * (-1)^k exp(-2 pi i k s / box): a shift's phase is the product of one table per axis.
void phase_table(float shift_px, idx half, float inverse_box, float factor, c64 *table) {
  for (idx k = -half; k <= half; ++k) table[k + half] = (k % 2 ? -factor : factor) * shift_phase(float(k), 0, shift_px, 0, inverse_box);
}

}  // namespace

void gather_band(Cpu, View<const c64, 3> ft, View<const idx, 1> index, View<const float, 1> kx, View<const float, 1> ky,
                 View<const float, 2> shift_px, View<const float, 2> phase, View<float, 3> out) {
  const idx n_i = ft.shape[0], box = ft.shape[1], half = box / 2, n_k = index.size();
  const float inverse_box = 1 / float(box), scale = float(1 / (double(box) * double(box)));
  const std::vector<Place> at = places(index, kx, ky, half, ft.shape[1] * ft.shape[2]);
#pragma omp parallel
  {
    std::vector<c64> columns(2 * half + 1), rows(2 * half + 1);
#pragma omp for schedule(static)
    for (idx i = 0; i < n_i; ++i) {
      phase_table(shift_px.row(i)[0], half, inverse_box, 1, columns.data());
      phase_table(shift_px.row(i)[1], half, inverse_box, scale, rows.data());
      const c64 *f = ft.row(i);
      float *re = out.row(i, 0), *im = out.row(i, 1);
      for (idx k = 0; k < n_k; ++k) {
        const c64 v = f[at[k].pixel] * (columns[at[k].column] * rows[at[k].row]);
        re[k] = v.re;
        im[k] = v.im;
      }
      if (!phase.size()) continue;
      const float *pr = phase.row(0), *pi = phase.row(1);
      for (idx k = 0; k < n_k; ++k) {
        const c64 v = c64{re[k], im[k]} * c64{pr[k], pi[k]};
        re[k] = v.re;
        im[k] = v.im;
      }
    }
  }
}

}  // namespace vitreous
