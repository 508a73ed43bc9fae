#include "device_array.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace vitreous {
namespace {
// Each half of the pinned buffer. Copies from ordinary memory go through it piece by piece, so that filling one half
// overlaps with sending the other.
constexpr std::size_t kStagingHalf = std::size_t(8) << 20;
}  // namespace

Device::Device(int index) : index_(index) {
  enter();
  VT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  cudaMemPool_t pool;
  VT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index_));
  std::uint64_t keep = UINT64_MAX;  // never return memory to the driver between kernels
  VT_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  VT_CUDA(cudaMallocHost(reinterpret_cast<void**>(&staging_), 2 * kStagingHalf));
  for (auto& event : half_free_) VT_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
}

Device::~Device() {  // nothing here may throw: at exit the driver may already be gone
  if (cudaSetDevice(index_) != cudaSuccess) return;
  cudaStreamSynchronize(stream_);
  if (blas_) cublasDestroy(blas_);
  for (auto event : half_free_) cudaEventDestroy(event);
  cudaFreeHost(staging_);
  cudaStreamDestroy(stream_);
}

cublasHandle_t Device::blas() {
  if (!blas_) {
    VT_CUBLAS(cublasCreate(&blas_));
    VT_CUBLAS(cublasSetStream(blas_, stream_));
    VT_CUBLAS(cublasSetMathMode(
        blas_, CUBLAS_DEFAULT_MATH));  // float32 stays float32: TF32 only where a test bounds its error
  }
  return blas_;
}

void* Device::allocate(std::size_t bytes) {
  enter();
  void* data = nullptr;
  const cudaError_t code = cudaMallocAsync(&data, std::max<std::size_t>(bytes, 1), stream_);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // clears it: the caller may go on with a smaller batch
    std::size_t free = 0, total = 0;
    VT_CUDA(cudaMemGetInfo(&free, &total));
    throw std::runtime_error("GPU " + std::to_string(index_) + ": " + std::to_string(bytes >> 20) +
                             " MiB were asked for, " + std::to_string(free >> 20) + " of " +
                             std::to_string(total >> 20) +
                             " MiB are free: use a smaller batch, or end other programs on this GPU");
  }
  VT_CUDA(code);
  return data;
}

void Device::release(void* data) noexcept {
  if (data && cudaSetDevice(index_) == cudaSuccess) cudaFreeAsync(data, stream_);
}

void Device::upload(void* to, const void* from, std::size_t bytes) {
  enter();
  for (std::size_t at = 0, piece = 0; at < bytes; at += kStagingHalf, ++piece) {
    const std::size_t n = std::min(kStagingHalf, bytes - at), half = piece % 2;
    VT_CUDA(cudaEventSynchronize(half_free_[half]));
    char* pinned = staging_ + half * kStagingHalf;
    std::memcpy(pinned, static_cast<const char*>(from) + at, n);
    VT_CUDA(cudaMemcpyAsync(static_cast<char*>(to) + at, pinned, n, cudaMemcpyHostToDevice, stream_));
    VT_CUDA(cudaEventRecord(half_free_[half], stream_));
  }
}

void Device::download(void* to, const void* from, std::size_t bytes) {
  enter();
  VT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_));
  VT_CUDA(cudaStreamSynchronize(stream_));
}

void Device::sync() const {
  enter();
  VT_CUDA(cudaStreamSynchronize(stream_));
}

DeviceArray::DeviceArray(std::shared_ptr<Device> device, std::vector<idx> shape, const py::dtype& dtype)
    : device_(std::move(device)), shape_(std::move(shape)), dtype_(dtype) {
  for (idx n : shape_)
    if (n < 0) throw py::value_error("a GPU array was asked for with a negative length, " + std::to_string(n));
  data_ = device_->allocate(bytes());
  memory_ = std::shared_ptr<void>(data_, [device = device_](void* p) { device->release(p); });
}

idx DeviceArray::size() const {
  idx n = 1;
  for (idx s : shape_) n *= s;
  return n;
}

void DeviceArray::zero() const {
  device_->enter();
  VT_CUDA(cudaMemsetAsync(data_, 0, bytes(), device_->stream()));
}

void DeviceArray::upload(const py::array& values) const {
  const void* from = values.data();
  py::gil_scoped_release nogil;
  device_->upload(data_, from, bytes());
}

py::array DeviceArray::to_host() const {
  py::array out(dtype_, shape_);
  void* to = out.mutable_data();
  {
    py::gil_scoped_release nogil;
    if (bytes()) device_->download(to, data_, bytes());
  }
  return out;
}

DeviceArray DeviceArray::rows(idx first, idx last) const {
  DeviceArray part = *this;
  part.data_ = static_cast<char*>(data_) + std::size_t(first) * (shape_[0] ? bytes() / std::size_t(shape_[0]) : 0);
  part.shape_[0] = std::max<idx>(0, last - first);
  return part;
}

py::dict DeviceArray::interface() const {
  py::dict d;
  d["shape"] = py::tuple(py::cast(shape_));
  d["typestr"] = dtype_.attr("str");
  d["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(data_), false);
  d["strides"] = py::none();
  d["stream"] = reinterpret_cast<std::uintptr_t>(device_->stream());
  d["version"] = 3;
  return d;
}

void bind_device_array(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray", "A C-contiguous array in GPU memory.")
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
      .def_property_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly("ndim", [](const DeviceArray& a) { return a.shape().size(); })
      .def_property_readonly("size", &DeviceArray::size)
      .def_property_readonly("nbytes", &DeviceArray::bytes)
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::interface)
      .def("__len__",
           [](const DeviceArray& a) {
             if (a.shape().empty()) throw py::type_error("a GPU array without axes has no length");
             return a.shape()[0];
           })
      .def("__getitem__",
           [](const DeviceArray& a, const py::slice& rows) {
             std::size_t start = 0, stop = 0, step = 0, length = 0;
             if (a.shape().empty() || !rows.compute(std::size_t(a.shape()[0]), &start, &stop, &step, &length) ||
                 step != 1)
               throw py::index_error(
                   "a GPU array can only be cut along its first axis, in steps of 1: array[first:last]");
             return a.rows(idx(start), idx(start + length));
           })
      .def(
          "__array__",
          [](const DeviceArray& a, const py::object& dtype, const py::object&) -> py::array {
            const py::array host = a.to_host();
            return dtype.is_none() ? host : py::array(host.attr("astype")(dtype));
          },
          py::arg("dtype") = py::none(), py::arg("copy") = py::none());
}

}  // namespace vitreous
