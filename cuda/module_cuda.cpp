// The GPU module. open(i) gives a function table for device i with the names of the host module's kernels, so that
// several devices can be used side by side and none is "current"; the module's own functions of these names belong to
// no device and say so. It imports without a driver, and then counts no device.
#include <map>
#include <memory>

#include "bind/array.hpp"
// The views of device arrays must be known before the bindings that use them.
#include "device_array.hpp"

#include "bind/bind_ctf_image.hpp"
#include "bind/bind_score_coarse.hpp"
#include "bind/bind_shift_phases.hpp"

namespace vitreous {

namespace {

int device_count() {
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess) {  // no driver, or one too old for this runtime
    cudaGetLastError();
    return 0;
  }
  return n;
}

// Why there is no device, in the runtime's words; empty where there is one.
std::string why_no_device() {
  int n = 0;
  const cudaError_t code = cudaGetDeviceCount(&n);
  cudaGetLastError();
  return code == cudaSuccess ? "" : cudaGetErrorString(code);
}

void bind_kernels(py::module_& m, Cuda dev) {
  bind_ctf_image(m, dev);
  bind_score_coarse(m, dev);
  bind_shift_phases(m, dev);
}

// One Device per GPU, kept until the process ends: functions and arrays of a table that was dropped stay valid.
std::shared_ptr<Device> device_of(int index) {
  static auto* opened = new std::map<int, std::shared_ptr<Device>>;
  auto& device = (*opened)[index];
  if (!device) device = std::make_shared<Device>(index);
  return device;
}

py::module_ open_device(int index) {
  const auto device = device_of(index);
  const std::string name = "vitreous._cuda.device" + std::to_string(index);
  auto m = py::reinterpret_steal<py::module_>(PyModule_New(name.c_str()));
  if (!m) throw py::error_already_set();
  m.def("empty", [device](const std::vector<idx>& shape, const py::object& dtype) {
    return DeviceArray(device, shape, py::dtype::from_args(dtype));
  });
  m.def("zeros", [device](const std::vector<idx>& shape, const py::object& dtype) {
    DeviceArray array(device, shape, py::dtype::from_args(dtype));
    array.zero();
    return array;
  });
  m.def("to_device", [device](const py::array& values) {
    if (!(values.flags() & py::array::c_style)) throw py::value_error("to_device: the array must be C-contiguous");
    DeviceArray array(device, std::vector<idx>(values.shape(), values.shape() + values.ndim()), values.dtype());
    array.upload(values);
    return array;
  });
  m.def("sync", [device] {
    py::gil_scoped_release nogil;
    device->sync();
  });
  m.def("memory_info", [device] {
    device->enter();
    std::size_t free = 0, total = 0;
    VT_CUDA(cudaMemGetInfo(&free, &total));
    return py::make_tuple(free, total);
  });
  m.def("device_name", [device] {
    cudaDeviceProp properties;
    VT_CUDA(cudaGetDeviceProperties(&properties, device->index()));
    return std::string(properties.name);
  });
  bind_kernels(m, Cuda{device.get()});
  return m;
}

}  // namespace
}  // namespace vitreous

PYBIND11_MODULE(_cuda, m) {
  using namespace vitreous;
  bind_device_array(m);
  m.def("device_count", &device_count);
  m.def("why_no_device", &why_no_device);
  m.def("open", &open_device);
  bind_kernels(m, Cuda{nullptr});
}
