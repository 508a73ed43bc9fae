#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/coloured_noise.hpp"

namespace vitreous {
template <class Dev>
void bind_coloured_noise(py::module_& m, Dev dev) {
  m.def("coloured_noise",
        [dev](std::uint64_t seed, py::object ids, py::object sigma, py::object shell_of, py::object out) {
          const auto id = view<Dev, const std::uint64_t, 1>(ids, "ids");
          const auto s = view<Dev, const float, 1>(sigma, "sigma");
          const auto shell = view<Dev, const std::int32_t, 2>(shell_of, "shell_of");
          const auto o = view<Dev, c64, 3>(out, "out");
          py::gil_scoped_release nogil;
          coloured_noise(dev, seed, id, s, shell, o);
        });
}
}  // namespace vitreous
