#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/shift_phases.hpp"

namespace vitreous {
template <class Dev> void bind_shift_phases(py::module_ &m, Dev dev) {
  m.def("shift_phases", [dev](py::object kx, py::object ky, py::object shifts_px, float box, py::object out) {
    const auto x = view<Dev, const float, 1>(kx, "kx"), y = view<Dev, const float, 1>(ky, "ky");
    const auto s = view<Dev, const float, 2>(shifts_px, "shifts_px");
    const auto o = view<Dev, float, 3>(out, "out");
    py::gil_scoped_release nogil;
    shift_phases(dev, x, y, s, box, o);
  });
}
}  // namespace vitreous
