#include "vitreous/kernels/project3d.hpp"

#include "kernels/band_tiles.hpp"
#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
// Where a pixel falls: its eight samples and their weights, and whether its Friedel mate was taken.
struct Read {
  const c64 *p;
  float wx, wy, wz;
  bool mate;
};

// A sample and its neighbour in x lie together: four numbers, scaled in one go.
c64 value(const Read &at, idx nx, idx plane) {
  const c64 *p = at.p;
  const float *row[4] = {&p[0].re, &p[nx].re, &p[plane].re, &p[plane + nx].re};
  const float share[4] = {(1 - at.wz) * (1 - at.wy), (1 - at.wz) * at.wy, at.wz * (1 - at.wy), at.wz * at.wy};
  float pair[4] = {0, 0, 0, 0};
  for (int q = 0; q < 4; ++q)
    for (int i = 0; i < 4; ++i) pair[i] += share[q] * row[q][i];
  const float re = (1 - at.wx) * pair[0] + at.wx * pair[2], im = (1 - at.wx) * pair[1] + at.wx * pair[3];
  return {re, at.mate ? -im : im};
}

// First where the tile's pixels fall, with a hint to the cache; then the values, when the lines have come.
void read_tile(const BandTiles &band, const BandTiles::Tile &tile, const float *m, float radius2, const c64 *centre,
               idx nx, idx plane, float *re, float *im) {
  Read reads[BandTiles::PIXELS];
  for (idx q = tile.first; q < tile.last; ++q) {
    const float u = band.kx[q], v = band.ky[q];
    const float x = m[0] * u + m[1] * v, y = m[2] * u + m[3] * v, z = m[4] * u + m[5] * v;
    Read &at = reads[q - tile.first];
    at.p = nullptr;
    if (x * x + y * y + z * z > radius2) continue;
    const Corner3 c = corner3(x, y, z);
    const c64 *p = centre + c.z * plane + c.y * nx + c.x;
    for (const c64 *line : {p, p + nx, p + plane, p + plane + nx}) __builtin_prefetch(line);
    at = {p, c.wx, c.wy, c.wz, c.mate};
  }
  for (idx q = tile.first; q < tile.last; ++q) {
    const Read &at = reads[q - tile.first];
    const c64 f = at.p ? value(at, nx, plane) : c64{0, 0};
    re[band.order[q]] = f.re;
    im[band.order[q]] = f.im;
  }
}
}  // namespace

void project3d(Cpu, View<const c64, 4> volume, View<const std::int32_t, 1> class_of, View<const float, 3> matrix,
               View<const float, 1> kx, View<const float, 1> ky, float radius, View<float, 3> out) {
  const idx n_row = out.shape[0], nz = volume.shape[1], ny = volume.shape[2], nx = volume.shape[3];
  const idx centre = ((nz / 2) * ny + ny / 2) * nx, plane = ny * nx;
  const float radius2 = radius * radius;
  const BandTiles band(kx, ky);
#pragma omp parallel for schedule(static)
  for (idx r = 0; r < n_row; ++r)
    for (const auto &tile : band.tiles)
      read_tile(band, tile, matrix.row(r), radius2, volume.row(class_of[r]) + centre, nx, plane, out.row(r, 0), out.row(r, 1));
}
}  // namespace vitreous
