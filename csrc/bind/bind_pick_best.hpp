#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/pick_best.hpp"

namespace vitreous {
template <class Dev> void bind_pick_best(py::module_ &m, Dev dev) {
  m.def("pick_best", [dev](py::object basis, py::object coefficient, py::object start, idx n_even, py::object best,
                        py::object which) {
    const auto b = view<Dev, const float, 2>(basis, "basis"), c = view<Dev, const float, 2>(coefficient, "coefficient");
    const auto s = view<Dev, const std::int32_t, 1>(start, "start");
    const auto o = view<Dev, float, 2>(best, "best");
    const auto w = view<Dev, std::int32_t, 2>(which, "which");
    py::gil_scoped_release nogil;
    pick_best(dev, b, c, s, n_even, o, w);
  });
}
}  // namespace vitreous
