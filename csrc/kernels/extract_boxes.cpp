#include "vitreous/kernels/extract_boxes.hpp"

#include <cblas.h>

#include <algorithm>
#include <vector>

namespace vitreous {
namespace {

// Row c_y - box/2 + y of the micrograph, or of its continuation, into `to`.
void cut_row(View<const float, 2> m, idx x0, idx row, bool clamp, float fill, float offset, idx box, float* to) {
  const idx ny = m.shape[0], nx = m.shape[1];
  if (!clamp && (row < 0 || row >= ny)) {
    std::fill(to, to + box, fill - offset);
    return;
  }
  const float* from = m.row(std::clamp(row, idx(0), ny - 1));
  const idx first = std::clamp(-x0, idx(0), box), last = std::clamp(nx - x0, first, box);
  std::fill(to, to + first, (clamp ? from[0] : fill) - offset);
  for (idx x = first; x < last; ++x) to[x] = from[x0 + x] - offset;
  std::fill(to + last, to + box, (clamp ? from[nx - 1] : fill) - offset);
}

struct Scratch {
  std::vector<float> box, half, edge_row, edge_out;
  Scratch(idx l, idx m) : box(size_t(l * l)), half(size_t(l * m)), edge_row(size_t(l)), edge_out(size_t(m)) {}
};

void shrink(View<const float, 2> cosine, View<const float, 2> sine, View<const float, 1> edge, Scratch& s, float* out) {
  const int l = int(cosine.shape[1]), m = int(cosine.shape[0]);
  const float* b = s.box.data();
  scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, l, m, l, 1, b, l, cosine.data, l, 0, s.half.data(), m);
  scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, m, l, 1, cosine.data, l, s.half.data(), m, 0, out, m);
  scipy_cblas_sgemv(CblasRowMajor, CblasTrans, l, l, 1, b, l, edge.data, 1, 0, s.edge_row.data(), 1);
  scipy_cblas_sgemv(CblasRowMajor, CblasNoTrans, m, l, 1, sine.data, l, s.edge_row.data(), 1, 0, s.edge_out.data(), 1);
  for (int y = 0; y < m; ++y)
    for (int x = 0; x < m; ++x) out[y * m + x] -= (y % 2 ? -1.0f : 1.0f) * s.edge_out[size_t(x)];
}

}  // namespace

void extract_boxes(Cpu, View<const float, 2> micrograph, View<const std::int64_t, 2> centre, View<const float, 2> cosine,
                   View<const float, 2> sine, View<const float, 1> edge, bool clamp, float fill, float offset,
                   idx box, View<float, 3> out) {
  const bool smaller = cosine.size() > 0;
#pragma omp parallel
  {
    Scratch scratch(smaller ? box : 0, smaller ? cosine.shape[0] : 0);
#pragma omp for schedule(dynamic)
    for (idx i = 0; i < centre.shape[0]; ++i) {
      const idx x0 = centre.row(i)[0] - box / 2, y0 = centre.row(i)[1] - box / 2;
      float* to = smaller ? scratch.box.data() : out.row(i);
      for (idx y = 0; y < box; ++y) cut_row(micrograph, x0, y0 + y, clamp, fill, offset, box, to + y * box);
      if (smaller) shrink(cosine, sine, edge, scratch, out.row(i));
    }
  }
}

}  // namespace vitreous
