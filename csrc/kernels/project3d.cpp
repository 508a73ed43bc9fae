#include "vitreous/kernels/project3d.hpp"

#include "kernels/band_tiles.hpp"
#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
c64 read_row(const c64 *p, float w) { return (1 - w) * p[0] + w * p[1]; }

c64 read_plane(const c64 *p, idx nx, float wx, float wy) { return (1 - wy) * read_row(p, wx) + wy * read_row(p + nx, wx); }
}  // namespace

void project3d(Cpu, View<const c64, 4> volume, View<const std::int32_t, 1> class_of, View<const float, 3> matrix,
               View<const float, 1> kx, View<const float, 1> ky, float radius, View<float, 3> out) {
  const idx n_row = out.shape[0], nz = volume.shape[1], ny = volume.shape[2], nx = volume.shape[3];
  const idx centre = ((nz / 2) * ny + ny / 2) * nx, plane = ny * nx;
  const float radius2 = radius * radius;
  const BandTiles band(kx, ky);
  const idx n_k = idx(band.order.size());
#pragma omp parallel for schedule(static)
  for (idx r = 0; r < n_row; ++r) {
    const c64 *vol = volume.row(class_of[r]) + centre;
    const float *m = matrix.row(r);
    float *re = out.row(r, 0), *im = out.row(r, 1);
    for (idx q = 0; q < n_k; ++q) {
      const float u = band.kx[q], v = band.ky[q];
      const float x = m[0] * u + m[1] * v, y = m[2] * u + m[3] * v, z = m[4] * u + m[5] * v;
      const idx k = band.order[q];
      if (x * x + y * y + z * z > radius2) {
        re[k] = im[k] = 0;
        continue;
      }
      const Corner3 c = corner3(x, y, z);
      const c64 *p = vol + (c.z * plane + c.y * nx + c.x);
      const c64 f = (1 - c.wz) * read_plane(p, nx, c.wx, c.wy) + c.wz * read_plane(p + plane, nx, c.wx, c.wy);
      re[k] = f.re;
      im[k] = c.mate ? -f.im : f.im;
    }
  }
}
}  // namespace vitreous
