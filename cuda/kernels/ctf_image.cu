#include "vitreous/kernels/ctf_image.hpp"

#include <vector>

#include "device.hpp"
#include "vitreous/math/ctf.hpp"

namespace vitreous {
namespace {

__device__ float finish(CtfOptions o, float value) {
  if (o.phase_flipped) value = fabsf(value);
  if (o.only_flip_phases) value = value < 0 ? -1.0f : (value >= 0 ? 1.0f : value);  // a NaN stays
  return o.premultiplied ? value * value : value;
}

// One block row per image; threads stride over frequencies
__global__ void ctf_image_k(View<const double, 1> fx, View<const double, 1> fy, const CtfCoefficients* coefficients,
                            View<const float, 1> extra_rad, CtfOptions options, View<float, 2> out) {
  constexpr double per_radian = 0.15915494309189534;
  const idx n_k = out.shape[1], step = idx(gridDim.x) * blockDim.x;
  const bool extra = extra_rad.shape[0] > 0;
  for (idx i = blockIdx.y; i < out.shape[0]; i += gridDim.y) {
    const CtfCoefficients c = coefficients[i];
    for (idx k = idx(blockIdx.x) * blockDim.x + threadIdx.x; k < n_k; k += step) {
      const double turns = ctf_turns(c, fx[k], fy[k]) + (extra ? per_radian * extra_rad[k] : 0.0);
      const float wave = ctf_wave(turns, options.intact_first_peak);
      out.row(i)[k] = finish(options, wave * ctf_envelope(c, float(fx[k]), float(fy[k])));
    }
  }
}

}  // namespace

void ctf_image(Cuda dev, View<const double, 1> fx, View<const double, 1> fy, View<const double, 2> parameters,
               View<const float, 1> extra_rad, CtfOptions options, View<float, 2> out) {
  if (!out.size()) return;
  Device& device = enter(dev);
  const idx n_i = out.shape[0];
  // The few numbers of each image are turned into coefficients by the host, where the formula stands.
  std::vector<double> table(std::size_t(parameters.size()));
  device.download(table.data(), parameters.data, table.size() * sizeof(double));
  std::vector<CtfCoefficients> coefficients;
  for (idx i = 0; i < n_i; ++i) coefficients.push_back(ctf_coefficients(&table[std::size_t(i * kCtfParameters)]));
  const Scratch<CtfCoefficients> on_device(device, n_i);
  device.upload(on_device.data(), coefficients.data(), coefficients.size() * sizeof(CtfCoefficients));
  const dim3 grid(unsigned((out.shape[1] + 255) / 256), unsigned(n_i < 65535 ? n_i : 65535));
  ctf_image_k<<<grid, 256, 0, device.stream()>>>(fx, fy, on_device.data(), extra_rad, options, out);
  VT_CUDA(cudaGetLastError());
}

}  // namespace vitreous
