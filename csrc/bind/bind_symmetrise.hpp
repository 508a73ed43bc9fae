#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/symmetrise.hpp"

namespace vitreous {
template <class Dev> void bind_symmetrise(py::module_ &m, Dev dev) {
  m.def("symmetrise", [dev](py::object sums, py::object operators, float radius, py::object out) {
    const auto s = view<Dev, const float, 4>(sums, "sums");
    const auto r = view<Dev, const float, 3>(operators, "operators");
    const auto o = view<Dev, float, 4>(out, "out");
    py::gil_scoped_release nogil;
    symmetrise(dev, s, r, radius, o);
  });
}
}  // namespace vitreous
