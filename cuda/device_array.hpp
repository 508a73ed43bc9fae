// Arrays on a GPU as Python sees them, and as the bindings in csrc/bind view them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bind/array.hpp"
#include "device.hpp"

namespace vitreous {

// A C-contiguous array in a device's memory. Copies share the memory; it is freed, in stream order, with the last of
// them.
class DeviceArray {
 public:
  DeviceArray(std::shared_ptr<Device> device, std::vector<idx> shape, const py::dtype& dtype);

  const std::vector<idx>& shape() const { return shape_; }
  const py::dtype& dtype() const { return dtype_; }
  void* data() const { return data_; }
  idx size() const;
  std::size_t bytes() const { return std::size_t(size()) * std::size_t(dtype_.itemsize()); }
  Device& device() const { return *device_; }

  void zero() const;
  void upload(const py::array& values) const;
  py::array to_host() const;
  DeviceArray rows(idx first, idx last) const;  // along the first axis, without a copy
  py::dict interface() const;                   // __cuda_array_interface__, version 3

 private:
  std::shared_ptr<Device> device_;
  std::vector<idx> shape_;
  py::dtype dtype_;
  std::shared_ptr<void> memory_;
  void* data_;
};

void bind_device_array(py::module_& m);

// A device array as a View. Same checks as for host arrays: dtype, number of axes.
template <class T, int N>
View<T, N> device_view(const py::object& object, const char* name) {
  using Value = typename std::remove_const<T>::type;
  if (!py::isinstance<DeviceArray>(object))
    throw py::type_error(std::string(name) + ": expected an array on the GPU, got " +
                         std::string(py::str(py::type::of(object))) + ": pass it through to_device");
  const auto& array = object.cast<const DeviceArray&>();
  if (array.dtype().kind() != Dtype<Value>::kind || array.dtype().itemsize() != py::ssize_t(sizeof(Value)))
    throw py::type_error(std::string(name) + ": dtype is " + std::string(py::str(array.dtype().attr("str"))) +
                         ", expected " + Dtype<Value>::code);
  if (array.shape().size() != N)
    throw py::value_error(std::string(name) + ": has " + std::to_string(array.shape().size()) + " axes, expected " +
                          std::to_string(N));
  View<T, N> v;
  v.data = static_cast<T*>(array.data());
  for (int a = 0; a < N; ++a) v.shape[a] = array.shape()[std::size_t(a)];
  return v;
}

// What the bindings call: one line for each type and rank in use.
#define VT_DEVICE_VIEW(T, N)                                                       \
  template <>                                                                      \
  inline View<T, N> view<Cuda, T, N>(const py::object& object, const char* name) { \
    return device_view<T, N>(object, name);                                        \
  }
VT_DEVICE_VIEW(const float, 1)
VT_DEVICE_VIEW(const float, 2)
VT_DEVICE_VIEW(const float, 3)
VT_DEVICE_VIEW(const double, 1)
VT_DEVICE_VIEW(const double, 2)
VT_DEVICE_VIEW(const std::int32_t, 1)
VT_DEVICE_VIEW(float, 2)
VT_DEVICE_VIEW(float, 3)
#undef VT_DEVICE_VIEW

}  // namespace vitreous
