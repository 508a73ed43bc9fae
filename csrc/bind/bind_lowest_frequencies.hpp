#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/lowest_frequencies.hpp"

namespace vitreous {
template <class Dev> void bind_lowest_frequencies(py::module_ &m, Dev dev) {
  m.def("lowest_frequencies", [dev](py::object image, py::object around, idx y0, idx x0, idx n_full, float mean, float factor,
                                    float limit, py::object out) {
    const auto i = view<Dev, const float, 2>(image, "image");
    const auto a = view<Dev, const float, 1>(around, "around");
    const auto o = view<Dev, c64, 3>(out, "out");
    py::gil_scoped_release nogil;
    lowest_frequencies(dev, i, a, y0, x0, n_full, mean, factor, limit, o);
  });
}
}  // namespace vitreous
