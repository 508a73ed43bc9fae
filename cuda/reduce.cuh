// Reductions over the threads of one block. The block size is a multiple of 32, at most 1024; every thread must call.
#pragma once

namespace vitreous {

// All threads get op over all threads' values; `empty` is op's neutral element.
template <class T, class Op>
__device__ T block_reduce(T value, T empty, Op op) {
  __shared__ T of_warp[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
  for (int step = 16; step > 0; step /= 2) value = op(value, __shfl_xor_sync(0xffffffffu, value, step));
  __syncthreads();  // an earlier call's values may still be read
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  value = lane < n_warps ? of_warp[lane] : empty;
  for (int step = 16; step > 0; step /= 2) value = op(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {  // a NaN never wins
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};
struct Min {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

}  // namespace vitreous
