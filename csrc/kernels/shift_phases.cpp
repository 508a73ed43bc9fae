#include "vitreous/kernels/shift_phases.hpp"

#include "vitreous/math/phase.hpp"

namespace vitreous {
void shift_phases(Cpu, View<const float, 1> kx, View<const float, 1> ky, View<const float, 2> shifts_px, float box, View<float, 3> out) {
  const idx n_t = shifts_px.shape[0], n_k = kx.shape[0];
#pragma omp parallel for schedule(static)
  for (idx t = 0; t < n_t; ++t) {
    float *re = out.row(t, 0), *im = out.row(t, 1);
    for (idx k = 0; k < n_k; ++k) {
      const c64 p = shift_phase(kx[k], ky[k], shifts_px.row(t)[0], shifts_px.row(t)[1], 1 / box);
      re[k] = p.re;
      im[k] = p.im;
    }
  }
}
}  // namespace vitreous
