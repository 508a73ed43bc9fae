#include "vitreous/kernels/symmetrise.hpp"

#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
// Adds the trilinear value at (x, y, z) of the sums around `centre` to total.
void add_value(const float *centre, idx ny, idx nx, float x, float y, float z, float *total) {
  const Corner3 c = corner3(x, y, z);
  const float *p = centre + 3 * ((c.z * ny + c.y) * nx + c.x);
  const float sign = c.mate ? -1.0f : 1.0f;
  if (c.wx == 0 && c.wy == 0 && c.wz == 0) {  // rotations that map the lattice onto itself
    total[0] += p[0];
    total[1] += sign * p[1];
    total[2] += p[2];
    return;
  }
  const float *row[4] = {p, p + 3 * nx, p + 3 * ny * nx, p + 3 * (ny + 1) * nx};
  const float share[4] = {(1 - c.wz) * (1 - c.wy), (1 - c.wz) * c.wy, c.wz * (1 - c.wy), c.wz * c.wy};
  float pair[6] = {0, 0, 0, 0, 0, 0};  // a sample and its neighbour in x lie together
  for (int q = 0; q < 4; ++q)
    for (int i = 0; i < 6; ++i) pair[i] += share[q] * row[q][i];
  total[0] += (1 - c.wx) * pair[0] + c.wx * pair[3];
  total[1] += sign * ((1 - c.wx) * pair[1] + c.wx * pair[4]);
  total[2] += (1 - c.wx) * pair[2] + c.wx * pair[5];
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
