#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/backproject.hpp"

namespace vitreous {
template <class Dev> void bind_backproject(py::module_ &m, Dev dev) {
  m.def("backproject", [dev](py::object rows, py::object row_weights, py::object class_of, py::object matrix, py::object kx,
                             py::object ky, float radius, py::object data, py::object weight) {
    const auto r = view<Dev, const float, 3>(rows, "rows");
    const auto rw = view<Dev, const float, 2>(row_weights, "row_weights");
    const auto c = view<Dev, const std::int32_t, 1>(class_of, "class_of");
    const auto mat = view<Dev, const float, 3>(matrix, "matrix");
    const auto x = view<Dev, const float, 1>(kx, "kx"), y = view<Dev, const float, 1>(ky, "ky");
    const auto d = view<Dev, double, 4>(data, "data");
    const auto w = view<Dev, double, 3>(weight, "weight");
    py::gil_scoped_release nogil;
    backproject(dev, r, rw, c, mat, x, y, radius, d, w);
  });
}
}  // namespace vitreous
