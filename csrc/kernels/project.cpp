#include "vitreous/kernels/project.hpp"

#include "vitreous/math/interp.hpp"

namespace vitreous {
void project(Cpu, View<const c64, 3> reference, View<const std::int32_t, 1> class_of, View<const float, 3> matrix,
             View<const float, 1> kx, View<const float, 1> ky, float radius, View<float, 3> out) {
  const idx n_row = out.shape[0], n_k = out.shape[2], nx = reference.shape[2], half = reference.shape[1] / 2;
  const float radius2 = radius * radius;
#pragma omp parallel for schedule(static)
  for (idx r = 0; r < n_row; ++r) {
    const c64 *ref = reference.row(class_of[r]) + half * nx;
    const float *m = matrix.row(r);
    float *re = out.row(r, 0), *im = out.row(r, 1);
    for (idx k = 0; k < n_k; ++k) {
      const float x = m[0] * kx[k] + m[1] * ky[k], y = m[2] * kx[k] + m[3] * ky[k];
      if (x * x + y * y > radius2) {
        re[k] = im[k] = 0;
        continue;
      }
      const Corner2 c = corner2(x, y);
      const c64 *p = ref + c.y * nx + c.x;
      const c64 low = (1 - c.wx) * p[0] + c.wx * p[1], high = (1 - c.wx) * p[nx] + c.wx * p[nx + 1];
      const c64 v = (1 - c.wy) * low + c.wy * high;
      re[k] = v.re;
      im[k] = c.mate ? -v.im : v.im;
    }
  }
}
}  // namespace vitreous
