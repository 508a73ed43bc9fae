#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/wiener.hpp"

namespace vitreous {
template <class Dev> void bind_wiener(py::module_ &m, Dev dev) {
  m.def("wiener", [dev](py::object sums, py::object prior, py::object least, float radius, double ratio, float scale, py::object out) {
    const auto s = view<Dev, const float, 4>(sums, "sums");
    const auto p = view<Dev, const float, 1>(prior, "prior"), l = view<Dev, const float, 1>(least, "least");
    const auto o = view<Dev, c64, 3>(out, "out");
    py::gil_scoped_release nogil;
    wiener(dev, s, p, l, radius, ratio, scale, o);
  });
}
}  // namespace vitreous
