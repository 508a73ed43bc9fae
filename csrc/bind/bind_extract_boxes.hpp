#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/extract_boxes.hpp"

namespace vitreous {
template <class Dev>
void bind_extract_boxes(py::module_& m, Dev dev) {
  m.def("extract_boxes", [dev](py::object micrograph, py::object centre, py::object cosine, py::object sine,
                               py::object edge, bool clamp, float fill, float offset, idx box, py::object out) {
    const auto image = view<Dev, const float, 2>(micrograph, "micrograph");
    const auto at = view<Dev, const std::int64_t, 2>(centre, "centre");
    const auto c = view<Dev, const float, 2>(cosine, "cosine"), s = view<Dev, const float, 2>(sine, "sine");
    const auto e = view<Dev, const float, 1>(edge, "edge");
    const auto o = view<Dev, float, 3>(out, "out");
    py::gil_scoped_release nogil;
    extract_boxes(dev, image, at, c, s, e, clamp, fill, offset, box, o);
  });
}
}  // namespace vitreous
