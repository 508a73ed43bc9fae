#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/weighted_sums.hpp"

namespace vitreous {
template <class Dev> void bind_weighted_sums(py::module_ &m, Dev dev) {
  m.def("weighted_sums", [dev](py::object bank, py::object row_class, py::object unmasked, py::object masked, py::object ctf,
                               py::object half_inv_var, py::object phases, py::object shifts_px, py::object shell, py::object scale_shells, py::object start,
                               py::object pose, py::object shift, py::object weight, bool premultiplied, py::object sum_data,
                               py::object sum_weight, py::object cross, py::object model, py::object scale_cross, py::object scale_model,
                               py::object moments) {
    const SumsProblem problem{view<Dev, const float, 3>(bank, "bank"),
                              view<Dev, const std::int32_t, 1>(row_class, "row_class"),
                              view<Dev, const float, 3>(unmasked, "unmasked"),
                              view<Dev, const float, 3>(masked, "masked"),
                              view<Dev, const float, 2>(ctf, "ctf"),
                              view<Dev, const float, 1>(half_inv_var, "half_inv_var"),
                              view<Dev, const float, 3>(phases, "phases"),
                              view<Dev, const float, 2>(shifts_px, "shifts_px"),
                              view<Dev, const std::int32_t, 1>(shell, "shell"),
                              view<Dev, const std::uint8_t, 2>(scale_shells, "scale_shells"),
                              view<Dev, const idx, 1>(start, "start"),
                              view<Dev, const std::int32_t, 1>(pose, "pose"),
                              view<Dev, const std::int32_t, 1>(shift, "shift"),
                              view<Dev, const float, 1>(weight, "weight"),
                              premultiplied};
    const SumsResult result{view<Dev, float, 3>(sum_data, "sum_data"),   view<Dev, float, 2>(sum_weight, "sum_weight"),
                            view<Dev, double, 2>(cross, "cross"),        view<Dev, double, 2>(model, "model"),
                            view<Dev, double, 1>(scale_cross, "scale_cross"), view<Dev, double, 1>(scale_model, "scale_model"),
                            view<Dev, double, 3>(moments, "moments")};
    py::gil_scoped_release nogil;
    weighted_sums(dev, problem, result);
  });
}
}  // namespace vitreous
