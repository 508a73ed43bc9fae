#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/shell_power.hpp"

namespace vitreous {
template <class Dev>
void bind_shell_power(py::module_& m, Dev dev) {
  m.def("shell_power", [dev](py::object ft, py::object shell_of, py::object out) {
    const auto f = view<Dev, const c64, 3>(ft, "ft");
    const auto s = view<Dev, const std::int32_t, 2>(shell_of, "shell_of");
    const auto o = view<Dev, double, 2>(out, "out");
    py::gil_scoped_release nogil;
    shell_power(dev, f, s, o);
  });
}
}  // namespace vitreous
