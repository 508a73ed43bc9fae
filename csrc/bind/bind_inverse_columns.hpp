#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/inverse_columns.hpp"

namespace vitreous {
template <class Dev> void bind_inverse_columns(py::module_ &m, Dev dev) {
  m.attr("COLUMN_BLOCK") = kColumnBlock;  // for who allocates `out`
  m.def("inverse_columns", [dev](py::object ft, py::object gain, idx n_even, py::object out) {
    const auto f = view<Dev, const c64, 2>(ft, "ft");
    const auto g = view<Dev, const float, 3>(gain, "gain");
    const auto o = view<Dev, float, 5>(out, "out");
    py::gil_scoped_release nogil;
    inverse_columns(dev, f, g, n_even, o);
  });
}
}  // namespace vitreous
