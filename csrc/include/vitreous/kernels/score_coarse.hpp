// Coarse pass of the expectation step: scores of every (image, pose, shift), reduced at once to the significant samples.
//
//   log w[i,p,t] = 2 Re <A_p, Y_it> - |A_p|^2 . H_i + pose_prior[p] + shift_prior[i, class(p), t]
//   H_i = ctf_i^2 h,  Y_it = ctf_i h X_i phase_t,  h = 1/(2 sigma^2)      (docs/equations.md#score; the terms in |X|^2 alone are left out)
//
// as matrix products over tiles that stay in cache; the table of all scores never exists.
// A pose p is a row of the bank (p < n_row) or, where the bank is "half" (n_pose = 2 n_row), row p - n_row turned by 180 degrees:
// its slice is the complex conjugate, so that one pair of products of the real and the imaginary planes serves both.
//
//   bank (n_row, 2, n_k): real plane, imaginary plane of each slice; rows of one class contiguous
//   row_class (n_row) int32; pose_prior (n_pose), -inf: not sampled; shift_prior (n_img, n_class, n_shift)
//   images (n_img, 2, n_band), ctf (n_img, n_band): n_band >= n_k, a prefix is used; half_inv_var (n_k): 0 = not used
//   phases (n_shift, 2, n_k) from shift_phases; only_class (n_img) int32: the one class allowed, -1 for all
//   correlation: normalised cross-correlation instead (equations.md#correlation); only the best sample of each image is kept
// Significant: the largest weights that hold `fraction` of the mass, at most max_count (0: no limit).
// Result: samples of image i are start[i] .. start[i+1], sorted by pose, then shift; best[i] is the largest log w.
// An image without any finite score has no samples.
#pragma once
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {

struct Samples {
  std::vector<idx> start;  // n_img + 1
  std::vector<std::int32_t> pose, shift;
  std::vector<float> best;  // n_img
};

struct CoarseProblem {
  View<const float, 3> bank;
  View<const std::int32_t, 1> row_class;
  View<const float, 1> pose_prior;
  View<const float, 3> shift_prior;
  View<const float, 3> images;
  View<const float, 2> ctf;
  View<const float, 1> half_inv_var;
  View<const float, 3> phases;
  View<const std::int32_t, 1> only_class;
  double fraction;
  idx max_count;
  bool correlation;
};

void score_coarse(Cpu, const CoarseProblem &problem, Samples &samples);
void score_coarse(Cuda, const CoarseProblem &problem, Samples &samples);

}  // namespace vitreous
