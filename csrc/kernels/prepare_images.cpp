#include "vitreous/kernels/prepare_images.hpp"

#include <algorithm>

namespace vitreous {
namespace {

void shift_with_zeros(const float* in, idx box, float gain, idx sx, idx sy, float* out) {
  // Columns [first, last) of the output come from inside the image.
  const idx first = std::min(box, std::max(idx(0), sx)), last = std::max(first, std::min(box, box + sx));
  for (idx y = 0; y < box; ++y) {
    float* row = out + y * box;
    if (y - sy < 0 || y - sy >= box) {
      std::fill(row, row + box, 0.0f);
      continue;
    }
    const float* from = in + (y - sy) * box;
    std::fill(row, row + first, 0.0f);
    for (idx x = first; x < last; ++x) row[x] = gain * from[x - sx];
    std::fill(row + last, row + box, 0.0f);
  }
}

// Mean of x weighted by 1 - mask. Rows are summed in float, their sums in double: 1e-6 relative up to any box in use.
double mean_outside(const float* x, const float* mask, idx box) {
  double sum = 0, weight = 0;
  for (idx y = 0; y < box; ++y) {
    float row_sum = 0, row_weight = 0;
#pragma omp simd reduction(+ : row_sum, row_weight)
    for (idx k = y * box; k < (y + 1) * box; ++k) {
      row_sum += (1 - mask[k]) * x[k];
      row_weight += 1 - mask[k];
    }
    sum += row_sum;
    weight += row_weight;
  }
  return weight > 0 ? sum / weight : 0;
}

}  // namespace

void prepare_images(Cpu, View<const float, 3> images, View<const float, 1> gain, View<const std::int32_t, 2> shift_px,
                    View<const float, 2> mask, View<const float, 3> noise, View<float, 3> plain,
                    View<float, 3> masked) {
  const idx n_i = images.shape[0], box = images.shape[2], n_px = box * box;
#pragma omp parallel for schedule(static)
  for (idx i = 0; i < n_i; ++i) {
    float *x = plain.row(i), *out = masked.row(i);
    shift_with_zeros(images.row(i), box, gain[i], shift_px.row(i)[0], shift_px.row(i)[1], x);
    if (noise.size()) {
      const float* fill = noise.row(i);
      for (idx k = 0; k < n_px; ++k) out[k] = mask[k] * x[k] + (1 - mask[k]) * fill[k];
    } else {
      const float fill = float(mean_outside(x, mask.data, box));
      for (idx k = 0; k < n_px; ++k) out[k] = mask[k] * x[k] + (1 - mask[k]) * fill;
    }
  }
}

}  // namespace vitreous
