#include "vitreous/kernels/shift_phases.hpp"

#include "device.hpp"
#include "vitreous/math/phase.hpp"

namespace vitreous {
namespace {

// One block row per shift; threads stride over pixels
__global__ void shift_phases_k(View<const float, 1> kx, View<const float, 1> ky, View<const float, 2> shifts_px,
                               float inverse_box, View<float, 3> out) {
  const idx n_k = kx.shape[0], step = idx(gridDim.x) * blockDim.x;
  for (idx t = blockIdx.y; t < shifts_px.shape[0]; t += gridDim.y) {
    const float sx = shifts_px.row(t)[0], sy = shifts_px.row(t)[1];
    for (idx k = idx(blockIdx.x) * blockDim.x + threadIdx.x; k < n_k; k += step) {
      const c64 p = shift_phase(kx[k], ky[k], sx, sy, inverse_box);
      out.row(t, 0)[k] = p.re;
      out.row(t, 1)[k] = p.im;
    }
  }
}

}  // namespace

void shift_phases(Cuda dev, View<const float, 1> kx, View<const float, 1> ky, View<const float, 2> shifts_px, float box,
                  View<float, 3> out) {
  if (!out.size()) return;
  const dim3 grid(unsigned((kx.shape[0] + 255) / 256),
                  unsigned(shifts_px.shape[0] < 65535 ? shifts_px.shape[0] : 65535));
  shift_phases_k<<<grid, 256, 0, enter(dev).stream()>>>(kx, ky, shifts_px, 1 / box, out);
  VT_CUDA(cudaGetLastError());
}

}  // namespace vitreous
