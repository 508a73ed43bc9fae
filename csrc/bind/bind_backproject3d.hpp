#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/backproject3d.hpp"

namespace vitreous {
template <class Dev> void bind_backproject3d(py::module_ &m, Dev dev) {
  m.def("backproject3d", [dev](py::object rows, py::object row_weights, py::object class_of, py::object matrix, py::object kx,
                               py::object ky, float radius, py::object sums) {
    const auto r = view<Dev, const float, 3>(rows, "rows");
    const auto rw = view<Dev, const float, 2>(row_weights, "row_weights");
    const auto c = view<Dev, const std::int32_t, 1>(class_of, "class_of");
    const auto mat = view<Dev, const float, 3>(matrix, "matrix");
    const auto x = view<Dev, const float, 1>(kx, "kx"), y = view<Dev, const float, 1>(ky, "ky");
    const auto s = view<Dev, float, 5>(sums, "sums");
    py::gil_scoped_release nogil;
    backproject3d(dev, r, rw, c, mat, x, y, radius, s);
  });
}
}  // namespace vitreous
