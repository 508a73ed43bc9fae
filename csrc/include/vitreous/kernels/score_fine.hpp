// Fine pass of the expectation step: the posterior over the children of the significant coarse samples.
//
// Scores as in score_coarse, at the fine bank and the fine shifts; children of coarse pose p are the fine poses
// pose_children[p, :], those of coarse shift t the fine shifts t * n_per_shift + (0 .. n_per_shift - 1).
// Weights at least as large as the threshold of `fraction` of the mass are kept, and divided by their sum.
//   start (n_img + 1), pose, shift: coarse samples as score_coarse gives them (sorted by pose)
//   sample_prior (n_sample): log prior of each coarse sample, which its children inherit; empty = none
//   phases (n_shift_fine, 2, n_k), shift_prior (n_img, n_class, n_shift_fine), pose_prior (n_pose_fine)
//   pose_key (n_pose_coarse): what the draws below know a coarse pose by; empty = its number here
//   n_whole (n_img): samples of each image, of which these are a part; empty = these are all
// An image with more than 8192 children is so uncertain that one random child of each sample stands for all of them; its
// draws depend on its own data, pose and shift alone. p_max and log_evidence are then estimates of those over all children.
// Result: kept points of image i are start[i] .. start[i+1], sorted by pose, then shift, with their weights;
// best_pose, best_shift, p_max (largest weight / sum of all), log_evidence (log of the sum of all w); -1 where there is none.
// Source: docs/equations.md#score
#pragma once
#include <vector>

#include "vitreous/base.hpp"

namespace vitreous {

struct Posterior {
  std::vector<idx> start;
  std::vector<std::int32_t> pose, shift;
  std::vector<float> weight;
  std::vector<std::int32_t> best_pose, best_shift;
  std::vector<float> p_max, log_evidence;
};

struct FineProblem {
  View<const float, 3> bank;
  View<const std::int32_t, 1> row_class;
  View<const float, 1> pose_prior;
  View<const float, 3> shift_prior;
  View<const float, 3> images;
  View<const float, 2> ctf;
  View<const float, 1> half_inv_var;
  View<const float, 3> phases;
  View<const std::int32_t, 2> pose_children;
  View<const idx, 1> start;
  View<const std::int32_t, 1> pose, shift;
  View<const float, 1> sample_prior;
  View<const std::int32_t, 1> pose_key;
  View<const idx, 1> n_whole;
  idx n_per_shift;
  double fraction;
  bool correlation;
};

void score_fine(Cpu, const FineProblem &problem, Posterior &posterior);

}  // namespace vitreous
