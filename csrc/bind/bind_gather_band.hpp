#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/gather_band.hpp"

namespace vitreous {
template <class Dev>
void bind_gather_band(py::module_& m, Dev dev) {
  m.def("gather_band", [dev](py::object ft, py::object index, py::object kx, py::object ky, py::object shift_px,
                             py::object phase, py::object out) {
    const auto f = view<Dev, const c64, 3>(ft, "ft");
    const auto at = view<Dev, const idx, 1>(index, "index");
    const auto x = view<Dev, const float, 1>(kx, "kx"), y = view<Dev, const float, 1>(ky, "ky");
    const auto s = view<Dev, const float, 2>(shift_px, "shift_px"), p = view<Dev, const float, 2>(phase, "phase");
    const auto o = view<Dev, float, 3>(out, "out");
    py::gil_scoped_release nogil;
    gather_band(dev, f, at, x, y, s, p, o);
  });
}
}  // namespace vitreous
