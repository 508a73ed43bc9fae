// One GPU as the kernels see it: its stream, its cuBLAS handle, scratch memory. The tag Cuda{stream} points to one.
// Used by one thread at a time.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <vector>

#include "check.hpp"
#include "vitreous/base.hpp"

namespace vitreous {

class Device {
 public:
  explicit Device(int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void enter() const { VT_CUDA(cudaSetDevice(index_)); }  // a stream may only be used while its device is current
  cudaStream_t stream() const { return stream_; }
  cublasHandle_t blas();
  int index() const { return index_; }

  void* allocate(std::size_t bytes);  // stream-ordered: the pool keeps what is freed
  void release(void* data) noexcept;
  void upload(void* to, const void* from, std::size_t bytes);    // returns once `from` may change
  void download(void* to, const void* from, std::size_t bytes);  // returns once `to` is complete
  void sync() const;

 private:
  int index_;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  char* staging_ = nullptr;  // two pinned halves, filled in turn
  cudaEvent_t half_free_[2] = {nullptr, nullptr};
};

// The device behind the tag, made current for this thread.
inline Device& enter(Cuda dev) {
  if (!dev.stream)
    throw std::runtime_error("no GPU was opened: call the functions of what open(i) returns, as backend.cuda(i) does");
  Device& device = *static_cast<Device*>(dev.stream);
  device.enter();
  return device;
}

// Device memory of a kernel's own, given back when the scope ends.
template <class T>
class Scratch {
 public:
  Scratch(Device& device, idx n)
      : device_(device), data_(static_cast<T*>(device.allocate(std::size_t(n) * sizeof(T)))) {}
  ~Scratch() { device_.release(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }
  std::vector<T> to_host(idx n) const {
    std::vector<T> values(n);
    if (n) device_.download(values.data(), data_, std::size_t(n) * sizeof(T));
    return values;
  }

 private:
  Device& device_;
  T* data_;
};

}  // namespace vitreous
