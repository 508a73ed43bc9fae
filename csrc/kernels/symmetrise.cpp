#include "vitreous/kernels/symmetrise.hpp"

#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
// Adds the trilinear value at (x, y, z) of the sums around `centre` to total.
void add_value(const float *centre, idx ny, idx nx, float x, float y, float z, float *total) {
  const Corner3 c = corner3(x, y, z);
  const float sign = c.mate ? -1.0f : 1.0f;
  for (int dz = 0; dz < 2; ++dz)
    for (int dy = 0; dy < 2; ++dy) {
      const float share = (dz ? c.wz : 1 - c.wz) * (dy ? c.wy : 1 - c.wy);
      const float low = share * (1 - c.wx), high = share * c.wx;
      const float *p = centre + 3 * (((c.z + dz) * ny + c.y + dy) * nx + c.x);
      total[0] += low * p[0] + high * p[3];
      total[1] += sign * (low * p[1] + high * p[4]);
      total[2] += low * p[2] + high * p[5];
    }
}
}  // namespace

void symmetrise(Cpu, View<const float, 4> in, View<const float, 3> operators, float radius, View<float, 4> out) {
  const idx nz = in.shape[0], ny = in.shape[1], nx = in.shape[2], n_op = operators.shape[0];
  const float *centre = in.data + 3 * (((nz / 2) * ny + ny / 2) * nx);
  const float radius2 = radius * radius;
#pragma omp parallel for collapse(2) schedule(dynamic, 8)
  for (idx k = 0; k < nz; ++k)
    for (idx j = 0; j < ny; ++j) {
      const float z = float(k - nz / 2), y = float(j - ny / 2);
      for (idx i = 0; i < nx; ++i) {
        const float x = float(i);
        float total[3] = {0, 0, 0};
        if (x * x + y * y + z * z <= radius2)
          for (idx o = 0; o < n_op; ++o) {
            const float *m = operators.row(o);
            add_value(centre, ny, nx, m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z,
                      m[6] * x + m[7] * y + m[8] * z, total);
          }
        float *p = out.row(k, j) + 3 * i;
        for (int a = 0; a < 3; ++a) p[a] = total[a];
      }
    }
}
}  // namespace vitreous
