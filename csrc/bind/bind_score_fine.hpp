#pragma once
#include "bind/array.hpp"
#include "vitreous/kernels/score_fine.hpp"

namespace vitreous {
template <class Dev> void bind_score_fine(py::module_ &m, Dev dev) {
  m.def("score_fine", [dev](py::object bank, py::object row_class, py::object pose_prior, py::object shift_prior, py::object images,
                            py::object ctf, py::object half_inv_var, py::object phases, py::object pose_children, py::object start,
                            py::object pose, py::object shift, py::object sample_prior, py::object pose_key,
                            py::object n_whole, idx n_per_shift, double fraction, bool correlation) {
    const FineProblem problem{view<Dev, const float, 3>(bank, "bank"),
                              view<Dev, const std::int32_t, 1>(row_class, "row_class"),
                              view<Dev, const float, 1>(pose_prior, "pose_prior"),
                              view<Dev, const float, 3>(shift_prior, "shift_prior"),
                              view<Dev, const float, 3>(images, "images"),
                              view<Dev, const float, 2>(ctf, "ctf"),
                              view<Dev, const float, 1>(half_inv_var, "half_inv_var"),
                              view<Dev, const float, 3>(phases, "phases"),
                              view<Dev, const std::int32_t, 2>(pose_children, "pose_children"),
                              view<Dev, const idx, 1>(start, "start"),
                              view<Dev, const std::int32_t, 1>(pose, "pose"),
                              view<Dev, const std::int32_t, 1>(shift, "shift"),
                              view<Dev, const float, 1>(sample_prior, "sample_prior"),
                              view<Dev, const std::int32_t, 1>(pose_key, "pose_key"),
                              view<Dev, const idx, 1>(n_whole, "n_whole"),
                              n_per_shift, fraction, correlation};
    Posterior p;
    {
      py::gil_scoped_release nogil;
      score_fine(dev, problem, p);
    }
    return py::make_tuple(to_numpy(std::move(p.start)), to_numpy(std::move(p.pose)), to_numpy(std::move(p.shift)),
                          to_numpy(std::move(p.weight)), to_numpy(std::move(p.best_pose)), to_numpy(std::move(p.best_shift)),
                          to_numpy(std::move(p.p_max)), to_numpy(std::move(p.log_evidence)));
  });
}
}  // namespace vitreous
