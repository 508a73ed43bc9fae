#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/shell_weights.hpp"

namespace vitreous {
template <class Dev> void bind_shell_weights(py::module_ &m, Dev dev) {
  m.def("shell_weights", [dev](py::object sums, py::object least, float radius, double ratio, py::object total, py::object count,
                               py::object strong) {
    const auto s = view<Dev, const float, 4>(sums, "sums");
    const auto l = view<Dev, const float, 1>(least, "least");
    const auto t = view<Dev, double, 1>(total, "total");
    const auto n = view<Dev, std::int64_t, 1>(count, "count"), g = view<Dev, std::int64_t, 1>(strong, "strong");
    py::gil_scoped_release nogil;
    shell_weights(dev, s, l, radius, ratio, t, n, g);
  });
}
}  // namespace vitreous
