#include "vitreous/kernels/backproject.hpp"

#include <vector>

#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
void insert_row(const float *re, const float *im, const float *w, const float *m, View<const float, 1> kx,
                View<const float, 1> ky, float radius2, double *data, double *weight, idx nx) {
  for (idx k = 0; k < kx.shape[0]; ++k) {
    if (w[k] <= 0) continue;
    const float x = m[0] * kx[k] + m[1] * ky[k], y = m[2] * kx[k] + m[3] * ky[k];
    if (x * x + y * y > radius2) continue;
    const Corner2 c = corner2(x, y);
    const double a = re[k], b = c.mate ? -im[k] : im[k], wk = w[k];
    const double share[4] = {(1.0 - c.wy) * (1.0 - c.wx), (1.0 - c.wy) * c.wx, c.wy * (1.0 - c.wx), double(c.wy) * c.wx};
    const idx first = c.y * nx + c.x, at[4] = {first, first + 1, first + nx, first + nx + 1};
    for (int q = 0; q < 4; ++q) {
      data[2 * at[q]] += share[q] * a;
      data[2 * at[q] + 1] += share[q] * b;
      weight[at[q]] += share[q] * wk;
    }
  }
}
}  // namespace

void backproject(Cpu, View<const float, 3> rows, View<const float, 2> row_weights, View<const std::int32_t, 1> class_of,
                 View<const float, 3> matrix, View<const float, 1> kx, View<const float, 1> ky, float radius,
                 View<double, 4> data, View<double, 3> weight) {
  const idx n_row = rows.shape[0], nx = weight.shape[2], half = weight.shape[1] / 2;
  std::vector<idx> start;  // first row of each run of one class: a run belongs to one thread
  for (idx r = 0; r < n_row; ++r)
    if (r == 0 || class_of[r] != class_of[r - 1]) start.push_back(r);
  start.push_back(n_row);
#pragma omp parallel for schedule(dynamic)
  for (idx run = 0; run < idx(start.size()) - 1; ++run)
    for (idx r = start[run]; r < start[run + 1]; ++r)
      insert_row(rows.row(r, 0), rows.row(r, 1), row_weights.row(r), matrix.row(r), kx, ky, radius * radius,
                 data.row(class_of[r]) + 2 * half * nx, weight.row(class_of[r]) + half * nx, nx);
}
}  // namespace vitreous
