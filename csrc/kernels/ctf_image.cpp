#include "vitreous/kernels/ctf_image.hpp"

#include <algorithm>

#include "vitreous/math/ctf.hpp"

namespace vitreous {
namespace {

constexpr idx kChunk = 2048;  // pixels: the passes over one chunk find it in the first-level cache

void waves(const CtfCoefficients& c, const double* fx, const double* fy, const float* extra_rad, bool intact, idx n,
           float* out) {
  constexpr double per_radian = 0.15915494309189534;
  if (extra_rad) {
#pragma omp simd
    for (idx k = 0; k < n; ++k) out[k] = ctf_wave(ctf_turns(c, fx[k], fy[k]) + per_radian * extra_rad[k], intact);
  } else {
#pragma omp simd
    for (idx k = 0; k < n; ++k) out[k] = ctf_wave(ctf_turns(c, fx[k], fy[k]), intact);
  }
}

void envelope(const CtfCoefficients& c, const double* fx, const double* fy, idx n, float* out) {
  if (c.decay_A2 == 0 && c.scale == 1) return;
#pragma omp simd
  for (idx k = 0; k < n; ++k) out[k] *= ctf_envelope(c, float(fx[k]), float(fy[k]));
}

void finish(const CtfOptions& o, idx n, float* out) {
  if (o.phase_flipped)
    for (idx k = 0; k < n; ++k) out[k] = std::fabs(out[k]);
  if (o.only_flip_phases)
    for (idx k = 0; k < n; ++k) out[k] = out[k] < 0 ? -1.0f : (out[k] >= 0 ? 1.0f : out[k]);  // a NaN stays
  if (o.premultiplied)
    for (idx k = 0; k < n; ++k) out[k] *= out[k];
}

}  // namespace

void ctf_image(Cpu, View<const double, 1> fx, View<const double, 1> fy, View<const double, 2> parameters,
               View<const float, 1> extra_rad, CtfOptions options, View<float, 2> out) {
  const idx n_i = out.shape[0], n_k = out.shape[1];
#pragma omp parallel for schedule(static)
  for (idx i = 0; i < n_i; ++i) {
    const CtfCoefficients c = ctf_coefficients(parameters.row(i));
    for (idx k = 0; k < n_k; k += kChunk) {
      const idx n = std::min(kChunk, n_k - k);
      const float* extra = extra_rad.size() ? extra_rad.data + k : nullptr;
      waves(c, fx.data + k, fy.data + k, extra, options.intact_first_peak, n, out.row(i) + k);
      envelope(c, fx.data + k, fy.data + k, n, out.row(i) + k);
      finish(options, n, out.row(i) + k);
    }
  }
}

}  // namespace vitreous
