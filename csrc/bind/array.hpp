// The only code that touches Python arrays: it checks dtype, rank and layout, and never copies.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <type_traits>
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {
namespace py = pybind11;

template <class T> struct Dtype;
template <> struct Dtype<float> { static constexpr char kind = 'f', code[] = "<f4"; };
template <> struct Dtype<double> { static constexpr char kind = 'f', code[] = "<f8"; };
template <> struct Dtype<c64> { static constexpr char kind = 'c', code[] = "<c8"; };
template <> struct Dtype<std::int8_t> { static constexpr char kind = 'i', code[] = "<i1"; };
template <> struct Dtype<std::uint8_t> { static constexpr char kind = 'u', code[] = "<u1"; };
template <> struct Dtype<std::int32_t> { static constexpr char kind = 'i', code[] = "<i4"; };
template <> struct Dtype<std::int64_t> { static constexpr char kind = 'i', code[] = "<i8"; };
template <> struct Dtype<std::uint64_t> { static constexpr char kind = 'u', code[] = "<u8"; };

// A host array as a View. T const: read only. Throws TypeError or ValueError that names the argument.
template <class Dev, class T, int N> View<T, N> view(const py::object &object, const char *name) {
  static_assert(std::is_same<Dev, Cpu>::value, "device arrays are viewed by cuda/device_array.hpp");
  using Value = typename std::remove_const<T>::type;
  if (!py::isinstance<py::array>(object))
    throw py::type_error(std::string(name) + ": expected a numpy array, got " + std::string(py::str(py::type::of(object))));
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.dtype().kind() != Dtype<Value>::kind || array.itemsize() != py::ssize_t(sizeof(Value)))
    throw py::type_error(std::string(name) + ": dtype is " + std::string(py::str(array.dtype().attr("str"))) +
                         ", expected " + Dtype<Value>::code);
  if (array.ndim() != N)
    throw py::value_error(std::string(name) + ": has " + std::to_string(array.ndim()) + " axes, expected " + std::to_string(N));
  if (!(array.flags() & py::array::c_style)) throw py::value_error(std::string(name) + ": must be C-contiguous");
  if (!std::is_const<T>::value && !array.writeable()) throw py::value_error(std::string(name) + ": is read-only");
  View<T, N> v;
  v.data = static_cast<T *>(const_cast<void *>(array.data()));
  for (int a = 0; a < N; ++a) v.shape[a] = array.shape(a);
  return v;
}

// A vector's memory as a numpy array, without a copy.
template <class T> py::array_t<T> to_numpy(std::vector<T> &&values) {
  auto *kept = new std::vector<T>(std::move(values));
  return py::array_t<T>(py::ssize_t(kept->size()), kept->data(),
                        py::capsule(kept, [](void *p) { delete static_cast<std::vector<T> *>(p); }));
}

}  // namespace vitreous
