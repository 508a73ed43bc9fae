#include "vitreous/kernels/coloured_noise.hpp"

#include <vector>

#include "vitreous/math/rng.hpp"

namespace vitreous {
namespace {

// One random block serves two neighbours in a row: pixel 2 j takes words 0 and 1, pixel 2 j + 1 takes words 2 and 3.
void white_noise(std::uint64_t seed, std::uint64_t id, idx n_px, c64* out) {
  const std::uint32_t low = std::uint32_t(id), high = std::uint32_t(id >> 32);
  const idx n_pairs = n_px / 2;
#pragma omp simd
  for (idx j = 0; j < n_pairs; ++j) {
    const Words4 r = philox4x32(std::uint32_t(j), kUseNoise, low, high, seed);
    out[2 * j] = normal_pair(r.w[0], r.w[1]);
    out[2 * j + 1] = normal_pair(r.w[2], r.w[3]);
  }
  if (n_px % 2) {
    const Words4 r = philox4x32(std::uint32_t(n_pairs), kUseNoise, low, high, seed);
    out[n_px - 1] = normal_pair(r.w[0], r.w[1]);
  }
}

// Makes the column kx = 0 or kx = b/2 the transform of a real image.
void make_hermitian(c64* ft, idx box, idx n_columns, idx column) {
  constexpr float sqrt_two = 1.41421356f;
  for (idx y : {idx(0), box / 2}) ft[y * n_columns + column] = {sqrt_two * ft[y * n_columns + column].re, 0};
  for (idx y = 1; y < box / 2; ++y) ft[(box - y) * n_columns + column] = conj(ft[y * n_columns + column]);
}

}  // namespace

void coloured_noise(Cpu, std::uint64_t seed, View<const std::uint64_t, 1> ids, View<const float, 1> sigma,
                    View<const std::int32_t, 2> shell_of, View<c64, 3> out) {
  const idx n_i = ids.size(), box = out.shape[1], n_columns = out.shape[2], n_px = box * n_columns;
  std::vector<float> amplitude(n_px);
  for (idx k = 0; k < n_px; ++k) {
    const idx s = shell_of[k];
    amplitude[k] = s >= 0 && s < sigma.size() ? float(box) * float(box) * sigma[s] : 0;
  }
#pragma omp parallel for schedule(static)
  for (idx i = 0; i < n_i; ++i) {
    c64* f = out.row(i);
    white_noise(seed, ids[i], n_px, f);
    for (idx k = 0; k < n_px; ++k) f[k] = amplitude[k] * f[k];
    make_hermitian(f, box, n_columns, 0);
    make_hermitian(f, box, n_columns, n_columns - 1);
  }
}

}  // namespace vitreous
