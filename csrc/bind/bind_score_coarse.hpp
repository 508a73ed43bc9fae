#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/score_coarse.hpp"

namespace vitreous {
template <class Dev> void bind_score_coarse(py::module_ &m, Dev dev) {
  m.def("score_coarse", [dev](py::object bank, py::object row_class, py::object pose_prior, py::object shift_prior, py::object images,
                              py::object ctf, py::object half_inv_var, py::object phases, py::object only_class, double fraction,
                              idx max_count, bool correlation) {
    const CoarseProblem problem{view<Dev, const float, 3>(bank, "bank"),
                                view<Dev, const std::int32_t, 1>(row_class, "row_class"),
                                view<Dev, const float, 1>(pose_prior, "pose_prior"),
                                view<Dev, const float, 3>(shift_prior, "shift_prior"),
                                view<Dev, const float, 3>(images, "images"),
                                view<Dev, const float, 2>(ctf, "ctf"),
                                view<Dev, const float, 1>(half_inv_var, "half_inv_var"),
                                view<Dev, const float, 3>(phases, "phases"),
                                view<Dev, const std::int32_t, 1>(only_class, "only_class"),
                                fraction, max_count, correlation};
    Samples s;
    {
      py::gil_scoped_release nogil;
      score_coarse(dev, problem, s);
    }
    return py::make_tuple(to_numpy(std::move(s.start)), to_numpy(std::move(s.pose)), to_numpy(std::move(s.shift)), to_numpy(std::move(s.best)));
  });
}
}  // namespace vitreous
