#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/ctf_image.hpp"

namespace vitreous {
template <class Dev>
void bind_ctf_image(py::module_& m, Dev dev) {
  m.def("ctf_image",
        [dev](py::object fx, py::object fy, py::object parameters, py::object extra_rad, bool intact_first_peak,
              bool phase_flipped, bool only_flip_phases, bool premultiplied, py::object out) {
          const auto x = view<Dev, const double, 1>(fx, "fx_inv_A"), y = view<Dev, const double, 1>(fy, "fy_inv_A");
          const auto p = view<Dev, const double, 2>(parameters, "parameters");
          const auto e = view<Dev, const float, 1>(extra_rad, "even_phase_rad");
          const auto o = view<Dev, float, 2>(out, "out");
          const CtfOptions options{intact_first_peak, phase_flipped, only_flip_phases, premultiplied};
          py::gil_scoped_release nogil;
          ctf_image(dev, x, y, p, e, options, o);
        });
}
}  // namespace vitreous
