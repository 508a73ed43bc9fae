#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/project3d.hpp"

namespace vitreous {
template <class Dev> void bind_project3d(py::module_ &m, Dev dev) {
  m.def("project3d", [dev](py::object volume, py::object class_of, py::object matrix, py::object kx, py::object ky, float radius,
                           py::object out) {
    const auto vol = view<Dev, const c64, 4>(volume, "volume_ft");
    const auto c = view<Dev, const std::int32_t, 1>(class_of, "class_of");
    const auto mat = view<Dev, const float, 3>(matrix, "matrix");
    const auto x = view<Dev, const float, 1>(kx, "kx"), y = view<Dev, const float, 1>(ky, "ky");
    const auto o = view<Dev, float, 3>(out, "out");
    py::gil_scoped_release nogil;
    project3d(dev, vol, c, mat, x, y, radius, o);
  });
}
}  // namespace vitreous
