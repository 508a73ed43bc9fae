#include "vitreous/kernels/thin_peaks.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace vitreous {
namespace {

// Points sorted into square cells, so that those nearer than a cell's side are in the cells around.
class Cells {
 public:
  Cells(View<const double, 2> points, double side) : points_(points), side_(side) {
    const idx n = points.shape[0];
    double last[2] = {0, 0};
    for (int a = 0; a < 2; ++a) {
      low_[a] = last[a] = points.row(0)[a];
      for (idx i = 0; i < n; ++i) low_[a] = std::min(low_[a], points.row(i)[a]), last[a] = std::max(last[a], points.row(i)[a]);
    }
    // Few points far apart need no finer cells than there are points.
    side_ = std::max(side_, std::sqrt((last[0] - low_[0] + 1) * (last[1] - low_[1] + 1) / double(n)));
    for (int a = 0; a < 2; ++a) count_[a] = cell(last[a], a) + 1;
    start_.assign(size_t(count_[0] * count_[1] + 1), 0);
    for (idx i = 0; i < n; ++i) ++start_[size_t(at(i) + 1)];
    std::partial_sum(start_.begin(), start_.end(), start_.begin());
    members_.resize(size_t(n));
    std::vector<idx> next(start_.begin(), start_.end() - 1);
    for (idx i = 0; i < n; ++i) members_[size_t(next[size_t(at(i))]++)] = i;
  }

  // Calls f(j) for every j strictly nearer to point i than the distance, at most a cell's side.
  template <class F> void near(idx i, double distance, F f) const {
    const double *p = points_.row(i);
    const idx y = cell(p[0], 0), x = cell(p[1], 1);
    for (idx cy = std::max(y - 1, idx(0)); cy <= std::min(y + 1, count_[0] - 1); ++cy)
      for (idx cx = std::max(x - 1, idx(0)); cx <= std::min(x + 1, count_[1] - 1); ++cx)
        for (idx s = start_[size_t(cy * count_[1] + cx)]; s < start_[size_t(cy * count_[1] + cx + 1)]; ++s) {
          const double *q = points_.row(members_[size_t(s)]), dy = q[0] - p[0], dx = q[1] - p[1];
          if (dy * dy + dx * dx < distance * distance) f(members_[size_t(s)]);
        }
  }

 private:
  idx cell(double v, int axis) const { return idx((v - low_[axis]) / side_); }
  idx at(idx i) const { return cell(points_.row(i)[0], 0) * count_[1] + cell(points_.row(i)[1], 1); }
  View<const double, 2> points_;
  double side_, low_[2];
  idx count_[2];
  std::vector<idx> start_, members_;
};

// Number of the cluster of each point.
std::vector<idx> clusters(const Cells &cells, idx n, double link) {
  std::vector<idx> label(size_t(n), -1), open;
  for (idx i = 0; i < n; ++i) {
    if (label[size_t(i)] >= 0) continue;
    label[size_t(i)] = i;
    open.push_back(i);
    while (!open.empty()) {
      const idx from = open.back();
      open.pop_back();
      cells.near(from, link, [&](idx j) {
        if (label[size_t(j)] >= 0) return;
        label[size_t(j)] = i;
        open.push_back(j);
      });
    }
  }
  return label;
}

}  // namespace

void thin_peaks(Cpu, View<const double, 2> points, View<const std::int64_t, 1> order, double link, double distance,
                View<std::uint8_t, 1> kept) {
  const idx n = points.shape[0];
  if (n == 0) return;
  const Cells cells(points, std::max({link, distance, 1.0}));
  const std::vector<idx> cluster = clusters(cells, n, link);
  std::fill(kept.data, kept.data + n, std::uint8_t(1));
  for (idx k = 0; k < n; ++k) {
    const idx i = order[k];
    if (!kept[i]) continue;
    cells.near(i, distance, [&](idx j) {
      if (j != i && cluster[size_t(j)] == cluster[size_t(i)]) kept[j] = 0;
    });
  }
}

}  // namespace vitreous
