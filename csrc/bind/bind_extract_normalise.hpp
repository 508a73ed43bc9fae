#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/extract_normalise.hpp"

namespace vitreous {
template <class Dev>
void bind_extract_normalise(py::module_& m, Dev dev) {
  m.def("extract_normalise", [dev](py::object images, py::object background, bool normalise, bool ramp, float white,
                                   float black, float sign, std::uint64_t seed, py::object id, py::object stats) {
    const auto x = view<Dev, float, 3>(images, "images");
    const auto bg = view<Dev, const std::uint8_t, 3>(background, "background");
    const auto key = view<Dev, const std::uint64_t, 1>(id, "id");
    const auto s = view<Dev, double, 2>(stats, "stats");
    py::gil_scoped_release nogil;
    extract_normalise(dev, x, bg, normalise, ramp, white, black, sign, seed, key, s);
  });
}
}  // namespace vitreous
