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

// A sample and its neighbour in x lie together: six numbers, added in one go of eight. The last two are zero, and inside the
// sphere they fall on the same plane, which no other thread writes.
constexpr int kPair = 8;
void add_pair(float *p, const float *pair, float share) {
#pragma omp simd
  for (int i = 0; i < kPair; ++i) p[i] += share * pair[i];
}

struct Entry {
  float *p;  // the lower corner's sample
  idx z;
  float wy, wz, pair[kPair];
};

// Where a tile's pixels fall, for all of them at once.
struct TileCorners {
  int x[BandTiles::PIXELS], y[BandTiles::PIXELS], z[BandTiles::PIXELS];
  float wx[BandTiles::PIXELS], wy[BandTiles::PIXELS], wz[BandTiles::PIXELS];
  bool mate[BandTiles::PIXELS], inside[BandTiles::PIXELS];

  TileCorners(const float *kx, const float *ky, int n, const float *m, float radius2) {
    const float m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5];
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      const float u = kx[i], v = ky[i];
      const float px = m0 * u + m1 * v, py = m2 * u + m3 * v, pz = m4 * u + m5 * v;
      const Corner3 c = corner3(px, py, pz);
      inside[i] = px * px + py * py + pz * pz <= radius2;
      mate[i] = c.mate;
      x[i] = c.x;
      y[i] = c.y;
      z[i] = c.z;
      wx[i] = c.wx;
      wy[i] = c.wy;
      wz[i] = c.wz;
    }
  }
};

// First where the tile's pixels fall, with a hint to the cache; then the additions, when the lines have come.
void insert_tile(const BandTiles &band, const BandTiles::Tile &tile, const Row &row, float radius2, const Slab &slab) {
  const idx plane = 3 * slab.ny * slab.nx, line = 3 * slab.nx;
  const int n_pixel = int(tile.last - tile.first), first = int(slab.first), last = int(slab.last);
  const idx *order = &band.order[tile.first];
  const TileCorners at(&band.kx[tile.first], &band.ky[tile.first], n_pixel, row.m, radius2);
  int taken[BandTiles::PIXELS], n = 0;
  for (int i = 0; i < n_pixel; ++i) {  // no branch: which pixels are the slab's cannot be foretold
    taken[n] = i;
    n += at.inside[i] & (at.z[i] + 1 >= first) & (at.z[i] < last) & (row.w[order[i]] > 0);
  }
  Entry entries[BandTiles::PIXELS];
  for (int j = 0; j < n; ++j) {
    const int i = taken[j];
    const idx k = order[i];
    const float re = row.re[k], im = at.mate[i] ? -row.im[k] : row.im[k], w = row.w[k], high = at.wx[i], low = 1 - high;
    float *p = slab.centre + at.z[i] * plane + at.y[i] * line + 3 * at.x[i];
    for (const float *line_p : {p, p + line, p + plane, p + plane + line}) __builtin_prefetch(line_p, 1);
    entries[j] = {p, at.z[i], at.wy[i], at.wz[i], {low * re, low * im, low * w, high * re, high * im, high * w, 0, 0}};
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
// Rows that weigh anything; after a posterior many do not.
std::vector<idx> used_rows(View<const float, 2> row_weights) {
  const idx n_row = row_weights.shape[0], n_k = row_weights.shape[1];
  std::vector<char> used(n_row);
#pragma omp parallel for schedule(static)
  for (idx r = 0; r < n_row; ++r) {
    const float *w = row_weights.row(r);
    used[r] = std::any_of(w, w + n_k, [](float x) { return x > 0; });
  }
  std::vector<idx> rows;
  for (idx r = 0; r < n_row; ++r)
    if (used[r]) rows.push_back(r);
  return rows;
}
}  // namespace

void backproject3d(Cpu, View<const float, 3> rows, View<const float, 2> row_weights, View<const std::int32_t, 1> class_of,
                   View<const float, 3> matrix, View<const float, 1> kx, View<const float, 1> ky, float radius,
                   View<float, 5> sums) {
  const idx nz = sums.shape[1], ny = sums.shape[2], nx = sums.shape[3];
  const BandTiles band(kx, ky);
  const std::vector<idx> used = used_rows(row_weights);
  const idx n_threads = omp_get_max_threads();
  // Two slabs a thread even out preferred views; each more costs, as the tiles at its edges are gone through twice.
  const idx n_slabs = n_threads == 1 ? 1 : std::max<idx>(1, std::min(2 * n_threads, nz / 8));
#pragma omp parallel for schedule(dynamic)
  for (idx s = 0; s < n_slabs; ++s) {
    Slab slab{nullptr, ny, nx, s * nz / n_slabs - nz / 2, (s + 1) * nz / n_slabs - nz / 2};
    for (const idx r : used) {
      const Row row{rows.row(r, 0), rows.row(r, 1), row_weights.row(r), matrix.row(r)};
      slab.centre = sums.row(class_of[r]) + 3 * (((nz / 2) * ny + ny / 2) * nx);
      for (const auto &tile : band.tiles)
        if (n_slabs == 1 || may_touch(tile, row.m, slab)) insert_tile(band, tile, row, radius * radius, slab);
    }
  }
}
}  // namespace vitreous
