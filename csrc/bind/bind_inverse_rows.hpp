#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/inverse_rows.hpp"

namespace vitreous {
template <class Dev> void bind_inverse_rows(py::module_ &m, Dev dev) {
  m.def("inverse_rows", [dev](py::object half, idx n_k, idx first, py::object out) {
    const auto h = view<Dev, const float, 5>(half, "half");
    const auto o = view<Dev, float, 3>(out, "out");
    py::gil_scoped_release nogil;
    inverse_rows(dev, h, n_k, first, o);
  });
}
}  // namespace vitreous
