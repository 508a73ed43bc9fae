#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/prepare_images.hpp"

namespace vitreous {
template <class Dev>
void bind_prepare_images(py::module_& m, Dev dev) {
  m.def("prepare_images", [dev](py::object images, py::object gain, py::object shift_px, py::object mask,
                                py::object noise, py::object plain, py::object masked) {
    const auto x = view<Dev, const float, 3>(images, "images");
    const auto g = view<Dev, const float, 1>(gain, "gain");
    const auto s = view<Dev, const std::int32_t, 2>(shift_px, "shift_px");
    const auto w = view<Dev, const float, 2>(mask, "mask");
    const auto f = view<Dev, const float, 3>(noise, "noise");
    const auto p = view<Dev, float, 3>(plain, "plain"), o = view<Dev, float, 3>(masked, "masked");
    py::gil_scoped_release nogil;
    prepare_images(dev, x, g, s, w, f, p, o);
  });
}
}  // namespace vitreous
