#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/thin_peaks.hpp"

namespace vitreous {
template <class Dev> void bind_thin_peaks(py::module_ &m, Dev dev) {
  m.def("thin_peaks", [dev](py::object points, py::object order, double link, double distance, py::object kept) {
    const auto p = view<Dev, const double, 2>(points, "points");
    const auto o = view<Dev, const std::int64_t, 1>(order, "order");
    const auto k = view<Dev, std::uint8_t, 1>(kept, "kept");
    py::gil_scoped_release nogil;
    thin_peaks(dev, p, o, link, distance, k);
  });
}
}  // namespace vitreous
