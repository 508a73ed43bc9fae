// Sums over the posterior that the maximisation step needs, for the kept points (pose p, shift t, weight w) of every image:
//
//   data[row(p)]   += w S_t U * (premultiplied ? 1 : ctf) * 2 h        (conjugated where p is the 180-degree pose of its row)
//   weight[row(p)] += w * (premultiplied ? ctf : ctf^2) * 2 h
//   cross[i,s] = sum w Re(conj(S_t X) ctf A_p) over shell s,  model[i,s] = sum w |ctf A_p|^2 over shell s
//   moments[i,c] = sum over the points of class c of (w, w s_x, w s_y, w |s|^2), s the shift in pixels
//   scale_cross[i], scale_model[i]: the same over the shells with scale_shells[class(p), s] != 0
//
// h = 1/(2 sigma^2) (half_inv_var, here with the origin). U: unmasked image, X: masked image, A: fine bank.
//   start, pose, shift, weight: as score_fine gives them (sorted by pose); shell (n_k) int32, non-decreasing
//   data (n_row, 2, n_k), weight (n_row, n_k) are added to; the other outputs (n_img, n_shell), (n_img) are written
// Images are added to a row in their order, whatever the number of threads. Source: docs/equations.md#sums
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {

struct SumsProblem {
  View<const float, 3> bank;
  View<const std::int32_t, 1> row_class;
  View<const float, 3> unmasked, masked;
  View<const float, 2> ctf;
  View<const float, 1> half_inv_var;
  View<const float, 3> phases;
  View<const float, 2> shifts_px;
  View<const std::int32_t, 1> shell;
  View<const std::uint8_t, 2> scale_shells;
  View<const idx, 1> start;
  View<const std::int32_t, 1> pose, shift;
  View<const float, 1> point_weight;
  bool premultiplied;
};

struct SumsResult {
  View<float, 3> data;
  View<float, 2> weight;
  View<double, 2> cross, model;
  View<double, 1> scale_cross, scale_model;
  View<double, 3> moments;
};

void weighted_sums(Cpu, const SumsProblem &problem, SumsResult result);

}  // namespace vitreous
