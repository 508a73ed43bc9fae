// A band's pixels in small square tiles. The band is sorted by |k|, so its neighbours lie on opposite sides of a ring; in
// tiles they share the cache lines of the volume that a slice reads or writes.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {

struct BandTiles {
  static constexpr float SIDE = 8;  // at padding 2 the corners of a tile span some 20 kB of a volume
  static constexpr int PIXELS = 64;  // at most, in a tile
  struct Tile {
    idx first, last;       // pixels first..last-1 of kx, ky and order
    float x, y, half_x, half_y;  // the tile's rectangle: centre and half extents
  };
  std::vector<idx> order;  // index in the band
  std::vector<float> kx, ky;
  std::vector<Tile> tiles;

  BandTiles(View<const float, 1> all_kx, View<const float, 1> all_ky) : order(all_kx.shape[0]) {
    const auto cell = [](float k) { return std::floor(k / SIDE); };
    std::iota(order.begin(), order.end(), idx(0));
    std::stable_sort(order.begin(), order.end(), [&](idx a, idx b) {
      const float cells[4] = {cell(all_ky[a]), cell(all_ky[b]), cell(all_kx[a]), cell(all_kx[b])};
      if (cells[0] != cells[1]) return cells[0] < cells[1];
      if (cells[2] != cells[3]) return cells[2] < cells[3];
      return all_ky[a] != all_ky[b] ? all_ky[a] < all_ky[b] : all_kx[a] < all_kx[b];
    });
    for (idx k : order) {
      const idx at = idx(kx.size());
      const bool fresh = tiles.empty() || at - tiles.back().first == PIXELS ||  // frequencies may repeat
                         cell(kx.back()) != cell(all_kx[k]) || cell(ky.back()) != cell(all_ky[k]);
      kx.push_back(all_kx[k]);
      ky.push_back(all_ky[k]);
      if (fresh) {
        const float x = (cell(all_kx[k]) + 0.5f) * SIDE, y = (cell(all_ky[k]) + 0.5f) * SIDE;
        tiles.push_back({at, at, x, y, SIDE / 2, SIDE / 2});
      }
      tiles.back().last = at + 1;
    }
  }
};

}  // namespace vitreous
