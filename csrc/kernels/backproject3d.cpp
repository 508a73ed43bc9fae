#include "vitreous/kernels/backproject3d.hpp"

#include <omp.h>

#include "kernels/band_tiles.hpp"
#include "vitreous/math/interp.hpp"

namespace vitreous {
namespace {
// The planes [first, last) of one volume, which one thread alone writes; z counted from the centre.
struct Slab {
  float *centre;
  idx ny, nx, first, last;
  bool holds(idx z) const { return z >= first && z < last; }
};

struct Row {
  const float *re, *im, *w, *m;
};

// A sample and its neighbour in x lie together: six numbers, added in one go.
void add_pair(float *p, const float *pair, float share) {
  for (int i = 0; i < 6; ++i) p[i] += share * pair[i];
}

struct Entry {
  float *p;  // the lower corner's sample
  idx z;
  float wy, wz, pair[6];
};

// First where the tile's pixels fall, with a hint to the cache; then the additions, when the lines have come.
void insert_tile(const BandTiles &band, const BandTiles::Tile &tile, const Row &row, float radius2, const Slab &slab) {
  const float *m = row.m;
  const idx plane = 3 * slab.ny * slab.nx, line = 3 * slab.nx;
  Entry entries[BandTiles::PIXELS];
  int n = 0;
  for (idx q = tile.first; q < tile.last; ++q) {
    const idx k = band.order[q];
    const float w = row.w[k], u = band.kx[q], v = band.ky[q];
    const float x = m[0] * u + m[1] * v, y = m[2] * u + m[3] * v, z = m[4] * u + m[5] * v;
    if (w <= 0 || x * x + y * y + z * z > radius2) continue;
    const Corner3 c = corner3(x, y, z);
    if (!slab.holds(c.z) && !slab.holds(c.z + 1)) continue;
    const float re = row.re[k], im = c.mate ? -row.im[k] : row.im[k], low = 1 - c.wx;
    float *p = slab.centre + c.z * plane + c.y * line + 3 * c.x;
    for (const float *line_p : {p, p + line, p + plane, p + plane + line}) __builtin_prefetch(line_p, 1);
    entries[n++] = {p, c.z, c.wy, c.wz, {low * re, low * im, low * w, c.wx * re, c.wx * im, c.wx * w}};
  }
  for (int i = 0; i < n; ++i) {
    const Entry &e = entries[i];
    if (slab.holds(e.z)) {
      add_pair(e.p, e.pair, (1 - e.wz) * (1 - e.wy));
      add_pair(e.p + line, e.pair, (1 - e.wz) * e.wy);
    }
    if (slab.holds(e.z + 1)) {
      add_pair(e.p + plane, e.pair, e.wz * (1 - e.wy));
      add_pair(e.p + plane + line, e.pair, e.wz * e.wy);
    }
  }
}

// Whether any pixel of the tile, or its Friedel mate, may touch the slab.
bool may_touch(const BandTiles::Tile &t, const float *m, const Slab &slab) {
  const float z = m[4] * t.x + m[5] * t.y, reach = std::fabs(m[4]) * t.half_x + std::fabs(m[5]) * t.half_y + 1.01f;
  const float low = float(slab.first), high = float(slab.last - 1);
  return (z + reach >= low && z - reach <= high) || (-z + reach >= low && -z - reach <= high);
}
}  // namespace

void backproject3d(Cpu, View<const float, 3> rows, View<const float, 2> row_weights, View<const std::int32_t, 1> class_of,
                   View<const float, 3> matrix, View<const float, 1> kx, View<const float, 1> ky, float radius,
                   View<float, 5> sums) {
  const idx n_row = rows.shape[0], nz = sums.shape[1], ny = sums.shape[2], nx = sums.shape[3];
  const BandTiles band(kx, ky);
  const idx n_threads = omp_get_max_threads();
  // Two slabs a thread even out preferred views; each more costs, as the tiles at its edges are gone through twice.
  const idx n_slabs = n_threads == 1 ? 1 : std::max<idx>(1, std::min(2 * n_threads, nz / 8));
#pragma omp parallel for schedule(dynamic)
  for (idx s = 0; s < n_slabs; ++s) {
    Slab slab{nullptr, ny, nx, s * nz / n_slabs - nz / 2, (s + 1) * nz / n_slabs - nz / 2};
    for (idx r = 0; r < n_row; ++r) {
      const Row row{rows.row(r, 0), rows.row(r, 1), row_weights.row(r), matrix.row(r)};
      slab.centre = sums.row(class_of[r]) + 3 * (((nz / 2) * ny + ny / 2) * nx);
      for (const auto &tile : band.tiles)
        if (n_slabs == 1 || may_touch(tile, row.m, slab)) insert_tile(band, tile, row, radius * radius, slab);
    }
  }
}
}  // namespace vitreous
